//! What a user does at the exporter, beyond the ordinary day: odd files, small media, restored ledgers.

use std::fs;

use crate::support::{SEED, World, envelope, envelope_with, files, finish, set_mtime};
use airpouch::trust::PrivateKey;
use serde_json::json;

/// The manifests on a shelf, read.
fn manifests(dir: &std::path::Path) -> Vec<serde_json::Value> {
    let found = files(dir).into_iter().filter(|(name, _)| name.ends_with(".manifest"));
    found.map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap()).collect()
}

#[test]
fn what_is_no_envelope_is_told_once_and_again_when_it_changes() {
    let world = World::new();
    world.made("good.json");
    world.put("cut.json", &envelope("cut")[..100]);
    world.pack(&[]).exits(3).says("cut.json").says("cut off").says("packed batch 1");
    assert_eq!(world.pack(&[]).exits(0).said(), "");
    world.put("cut.json", b"{\"half\": NaN}");
    world.pack(&[]).exits(3).says("NaN is not JSON");
    world.put("cut.json", &envelope("cut"));
    world.pack(&[]).exits(0).says("packed batch 2");
}

#[test]
fn each_kind_of_bad_file_has_its_own_reason() {
    let world = World::new();
    let bad: [(&str, &[u8], &str); 7] = [
        ("empty.json", b"", "empty"),
        ("bom.json", b"\xef\xbb\xbf{}", "byte order mark"),
        ("utf16.json", b"\xff\xfe{\0}\0", "UTF-16"),
        ("latin.json", b"{\"a\": \"\xe9\"}", "UTF-8"),
        ("list.json", b"[]", "object"),
        ("other.json", b"{\"name\": \"x\"}", "bundle_type"),
        ("twice.json", b"{\"update\": 1, \"update\": 2}", "twice"),
    ];
    for (name, bytes, _) in bad {
        world.put(name, bytes);
    }
    let run = world.pack(&[]).exits(3);
    for (name, _, word) in bad {
        let run = run.clone();
        run.says(name).says(word);
    }
    assert_eq!(files(&world.source()).len(), bad.len(), "nothing was taken away");
}

#[test]
fn the_same_content_goes_once_whatever_its_name() {
    let world = World::new();
    let bytes = fs::read(world.made("a.json")).unwrap();
    world.put("b.json", &bytes);
    world.pack(&[]).exits(0).says("1 envelope,");
    world.put("c.json", &bytes);
    assert_eq!(world.pack(&[]).exits(0).said(), "");
}

#[test]
fn hidden_files_folders_and_other_names_are_no_input() {
    let world = World::new();
    world.made("good.json");
    for name in [".hidden.json", "good.json.tmp", "readme.txt", "airpouch-0123456789abcdef-00000001.manifest"] {
        world.put(name, b"x");
    }
    fs::create_dir_all(world.source().join("below/.git")).unwrap();
    fs::write(world.source().join("below/deep.json"), envelope("deep")).unwrap();
    fs::write(world.source().join("below/.git/no.json"), b"x").unwrap();
    std::os::unix::fs::symlink("good.json", world.source().join("link.json")).unwrap();
    world.pack(&[]).exits(3).says("packed batch 1 for zone default: 1 envelope,").says("link.json");
    world.pack(&["--recursive"]).exits(0).says("packed batch 2 for zone default: 1 envelope,");
}

#[test]
fn order_is_by_time_and_then_by_name() {
    let world = World::new();
    for (name, time) in [("b.json", 900), ("a.json", 900), ("z.json", 5), ("m.json", 7_000_000_000)] {
        set_mtime(&world.made(name), time);
    }
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let order: Vec<_> = ["z.json", "a.json", "b.json", "m.json"].iter().map(|n| envelope(n)).collect();
    assert_eq!(world.delivered().into_iter().map(|(_, b)| b).collect::<Vec<_>>(), order);
}

#[test]
fn small_volumes_and_small_batches_hold_the_same_envelopes() {
    let world = World::new();
    let filler = "x".repeat(60_000);
    let written: Vec<_> = (0..6)
        .map(|n| envelope_with(&format!("{n}"), json!({"update": format!("{n}{filler}")})))
        .map(|bytes| (world.put(&format!("{}.json", bytes.len() + bytes[20] as usize), &bytes), bytes).1)
        .collect();
    assert_eq!(files(&world.source()).len(), 1, "names are the same, so only the last one is there");
    for (n, bytes) in written.iter().enumerate() {
        world.put(&format!("v{n}.json"), bytes);
    }
    world.pack(&["--volume-size", "64KiB", "--max-batch", "130000"]).exits(0).says("packed batch 3");
    let made = manifests(&world.path("exporter/outbox"));
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|m| m["totals"]["envelopes"] == 2 && m["volumes"].as_array().unwrap().len() == 2));
    assert_eq!(made[2]["before"]["envelopes"], 4);
    world.carry(&[]).exits(0);
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0).says("delivered 6 envelopes");
}

#[test]
fn the_same_input_gives_the_same_batch_on_any_number_of_threads() {
    let world = World::new();
    for n in 0..40 {
        world.made(&format!("{n}.json"));
    }
    // A stream's name is drawn by chance: the site is made once and copied.
    let site = world.path("exporter");
    fs::rename(world.source(), world.path("full")).unwrap();
    fs::create_dir(world.source()).unwrap();
    world.pack(&["--heartbeat"]).exits(0);
    fs::remove_dir_all(world.source()).unwrap();
    fs::rename(world.path("full"), world.source()).unwrap();
    fs::rename(&site, world.path("before")).unwrap();
    let mut made = Vec::new();
    for threads in ["1", "2", "3", "8"] {
        finish(std::process::Command::new("cp").args(["-r", "before", "exporter"]).current_dir(world.dir.path()))
            .exits(0);
        let mut command = world.command();
        command.args(["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "--threads", threads]);
        finish(command.env("SOURCE_DATE_EPOCH", "1795572000")).exits(0);
        made.push(files(&site.join("outbox")));
        fs::remove_dir_all(&site).unwrap();
    }
    assert_eq!(made[0].len(), 7);
    assert!(made.iter().all(|m| *m == made[0]));
}

#[test]
fn silence_can_be_told_from_loss() {
    let world = World::new();
    world.send(&["--heartbeat", "--promise", "24h"]).exits(0).says("a heartbeat");
    assert_eq!(manifests(&world.medium())[0]["promise"], 86_400);
    world.import(&[]).exits(0);
    world.send(&["--heartbeat"]).exits(0);
    fs::remove_file(world.on_medium("-00000002.manifest")).unwrap();
    world.made("a.json");
    world.send(&["--no-overlap"]).exits(0);
    world.import(&[]).exits(3).says("batch 2 has not arrived (0 envelopes");
}

#[test]
fn two_keys_sign_when_two_are_named() {
    let world = World::new();
    world.key("site-b", [9; 32]);
    world.made("a.json");
    world.send(&["--key", "keys/site-b.key.pem"]).exits(0);
    let signatures = files(&world.medium()).into_iter().filter(|(n, _)| n.ends_with(".sig")).count();
    assert_eq!(signatures, 2);
    fs::write(
        world.path("trust/trust.toml"),
        "need = 2\n[[key]]\nfile = \"site-a.pub.pem\"\n[[key]]\nfile = \"site-b.pub.pem\"\n",
    )
    .unwrap();
    world.verify(&[]).exits(0);
    let other = PrivateKey::from_seed([9; 32]).public().id();
    fs::remove_file(world.on_medium(&format!("{other}.sig"))).unwrap();
    world.verify(&[]).exits(3).says("is signed by 1 of the 2");
    // It is taken all the same, and waits for the other signature.
    world.import(&[]).exits(3);
    assert!(world.delivered().is_empty());
    world.carry(&["--resend", "1"]).exits(0);
    world.import(&[]).exits(0);
    assert_eq!(world.delivered().len(), 1);
}

#[test]
fn several_zones_in_one_site_are_named() {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--zone", "red"]).exits(0);
    world.pack(&["--zone", "blue", "--new-zone"]).exits(0).says("packed batch 1 for zone blue");
    world.pack(&[]).exits(2).says("several zones").says("--zone");
    world.carry(&["--zone", "blue"]).exits(0);
    assert!(manifests(&world.medium()).iter().all(|m| m["zone"] == "blue"));
    world.pack(&["--zone", "Red!"]).exits(2).says("invalid zone");
}

#[test]
fn an_older_ledger_is_seen_and_a_new_stream_leads_out() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    let copy = |from: &str, to: &str| {
        finish(std::process::Command::new("cp").args(["-r", from, to]).current_dir(world.dir.path())).exits(0)
    };
    copy("exporter", "backup");
    world.made("2.json");
    world.send(&[]).exits(0);
    fs::remove_dir_all(world.path("exporter")).unwrap();
    copy("backup", "exporter");
    world.made("3.json");
    world
        .send(&[])
        .exits(1)
        .says("the ledger is out of date")
        .says("airpouch stream renew --site exporter --medium medium");
    world
        .run(["stream", "renew", "--medium", "medium", "--site", "exporter"])
        .exits(0)
        .says("taken into the ledger: batch 2");
    world.send(&[]).exits(0).says("packed batch 1 for zone default: 1 envelope,");
    // What came back from the stick can be carried to another one.
    fs::create_dir(world.path("second")).unwrap();
    world.run(["carry", "second", "--site", "exporter"]).exits(0);
    world.import(&[]).exits(0);
    assert_eq!(
        world.delivered().into_iter().map(|(_, b)| b).collect::<Vec<_>>(),
        ["1.json", "2.json", "3.json"].map(envelope)
    );
}

#[test]
fn a_lost_ledger_deletes_nothing_of_the_outbox() {
    let world = World::new();
    world.made("1.json");
    world.pack(&[]).exits(0);
    let before = files(&world.path("exporter/outbox"));
    for (name, _) in files(&world.path("exporter")).into_iter().filter(|(n, _)| n.starts_with("ledger")) {
        fs::remove_file(world.path("exporter").join(name)).unwrap();
    }
    world.key("site-b", [9; 32]);
    world
        .run(["pack", "src", "--key", "keys/site-b.key.pem", "--site", "exporter"])
        .exits(1)
        .says("the ledger is out of date");
    assert_eq!(files(&world.path("exporter/outbox")), before);
}

#[test]
fn new_batches_go_before_old_ones_and_old_ones_while_there_is_room() {
    let world = World::new();
    for n in 1..=5 {
        world.made(&format!("{n}.json"));
        world.pack(&[]).exits(0);
        fs::remove_dir_all(world.medium()).unwrap();
        fs::create_dir(world.medium()).unwrap();
        world.carry(&["--overlap", "2"]).exits(0);
    }
    let numbers = |world: &World| -> Vec<u64> {
        manifests(&world.medium()).iter().map(|m| m["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&world), [3, 4, 5]);
    fs::remove_dir_all(world.medium()).unwrap();
    fs::create_dir(world.medium()).unwrap();
    world.carry(&["--resend", "1", "--no-overlap"]).exits(0);
    assert_eq!(numbers(&world), [1]);
    world.carry(&["--resend", "9"]).exits(2).says("there is no batch 9");
}

#[test]
fn a_drop_folder_is_not_read_back() {
    let world = World::new();
    world.made("1.json");
    world.send(&["--diode"]).exits(0).says("sent: batch 1").says_nothing_of("SAFE TO REMOVE");
    world.run(["status", "--site", "exporter"]).exits(0).says("1 sent");
    assert_eq!(world.carry(&["--diode"]).exits(0).said(), "");
}

#[test]
fn a_published_key_signs_nothing_unless_a_test_asks_for_it() {
    let world = World::new();
    world.made("1.json");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/keys/test-a.key.pem");
    let pack = ["pack", "src", "--key", key, "--site", "exporter"];
    world.run(pack).exits(2).says("published");
    world.run(pack.iter().chain(&["--test-keys"])).exits(0);
}

#[test]
fn settings_come_from_the_site_then_the_environment_then_the_command_line() {
    let world = World::new();
    world.made("1.json");
    fs::create_dir(world.path("exporter")).unwrap();
    let settings = "source = \"../src\"\nkey = \"../keys/site-a.key.pem\"\nzone = \"red\"\nno_overlap = true\n";
    fs::write(world.path("exporter/airpouch.toml"), settings).unwrap();
    world.run(["pack", "--site", "exporter"]).exits(0).says("for zone red");
    let mut command = world.command();
    finish(command.args(["pack", "--site", "exporter", "--heartbeat", "--new-zone"]).env("AIRPOUCH_ZONE", "blue"))
        .exits(0)
        .says("for zone blue");
    let mut command = world.command();
    command
        .args(["pack", "--site", "exporter", "--heartbeat", "--new-zone", "--zone", "green"])
        .env("AIRPOUCH_ZONE", "blue");
    finish(&mut command).exits(0).says("for zone green");
    fs::write(world.path("exporter/airpouch.toml"), "zone = \"red\"\nzoon = \"blue\"\n").unwrap();
    world.run(["pack", "--site", "exporter"]).exits(2).says("line 2").says("zoon");
}

#[test]
fn a_wrong_option_suggests_the_right_one() {
    let world = World::new();
    world.run(["pack", "src", "--keys", "x"]).exits(2).says("--key");
    world.run(["pakc"]).exits(2).says("pack");
    assert_ne!(SEED, [0; 32]);
}

#[test]
fn json_is_one_document_also_when_the_run_stops() {
    let world = World::new();
    world.made("1.json");
    let packed = world.send(&["--json"]).exits(0).json();
    assert_eq!((&packed["verb"], &packed["report"]["pack"]["packed"][0]["sequence"]), (&json!("pack"), &json!(1)));
    assert_eq!(packed["report"]["carry"]["new"][0]["envelopes"], 1);
    let stopped =
        world.run(["pack", "nowhere", "--key", "keys/site-a.key.pem", "--site", "exporter", "--json"]).exits(1).json();
    assert!(stopped["error"]["what"].as_str().unwrap().contains("source directory"), "{stopped}");
}

#[test]
fn a_lost_site_is_made_again_from_its_last_stick() {
    let world = World::new();
    world.made("1.json");
    world.send(&[]).exits(0);
    fs::remove_dir_all(world.path("exporter")).unwrap();
    world.run(["stream", "renew", "--trust", "trust", "--site", "exporter"]).exits(1).says("no airpouch site here");
    fs::create_dir_all(world.path("exporter/outbox")).unwrap();
    for (name, bytes) in files(&world.medium()) {
        fs::write(world.path("exporter/outbox").join(name), bytes).unwrap();
    }
    world
        .run(["stream", "renew", "--trust", "trust", "--site", "exporter"])
        .exits(0)
        .says("taken into the ledger: batch 1");
    world.made("2.json");
    world.pack(&[]).exits(0).says("packed batch 1 for zone default: 1 envelope,");
}

#[test]
fn renewal_from_a_stick_with_later_numbers_only_leaves_a_ledger_that_is_not_called_old() {
    let world = World::new();
    for n in 1..=3 {
        world.made(&format!("{n}.json"));
    }
    world.send(&["--max-batch", "1"]).exits(0).says("packed batch 3");
    fs::remove_dir_all(world.path("exporter")).unwrap();
    fs::create_dir_all(world.path("exporter/outbox")).unwrap();
    // As if only the newest stick were left, and was copied into the outbox.
    for (name, bytes) in files(&world.medium()).into_iter().filter(|f| f.0.contains("-00000003.")) {
        fs::write(world.path("exporter/outbox").join(name), bytes).unwrap();
    }
    let renew = ["stream", "renew", "--trust", "trust", "--site", "exporter"];
    world.run(renew).exits(0).says("taken into the ledger: batch 3 of stream").says("goes on from batch 3");
    world.send(&[]).exits(0).says("packed batch 1").says_nothing_of("ledger");
    world.send(&[]).exits(0);
}
