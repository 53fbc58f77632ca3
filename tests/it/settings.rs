//! What a person may get wrong in keys, settings, mappings and zones, and what the exit status says of it.

use std::fs;

use airpouch::trust::PublicKey;
use serde_json::{Value, json};

use crate::support::{APPLICANT, Unjudged, World, envelope_with, files, finish};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
const OTHER: &str = "3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43";
const OTHER_FEED: &str = "4c1f0a8e-2b0e-4a57-9f0a-6b1d1c2e3f40";
const THIRD: &str = "9b1f4a72-0c35-4e8d-8a61-52d7e90c3b14";

/// A medium with one batch of one envelope.
fn sent() -> World {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world
}

fn import(world: &World, variables: &[(&str, &str)], more: &[&str]) -> Unjudged {
    let usual = ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer"];
    finish(world.command().args(usual).args(more).envs(variables.iter().copied()))
}

/// In whose name the messages of the usual connector are in the spool.
fn names_in_spool(world: &World) -> Vec<String> {
    names_in(world, "43509aab-0310-5f8d-9395-81f36f6d064a")
}

/// In whose name the messages of a connector are in the spool.
fn names_in(world: &World, connector: &str) -> Vec<String> {
    let messages = files(&world.path("spool").join(connector));
    let numbered = messages.into_iter().filter(|(name, _)| name != "connector.json");
    let name = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap()["applicant_id"].clone();
    numbered.map(|(_, bytes)| name(bytes).as_str().unwrap_or_default().to_owned()).collect()
}

fn write_settings(world: &World, site: &str, text: &str) {
    fs::create_dir_all(world.path(site)).unwrap();
    fs::write(world.path(site).join("airpouch.toml"), text).unwrap();
}

#[test]
fn mapping_to_no_user_id_stops_before_anything_is_taken() {
    let world = sent();
    let simple = HERE.replace('-', "");
    for target in ["bob@example.org", "admin", "x", simple.as_str(), "urn:uuid:0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"] {
        let is_not = format!("\"{target}\" is not the id of a user");
        let (pair, stock) = (format!("{APPLICANT}={target}"), format!("{OTHER}:{HERE},{APPLICANT}:{target}"));
        let default = format!("default={target}");
        import(&world, &[], &["--applicant", &pair]).exits(2).says(&is_not);
        import(&world, &[], &["--applicant", &stock]).exits(2).says(&is_not);
        import(&world, &[], &["--unmapped", &default]).exits(2).says(&is_not);
        import(&world, &[("AIRPOUCH_APPLICANT", &pair)], &[]).exits(2).says(&is_not);
        import(&world, &[("AIRPOUCH_UNMAPPED", &default)], &[]).exits(2).says(&is_not);
        let check = ["check", "--to", "spool:spool", "--site", "importer", "--applicant", &pair];
        world.run(check).exits(2).says(&is_not);
        assert!(!world.path("importer").exists(), "{target}");
        let settings = format!("unmapped = \"hold\"\n[applicants]\n\"{APPLICANT}\" = \"{target}\"\n");
        write_settings(&world, "importer", &settings);
        import(&world, &[], &[]).exits(2).says("line 3").says(&is_not);
        world.run(["applicants", "--site", "importer"]).exits(2).says(&is_not);
        write_settings(&world, "importer", &format!("unmapped = \"{default}\"\n"));
        import(&world, &[], &[]).exits(2).says(&is_not);
        fs::remove_dir_all(world.path("importer")).unwrap();
    }
    assert!(!world.path("spool").exists());
}

#[test]
fn mapping_in_another_case_and_with_blanks_delivers_the_id_in_lower_case() {
    let (from, to) = (APPLICANT.to_uppercase(), HERE.to_uppercase());
    for mapping in [format!("{from}={to}"), format!(" {from} : {to} , {OTHER}:{HERE} ,"), format!("{APPLICANT}={to}")] {
        let world = sent();
        import(&world, &[], &["--applicant", &mapping]).exits(0).prints("delivered 1 envelope");
        assert_eq!(names_in_spool(&world), [HERE], "{mapping}");
    }
    let world = sent();
    write_settings(&world, "importer", &format!("[applicants]\n\" {from} \" = \" {to} \"\n"));
    import(&world, &[], &[]).exits(0);
    assert_eq!(names_in_spool(&world), [HERE]);
    let world = sent();
    import(&world, &[], &["--unmapped", &format!("default= {to}")]).exits(0);
    assert_eq!(names_in_spool(&world), [HERE]);
}

#[test]
fn applicant_mapped_to_two_users_is_wrong_usage() {
    let world = sent();
    let pairs = [format!("{APPLICANT}={HERE}"), format!("{}={OTHER}", APPLICANT.to_uppercase())];
    let run = import(&world, &[], &["--applicant", &pairs[0], "--applicant", &pairs[1]]).exits(2);
    run.says("is mapped to two users");
    let lines = format!("[applicants]\n\"{APPLICANT}\" = \"{HERE}\"\n\"{}\" = \"{OTHER}\"\n", APPLICANT.to_uppercase());
    write_settings(&world, "importer", &lines);
    import(&world, &[], &[]).exits(2).says("is mapped to two users").says("importer/airpouch.toml");
    // What is typed goes over what is written.
    write_settings(&world, "importer", &format!("[applicants]\n\"{APPLICANT}\" = \"{HERE}\"\n"));
    import(&world, &[], &["--applicant", &pairs[1]]).exits(0);
    assert_eq!(names_in_spool(&world), [OTHER]);
}

/// A medium with a batch of each of two exporters: a.json by the key site-a, and b.json of another feed by site-b.
fn sent_by_two() -> World {
    let world = World::new();
    world.key("site-b", [8; 32]);
    world.made("a.json");
    world.send(&[]).exits(0);
    fs::remove_file(world.path("src/a.json")).unwrap();
    let other = json!({"id": OTHER_FEED, "name": "Other Feed", "type": "EXTERNAL_IMPORT"});
    world.put("b.json", &envelope_with("b", json!({"connector": other})));
    world.run(["pack", "src", "medium", "--key", "keys/site-b.key.pem", "--site", "exporter-b"]).exits(0);
    world
}

#[test]
fn mapping_of_one_stream_does_not_apply_to_another() {
    let world = sent_by_two();
    let stream = world.stream();
    let narrowed = format!("[applicants.\"{stream}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n");
    write_settings(&world, "importer", &narrowed);
    let run = import(&world, &[], &[]).exits(3).prints("delivered 1 envelope");
    run.says("b.json").says_nothing_of("at a.json");
    assert_eq!(names_in_spool(&world), [HERE]);
    // For all streams, and for that one in another name.
    write_settings(&world, "importer", &format!("[applicants]\n\"{APPLICANT}\" = \"{OTHER}\"\n{narrowed}"));
    import(&world, &[], &["--redeliver"]).exits(0);
    assert_eq!(names_in_spool(&world), [HERE, HERE]);
    assert_eq!(names_in(&world, OTHER_FEED), [OTHER]);
    for (key, says) in
        [("not-a-stream", "is neither the id of a stream nor"), ("", "is neither the id of a stream nor")]
    {
        write_settings(&world, "importer", &format!("[applicants.\"{key}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n"));
        import(&world, &[], &[]).exits(2).says(says);
    }
}

#[test]
fn mapping_of_a_stream_applies_to_the_one_that_succeeds_it() {
    let world = sent();
    let stream = world.stream();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.made("b.json");
    world.send(&[]).exits(0);
    write_settings(&world, "importer", &format!("[applicants.\"{stream}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n"));
    import(&world, &[], &[]).exits(0).prints("delivered 2 envelopes");
    assert_eq!(names_in_spool(&world), [HERE, HERE]);
    let check = ["check", "--to", "spool:spool", "--site", "importer"];
    world.run(check).exits(0).prints(HERE).says_nothing_of("is not mapped");
}

/// The fingerprint of a key of the trust store, as keygen shows it.
fn fingerprint(world: &World, name: &str) -> String {
    let pem = fs::read(world.path("trust").join(format!("{name}.pub.pem"))).unwrap();
    PublicKey::from_pem(&pem).unwrap().fingerprint().to_string()
}

#[test]
fn mapping_of_one_key_does_not_apply_to_batches_of_another() {
    let world = sent_by_two();
    let (a, b) = (fingerprint(&world, "site-a"), fingerprint(&world, "site-b"));
    // Case does not count, as with streams.
    let narrowed = format!("[applicants.\"{}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n", a.to_uppercase());
    write_settings(&world, "importer", &narrowed);
    let run =
        import(&world, &[], &[]).exits(3).prints("delivered 1 envelope").says("b.json").says_nothing_of("at a.json");
    let run = run.says(&format!("the applicant {APPLICANT} is mapped for other streams or keys only"));
    run.says(&format!("key {b}")).says("# for all streams; for one alone: below [applicants.\"STREAM\"]");
    assert_eq!(names_in_spool(&world), [HERE]);
    world.run(["applicants", "--site", "importer"]).exits(0).prints("FINGERPRINT OF THE KEY").prints(APPLICANT);
    // What was held for the other key goes once that one is mapped, with the signers that were noted.
    write_settings(&world, "importer", &format!("{narrowed}[applicants.\"{b}\"]\n\"{APPLICANT}\" = \"{OTHER}\"\n"));
    let inbox = ["import", "--to", "spool:spool", "--trust", "trust", "--site", "importer"];
    world.run(inbox).exits(0).prints("delivered 1 envelope");
    assert_eq!(names_in(&world, OTHER_FEED), [OTHER]);
    let check = ["check", "--to", "spool:spool", "--site", "importer"];
    world.run(check).exits(0).prints(HERE).prints(OTHER).says_nothing_of("is not mapped");
}

#[test]
fn mapping_of_a_stream_precedes_that_of_its_key_and_that_of_the_key_the_one_for_all() {
    let world = sent();
    let stream = world.stream();
    let table = |name: &str, to: &str| format!("[applicants{name}]\n\"{APPLICANT}\" = \"{to}\"\n");
    let (all, key) = (table("", THIRD), table(&format!(".\"{}\"", fingerprint(&world, "site-a")), OTHER));
    let of_stream = table(&format!(".\"{stream}\""), HERE);
    for (text, expected) in
        [(all.clone(), THIRD), (format!("{all}{key}"), OTHER), (format!("{all}{key}{of_stream}"), HERE)]
    {
        write_settings(&world, "importer", &text);
        import(&world, &[], &["--redeliver"]).exits(0);
        assert_eq!(names_in_spool(&world).last().map(String::as_str), Some(expected), "{text}");
    }
}

#[test]
fn batch_of_two_signers_is_held_where_their_mappings_differ() {
    let world = World::new();
    world.key("site-b", [8; 32]);
    world.made("a.json");
    world.send(&["--key", "keys/site-b.key.pem"]).exits(0);
    let (a, b) = (fingerprint(&world, "site-a"), fingerprint(&world, "site-b"));
    let table = |key: &str, to: &str| format!("[applicants.\"{key}\"]\n\"{APPLICANT}\" = \"{to}\"\n");
    let all = format!("[applicants]\n\"{APPLICANT}\" = \"{HERE}\"\n");
    write_settings(&world, "importer", &format!("{all}{}{}", table(&a, HERE), table(&b, OTHER)));
    let run = import(&world, &[], &[]).exits(3).says("two keys signed its batch").says(&a).says(&b);
    run.says("map it for its stream in airpouch.toml, or to one user for both keys");
    assert!(names_in_spool(&world).is_empty());
    // One of them alone decides, and so do both with one user.
    write_settings(&world, "importer", &table(&b, OTHER));
    import(&world, &[], &[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(names_in_spool(&world), [OTHER]);
}

#[test]
fn mapping_of_a_key_that_may_not_sign_the_stream_does_not_apply() {
    let world = World::new();
    world.key("site-b", [8; 32]);
    world.made("a.json");
    world.send(&["--key", "keys/site-b.key.pem"]).exits(0);
    let elsewhere = "[[key]]\nfile = \"site-a.pub.pem\"\n[[key]]\nfile = \"site-b.pub.pem\"\nzones = [\"elsewhere\"]\n";
    fs::write(world.path("trust/trust.toml"), elsewhere).unwrap();
    let key = fingerprint(&world, "site-b");
    write_settings(&world, "importer", &format!("[applicants.\"{key}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n"));
    import(&world, &[], &[]).exits(3).says("is mapped for other streams or keys only");
    assert!(names_in_spool(&world).is_empty());
}

#[test]
fn key_is_named_by_its_whole_fingerprint() {
    let world = sent();
    let key = fingerprint(&world, "site-a");
    let table = |name: &str| format!("[applicants.\"{name}\"]\n\"{APPLICANT}\" = \"{HERE}\"\n");
    for short in [&key[..16], &key[..63], "site-a.pub.pem"] {
        write_settings(&world, "importer", &table(short));
        import(&world, &[], &[]).exits(2).says("nor the fingerprint of a key").says("all of them count");
        world.run(["check", "--to", "spool:spool", "--site", "importer"]).exits(2).says(short);
    }
    // One that nobody has, perhaps mistyped, applies to nothing, and is named.
    let other = format!("{}{}", &key[..63], if key.ends_with('0') { '1' } else { '0' });
    write_settings(&world, "importer", &table(&other));
    let says = format!("no key in the trust store has the fingerprint {other}");
    import(&world, &[], &[]).exits(3).says(&says);
    write_settings(&world, "importer", &format!("trust = \"../trust\"\n{}", table(&other)));
    world.run(["check", "--to", "spool:spool", "--site", "importer"]).exits(0).says(&says);
}

#[test]
fn mapping_for_all_is_written_beside_those_of_a_stream_and_a_key() {
    let world = sent();
    let key = fingerprint(&world, "site-a");
    let narrowed = format!("# theirs\n[applicants.\"{key}\"] # one\n\"{OTHER}\" = \"{HERE}\" # two\n");
    write_settings(&world, "importer", &narrowed);
    import(&world, &[], &[]).exits(3);
    let pair = format!("{APPLICANT}={OTHER}");
    world.run(["applicants", "--site", "importer", "--write"]).exits(0).says("written to");
    world.run(["applicants", "--site", "importer", "--write", "--applicant", &pair]).exits(0).says("written to");
    let text = fs::read_to_string(world.path("importer/airpouch.toml")).unwrap();
    assert!(text.contains(&narrowed), "{text}");
    import(&world, &[], &[]).exits(0).prints("delivered 1 envelope");
    assert_eq!(names_in_spool(&world), [OTHER]);
}

#[test]
fn fault_of_a_key_a_secret_or_a_setting_is_wrong_usage() {
    let world = sent();
    fs::create_dir(world.path("dir")).unwrap();
    fs::write(world.path("noise"), [0xff, 0xfe, 0, 1]).unwrap();
    fs::write(world.path("empty"), "").unwrap();
    fs::write(world.path("pass"), "right\n").unwrap();
    fs::write(world.path("wrong"), "wrong\n").unwrap();
    world.run(["keygen", "--out", "keys/enc", "--passphrase-file", "pass"]).exits(0);
    let pack = ["pack", "src", "--site", "exporter", "--key"];
    for key in ["absent", "dir", "noise", "empty", "trust/site-a.pub.pem", "keys/enc.key.pem"] {
        world.run(pack.iter().chain(&[key])).exits(2).says(key);
    }
    for passphrase in ["absent", "dir", "wrong", "empty"] {
        world.run(pack.iter().chain(&["keys/enc.key.pem", "--passphrase-file", passphrase])).exits(2);
    }
    for trust in ["absent", "empty", "dir"] {
        world.run(["verify", "medium", "--trust", trust]).exits(2);
        import(&world, &[], &["--trust", trust]).exits(2);
    }
    let to = ["import", "medium", "--to", "opencti+https://127.0.0.1:1", "--trust", "trust", "--site", "importer"];
    for secret in ["absent", "dir", "noise", "empty"] {
        for option in ["--token-file", "--amqp-password-file", "--ca-file", "--policy"] {
            if (option, secret) != ("--policy", "empty") {
                world.run(to.iter().chain(&[option, secret])).exits(2);
            }
        }
    }
    assert!(!world.path("importer").exists());
    fs::create_dir_all(world.path("importer/airpouch.toml")).unwrap();
    import(&world, &[], &[]).exits(2).says("airpouch.toml");
    fs::remove_dir(world.path("importer/airpouch.toml")).unwrap();
    fs::write(world.path("importer/airpouch.toml"), "to = \"dir:x\"\n").unwrap();
    fs::create_dir(world.path("importer/policy.toml")).unwrap();
    import(&world, &[], &[]).exits(2).says("policy.toml");
}

#[test]
fn value_that_is_none_of_its_key_is_named_with_the_file() {
    let world = sent();
    for (text, says, advice) in [
        ("on_gap = \"wait\"\n", "\"wait\" is no value for on_gap", "on_gap is \"deliver\" or \"hold\""),
        ("queue_type = \"\"\n", "\"\" is no value for queue_type", "queue_type is \"classic\" or \"quorum\""),
        ("works = \"all\"\n", "\"all\" is no value for works", "works is \"batch\", \"envelope\" or \"none\""),
    ] {
        write_settings(&world, "importer", text);
        import(&world, &[], &[]).exits(2).says(says).says("importer/airpouch.toml").says(advice);
        let check = ["check", "--to", "spool:spool", "--site", "importer"];
        world.run(check).exits(2).says(says).says("importer/airpouch.toml").says(advice);
    }
    // What is typed goes over it, and verbs without the option do not ask.
    write_settings(&world, "importer", "on_gap = \"wait\"\n");
    import(&world, &[], &["--on-gap", "hold", "--unmapped", &format!("default={HERE}")]).exits(0);
    write_settings(&world, "exporter", "on_gap = \"wait\"\n");
    world.send(&[]).exits(0);
}

#[test]
fn no_in_the_environment_does_not_take_back_a_yes_of_the_file() {
    let world = sent();
    let pack = |variable: &str| {
        let mut command = world.command();
        command.args(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"]);
        finish(command.env("AIRPOUCH_HEARTBEAT", variable)).exits(0)
    };
    pack("false").says_nothing_of("packed batch");
    write_settings(&world, "exporter", "heartbeat = true\n");
    pack("false").prints("packed batch 2");
    write_settings(&world, "exporter", "heartbeat = false\n");
    pack("false").says_nothing_of("packed batch");
    pack("true").prints("packed batch 3");
}

#[test]
fn what_a_person_has_to_name_is_not_taken_from_the_file() {
    let world = sent();
    fs::create_dir(world.path("other")).unwrap();
    write_settings(&world, "exporter", "medium = \"../other\"\ntrust = \"absent\"\n");
    world.made("b.json");
    world.pack(&[]).exits(0).prints("packed batch 2").says_nothing_of("SAFE TO REMOVE");
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    assert!(files(&world.path("other")).is_empty());
    world.run(["carry", "--site", "exporter"]).exits(0).prints("SAFE TO REMOVE");
    assert!(!files(&world.path("other")).is_empty());
    write_settings(&world, "importer", "medium = \"../medium\"\nto = \"spool:../spool\"\ntrust = \"../trust\"\n");
    world.run(["import", "--site", "importer"]).exits(0).says_nothing_of("delivered 1");
}

#[test]
fn byte_order_mark_is_no_part_of_a_passphrase() {
    let world = World::new();
    fs::write(world.path("pass"), "secret\n").unwrap();
    fs::write(world.path("marked"), b"\xef\xbb\xbfsecret\r\n").unwrap();
    world.run(["keygen", "--out", "keys/enc", "--passphrase-file", "pass"]).exits(0);
    world.made("a.json");
    let pack = ["pack", "src", "--site", "exporter", "--key", "keys/enc.key.pem", "--passphrase-file", "marked"];
    world.run(pack).exits(0).prints("packed batch 1");
}

/// Every variable that the help of a verb names.
fn variables(world: &World, verb: &str) -> Vec<String> {
    let help = world.run([verb, "--help"]).exits(0).stdout;
    let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    named.map(str::to_owned).collect()
}

#[test]
fn variable_that_is_empty_is_as_one_that_is_not_set() {
    let world = World::new();
    world.made("a.json");
    for (verb, arguments) in [
        ("pack", vec!["src", "--key", "keys/site-a.key.pem", "--site", "exporter"]),
        ("carry", vec!["medium", "--site", "exporter"]),
        ("verify", vec!["medium", "--trust", "trust"]),
        (
            "import",
            vec![
                "medium",
                "--to",
                "dir:out",
                "--trust",
                "trust",
                "--site",
                "importer",
                "--unmapped",
                "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10",
            ],
        ),
        (
            "check",
            vec!["--to", "dir:out", "--site", "importer", "--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"],
        ),
        ("status", vec!["--site", "importer"]),
        ("keygen", vec!["--out", "keys/new"]),
    ] {
        let mut command = world.command();
        let named = variables(&world, verb);
        assert!(verb == "status" || verb == "keygen" || named.len() > 3, "{verb}: {named:?}");
        command.arg(verb).args(arguments).env("SOURCE_DATE_EPOCH", "").env("CREDENTIALS_DIRECTORY", "");
        finish(command.envs(named.iter().map(|name| (name.as_str(), "")))).exits(0);
    }
    assert_eq!(world.delivered().len(), 1);
    // Also where nothing but the variable would name it.
    let mut command = world.command();
    command.args(["import", "medium", "--trust", "trust", "--site", "importer"]).env("AIRPOUCH_TO", "");
    finish(&mut command).exits(2).says("no destination given");
}

#[test]
fn medium_for_several_zones_is_done_in_each_of_them() {
    let world = World::new();
    world.made("a.json");
    world.send(&["--zone", "red"]).exits(0);
    world.made("b.json");
    world.send(&["--zone", "blue", "--new-zone"]).exits(0);
    world.made("c.json");
    world.send(&["--zone", "blue"]).exits(0);
    for zone in ["red", "blue"] {
        let site = format!("importer-{zone}");
        let import = |report: &str| {
            let mapped = format!("{APPLICANT}={HERE}");
            let to = format!("dir:out-{zone}");
            let words = ["import", "medium", "--to", &to, "--trust", "trust", "--zone", zone, "--site", &site];
            world.run(
                words
                    .iter()
                    .chain(&["--applicant", &mapped])
                    .chain(report.split_whitespace().collect::<Vec<_>>().iter()),
            )
        };
        import("").exits(0).prints("delivered").says("meant for zone");
        let again = import("--json").exits(0).json();
        let findings = again["report"]["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "one for each other zone: {again}");
        assert_eq!((&findings[0]["code"], &findings[0]["severity"]), (&"wrong-zone".into(), &"note".into()));
        world.verify(&["--zone", zone]).exits(0).prints("holds: batch 1");
    }
    world.verify(&["--zone", "green"]).exits(3).says("2 batches are meant for zone blue").says("this is zone green");
}

#[test]
fn zone_that_is_mistyped_begins_no_stream() {
    let world = World::new();
    world.made("a.json");
    world.send(&["--zone", "restricted"]).exits(0);
    world.made("b.json");
    let run = world.send(&["--zone", "restrcited"]).exits(2);
    run.says("no stream for zone restrcited; it packs for restricted").says("--new-zone");
    world.carry(&["--zone", "restrcited"]).exits(2).says("no stream for zone restrcited");
    world.run(["stream", "renew", "--zone", "restrcited", "--site", "exporter"]).exits(2).says("no stream for zone");
    let status = || world.run(["status", "--site", "exporter", "--json"]).exits(0).json();
    assert_eq!(status()["report"]["streams"].as_array().unwrap().len(), 1);
    write_settings(&world, "exporter", "zone = \"other\"\n");
    world.send(&[]).exits(2).says("no stream for zone other");
    world.send(&["--new-zone"]).exits(0).prints("for zone other");
    world.send(&[]).exits(0);
    assert_eq!(status()["report"]["streams"].as_array().unwrap().len(), 2);
}

#[test]
fn batch_made_far_from_now_is_reported_and_delivered() {
    for (epoch, says) in [("4102444800", "in the future: 2100-01-01T00:00:00Z"), ("86400", "more than ten years ago")] {
        let world = World::new();
        world.made("a.json");
        let mut command = world.command();
        command.args(["pack", "src", "medium", "--key", "keys/site-a.key.pem", "--site", "exporter"]);
        finish(command.env("SOURCE_DATE_EPOCH", epoch)).exits(0);
        world.verify(&[]).exits(0).says("note: batch 1 says that it was made").says(says);
        world.import(&[]).exits(0).prints("delivered 1 envelope").says(says);
        world.import(&[]).exits(0).says_nothing_of("says that it was made");
    }
    let world = sent();
    world.verify(&[]).exits(0).says_nothing_of("says that it was made");
}
