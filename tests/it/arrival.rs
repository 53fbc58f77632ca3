//! What has arrived, as the importer says it to the exporter: by a code that nobody else can make.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Run, Unjudged, World, files, finish};

const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn events(world: &World, site: &str, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == kind).collect()
}

/// Makes a pairing at the exporter, and types it at the importer. What is on the paper.
fn pair(world: &World) -> String {
    let paper = world.run(["pair", "--site", "exporter"]).exits(0).stdout.trim().to_owned();
    types(world, "", &paper).exits(0);
    paper
}

/// Types a pairing at the importer.
fn types(world: &World, more: &str, paper: &str) -> Unjudged {
    fs::write(world.path("paper"), format!("{}\n", paper.to_lowercase())).unwrap();
    world.sh(&format!("$A pair --site importer {more} < paper; rm paper"))
}

/// A world in which these batches were packed and carried, and imported once before both sites were paired.
fn paired(batches: usize) -> (World, String) {
    let world = World::new();
    for n in 1..=batches {
        world.send_new(&[&format!("{n}.json")]);
    }
    world.import(&[]).exits(0);
    let paper = pair(&world);
    (world, paper)
}

fn stream_of(world: &World, site: &str) -> Value {
    let status = world.run(["status", "--json", "--site", site]).exits(0).json();
    status["report"]["streams"].as_array().unwrap().last().unwrap().clone()
}

/// The code that the importer shows.
fn code(world: &World) -> String {
    stream_of(world, "importer")["arrival"]["code"].as_str().unwrap().to_owned()
}

fn arrived(world: &World, words: &[&str]) -> Unjudged {
    world.run(["arrived"].iter().chain(words).chain(&["--site", "exporter"]))
}

fn says(world: &World, words: &[&str]) -> Value {
    arrived(world, &[words, &["--json"]].concat()).exits(0).json()["report"].clone()
}

/// A code whose checks fit and that says nothing: as somebody makes it who guesses.
fn guess(n: u64) -> String {
    airpouch::arrival::ArrivalCode::of(&n.to_be_bytes()).to_string()
}

fn wrong(run: Unjudged) -> Run {
    run.exits(4).says("fits none of the newest 1,024 batches")
}

#[test]
fn code_that_the_importer_shows_acknowledges_at_the_exporter_what_has_arrived() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let unpaired = world.import(&[]).exits(0);
    unpaired.prints("of batch 1 (carry showed the same); it acknowledges nothing").says_nothing_of("arrival code");
    world.run(["status", "--site", "importer"]).exits(0).prints("(acknowledges nothing)");
    arrived(&world, &[&guess(1)]).exits(2).says("not paired").says("airpouch pair");

    let paper = pair(&world);
    assert_eq!(paper.len(), 33, "26 symbols and two that check them, in groups of five");
    world.send_new(&["b.json"]);
    world.made("c.json");
    world
        .send(&["--no-overlap"])
        .exits(0)
        .prints("of batch 3; once it is there, the other side says a code: airpouch arrived");
    let stream = world.stream();
    let code = code(&world);
    world.run(["status", "--site", "exporter"]).exits(0).prints("last acknowledged: never");
    let said = says(&world, &[&code.to_lowercase().replace('-', " ")]);
    assert_eq!(
        said,
        json!({"said": {"stream": stream, "sequence": 1, "code": code, "without": [], "new": [[1, 1]],
            "acknowledged": [[1, 1]]}, "open": [{"stream": stream, "sequences": [[2, 3]]}], "findings": []})
    );

    let imported = world.import(&[]).exits(0);
    let imported = imported.says_nothing_of("head code");
    let code = self::code(&world);
    let last = imported.stdout.lines().rev().take(2).collect::<Vec<_>>();
    assert!(last[1].starts_with(&format!("arrival code {code} (")), "{}", imported.stdout);
    assert!(last[1].ends_with("): all up to batch 3 is here"), "{}", imported.stdout);
    assert_eq!(last[0], format!("  at the exporter: airpouch arrived {code}"));
    let person = ["--operator", "E. Officer", "--ticket", "CR-7"];
    let run = arrived(&world, &[&[&*code], &person[..]].concat()).exits(0);
    run.prints(&format!("acknowledged: batches 2 to 3 of stream {stream}")).says_nothing_of("not acknowledged");

    let noted = events(&world, "exporter", "acknowledged");
    assert_eq!(noted.len(), 2);
    let noted = |key: &str| noted[1][key].clone();
    assert_eq!((noted("stream"), noted("sequence"), noted("code")), (json!(stream), json!(3), json!(code)));
    assert_eq!((noted("sequences"), noted("operator")), (json!([[2, 3]]), json!("E. Officer")));
    world.run(["log", "--event", "acknowledged", "--site", "exporter"]).exits(0).prints(&code);
    // Batch 2 has its record of it too, though the code was that of batch 3.
    world.run(["log", "--batch", "2", "--event", "acknowledged", "--site", "exporter"]).exits(0).prints(&code);
    let record = world.run(["record", "2", "--json", "--site", "exporter"]).exits(0).json();
    let batch = &record["report"]["batches"][0];
    assert_eq!(batch["events"].as_array().unwrap().last().unwrap()["details"]["sequences"], json!([[2, 2]]));
    assert!(batch["times"]["acknowledged"].is_string(), "{batch}");
    let status = stream_of(&world, "exporter");
    assert_eq!((&status["acknowledged"], &status["paired"]), (&json!([[1, 3]]), &json!(true)));
    assert_eq!(status["last_acknowledged"]["sequence"], 3);
    world.run(["status", "--site", "exporter"]).exits(0).prints("last acknowledged: batch 3, 20");
    world.run(["audit", "--site", "exporter"]).exits(0);

    // The same once more, and an older one, which somebody finds on a slip of paper.
    for older in [&code, said["said"]["code"].as_str().unwrap()] {
        arrived(&world, &[older])
            .exits(0)
            .prints("nothing new: all up to batch")
            .prints("acknowledged in all: batches 1 to 3");
    }
    assert_eq!(events(&world, "exporter", "acknowledged").len(), 2, "what says nothing new is no event");
}

#[test]
fn code_is_the_hmac_that_openssl_makes() {
    let (world, paper) = paired(3);
    let status = stream_of(&world, "importer");
    let (stream, code) = (status["stream"].as_str().unwrap(), status["arrival"]["code"].as_str().unwrap());
    let manifest =
        files(&world.path("exporter/outbox")).into_iter().find(|(name, _)| name.ends_with("-00000003.manifest"));
    let sha256 = airpouch::digest::Digest::of(&manifest.unwrap().1);
    let bits = |text: &str| -> Vec<u8> {
        let symbols = text.chars().filter(|c| *c != '-').map(|c| SYMBOLS.find(c).unwrap());
        symbols.flat_map(|symbol| (0..5).rev().map(move |bit| (symbol >> bit & 1) as u8)).collect()
    };
    let nibbles = |bits: &[u8]| -> String {
        bits.chunks_exact(4).map(|four| format!("{:x}", four.iter().fold(0, |sum, bit| 2 * sum + bit))).collect()
    };
    let key = &nibbles(&bits(&paper)[..128]);
    let text = format!("airpouch arrived/1\\ndefault\\n{stream}\\n3\\n{sha256}\\n\\n");
    let mac = world.sh(&format!("printf '{text}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:{key} -r")).exits(0);
    assert_eq!(nibbles(&bits(code)[..40]), mac.stdout[..10], "the first 40 bits are the code");
}

#[test]
fn key_is_for_its_owner_alone_and_stands_nowhere_else() {
    let (world, paper) = paired(1);
    let stream = world.stream();
    let code = code(&world);
    let mut said = arrived(&world, &[&code, "--json"]).exits(0).stdout;
    for site in ["exporter", "importer"] {
        for verb in [&["status", "--json"][..], &["status", "--all"], &["log"], &["audit"], &["witness"]] {
            let run = finish(world.command().args(verb).args(["--site", site])).exits(0);
            said += &format!("{}{}", run.stdout, run.stderr);
        }
        said += &fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
        assert_eq!(fs::metadata(world.path(site).join("pairings")).unwrap().permissions().mode() & 0o777, 0o700);
    }
    for path in ["exporter/pairings/zone-default", &format!("importer/pairings/stream-{stream}")] {
        assert_eq!(fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
        assert!(fs::read_to_string(world.path(path)).unwrap().contains(&paper), "{path}");
    }
    for file in ["exporter/ledger.db", "importer/ledger.db", "exporter/journal.head"] {
        said += &String::from_utf8_lossy(&fs::read(world.path(file)).unwrap());
    }
    for (_, bytes) in files(&world.medium()) {
        said += &String::from_utf8_lossy(&bytes);
    }
    // Nor any group of it.
    for group in paper.split('-').filter(|group| group.len() == 5) {
        assert!(!said.to_uppercase().contains(group), "{group} of {paper}");
    }
    let ids: Vec<_> = ["exporter", "importer"].map(|site| events(&world, site, "paired")[0]["id"].clone()).into();
    assert_eq!(ids[0], ids[1], "people see by it that both have the same key");
    assert!(ids[0].as_str().is_some_and(|id| id.len() == 8));
    world.run(["pair", "--json", "--site", "exporter"]).exits(2);
}

#[test]
fn pairing_is_replaced_only_when_asked_for_and_codes_by_the_old_key_are_wrong() {
    let (world, paper) = paired(1);
    let old = code(&world);
    world.run(["pair", "--site", "exporter"]).exits(2).says("paired already").says("--replace");
    types(&world, "", &paper).exits(2).says("paired already");
    let new = world.run(["pair", "--replace", "--site", "exporter"]).exits(0).stdout.trim().to_owned();
    assert_ne!(new, paper);
    wrong(arrived(&world, &[&old]));
    types(&world, "--replace", &new).exits(0);
    arrived(&world, &[&code(&world)]).exits(0);
    let noted = events(&world, "exporter", "paired");
    assert_eq!(noted[1]["replaces"], noted[0]["id"]);
}

#[test]
fn mistyped_key_is_not_kept_and_options_of_the_other_side_are_refused() {
    let world = World::new();
    world.send_new(&["a.json"]);
    world.import(&[]).exits(0);
    let paper = world.run(["pair", "--site", "exporter"]).exits(0).stdout.trim().to_owned();
    let stream = world.stream();
    let mistyped = format!("{}{}", if paper.starts_with('7') { '8' } else { '7' }, &paper[1..]);
    let refused = types(&world, "", &mistyped).exits(2).says("mistyped");
    assert!(!refused.stderr.to_uppercase().contains(&paper[6..11]), "{}", refused.stderr);
    types(&world, "", "").exits(2).says("this has 0");
    types(&world, "--stream ffffffff", &paper).exits(2).says("unknown stream");
    types(&world, "--file absent", &paper).exits(2);
    world.run(["pair", "--stream", &stream, "--site", "exporter"]).exits(2).says("for the importer");
    world.run(["pair", "--site", "nowhere"]).exits(1).says("no airpouch site");
    world.run(["arrived", &guess(1), "--site", "importer"]).exits(2).says("this site is an importer's");
    assert!(events(&world, "importer", "paired").is_empty());
    fs::write(world.path("paper of the officer"), format!("\u{feff}{paper}\r\n")).unwrap();
    types(&world, &format!("--stream {} --file 'paper of the officer'", &stream[..8]), "").exits(0).prints("pairing ");
    arrived(&world, &[&code(&world)]).exits(0);
}

#[test]
fn file_of_a_pairing_that_is_cut_off_is_refused_and_stops_no_import() {
    let (world, _) = paired(1);
    let code = code(&world);
    let stream = world.stream();
    let at_importer = format!("importer/pairings/stream-{stream}");
    for file in ["exporter/pairings/zone-default", &at_importer] {
        let whole = fs::read(world.path(file)).unwrap();
        let mut changed = whole.clone();
        changed[30] = if changed[30] == b'7' { b'8' } else { b'7' };
        let cut: Vec<Vec<u8>> = [0, 10, 20, 40, whole.len() - 1].iter().map(|end| whole[..*end].to_vec()).collect();
        for bytes in cut.into_iter().chain([changed, [whole.clone(), b"\n".to_vec()].concat()]) {
            fs::write(world.path(file), &bytes).unwrap();
            if file.starts_with("exporter") {
                arrived(&world, &[&code]).exits(1).says("cut off or damaged").says("airpouch pair --replace");
            } else {
                let shown = world.run(["status", "--site", "importer"]).exits(0);
                shown.prints("cut off or damaged").says_nothing_of("arrival code");
            }
        }
        if file.starts_with("importer") {
            world.send_new(&["b.json"]);
            world.import(&[]).exits(0).prints("delivered 1 envelope").says("warning: the key of a pairing is cut off");
        }
        fs::write(world.path(file), &whole).unwrap();
    }
    arrived(&world, &[&code]).exits(0);
}

#[test]
fn mistyped_code_is_told_apart_from_a_wrong_one_and_is_not_counted() {
    let (world, _) = paired(1);
    let code = code(&world);
    let plain: Vec<char> = code.chars().filter(|c| *c != '-').collect();
    for at in 0..plain.len() {
        let mut mistyped = plain.clone();
        mistyped[at] = if mistyped[at] == '7' { '8' } else { '7' };
        let mistyped: String = mistyped.into_iter().collect();
        arrived(&world, &[&mistyped]).exits(2).says("mistyped").says("nothing was counted");
    }
    arrived(&world, &["9E86-4020"]).exits(2).says("mistyped").says("this has 8");
    arrived(&world, &["7F4QU-9XKM2"]).exits(2).says("mistyped").says("'U'");
    assert!(events(&world, "exporter", "arrival-refused").is_empty());
    arrived(&world, &[&code]).exits(0);
}

#[test]
fn guesses_are_limited_across_processes_and_a_clock_that_is_set_back_opens_nothing() {
    let (world, _) = paired(1);
    let code = code(&world);
    for n in 1..=5 {
        wrong(arrived(&world, &[&guess(n)])).says(&format!("({} more may be tried within an hour)", 5 - n));
    }
    for said in [&code, &guess(6)] {
        arrived(&world, &[said]).exits(1).says("5 codes were wrong within an hour: none is tried before 20");
    }
    let refused = events(&world, "exporter", "arrival-refused");
    let why: Vec<_> = refused.iter().map(|event| (event["why"].as_str().unwrap(), event["wrong"].clone())).collect();
    assert_eq!(why[4..], [("fits-no-batch", json!(5)), ("too-many-wrong", json!(5)), ("too-many-wrong", json!(5))]);
    assert!(events(&world, "exporter", "acknowledged").is_empty());
    assert_eq!(stream_of(&world, "exporter")["acknowledged"], json!([]));

    // The clock went back by a day since, and what was typed lies in the future: it counts, and for one more hour only.
    let ledger = || rusqlite::Connection::open(world.path("exporter/ledger.db")).unwrap();
    ledger().execute("UPDATE wrong_code SET at = at + 86400", []).unwrap();
    arrived(&world, &[&code]).exits(1).says("none is tried");
    ledger().execute("UPDATE wrong_code SET at = at - 3500", []).unwrap();
    arrived(&world, &[&code]).exits(1).says("none is tried");
    ledger().execute("UPDATE wrong_code SET at = at - 100", []).unwrap();
    arrived(&world, &[&code]).exits(0);
}

#[test]
fn what_is_missing_is_not_acknowledged_and_what_was_given_up_only_by_name() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.import(&[]).exits(0);
    pair(&world);
    for n in 2..=5 {
        world.send_new(&[&format!("{n}.json")]);
    }
    world.sh("mkdir lost; mv medium/*-00000003.* lost/").exits(0);
    world.import(&[]).exits(3).prints("all up to batch 2 is here");
    let said = says(&world, &[&code(&world)]);
    assert_eq!((&said["said"]["new"], &said["open"][0]["sequences"]), (&json!([[1, 2]]), &json!([[3, 5]])));

    let stream = world.stream();
    world.run(["stream", "accept", &stream, "3", "--reason", "lost", "--site", "importer"]).exits(0);
    let code = code(&world);
    world
        .run(["status", "--site", "importer"])
        .exits(0)
        .prints(&format!("at the exporter: airpouch arrived {code} --without 3"));
    wrong(arrived(&world, &[&code])).says("--without NUMBERS");
    wrong(arrived(&world, &[&code, "--without", "2-3"]));
    let said = says(&world, &[&code, "--without", "3"]);
    assert_eq!((&said["said"]["new"], &said["open"][0]["sequences"]), (&json!([[4, 5]]), &json!([[3, 3]])));
    let resend = arrived(&world, &[&code, "--without", "3"]).exits(0);
    resend.prints("not there, and not waited for: batch 3").prints(&format!(" MEDIUM --resend {stream}:3\n"));

    // It comes all the same: the head is the same as before, and one batch more is there.
    world.carry(&["--resend", &format!("{stream}:3"), "--no-overlap"]).exits(0);
    world.import(&[]).exits(0).prints("all up to batch 5 is here");
    let said = says(&world, &[&self::code(&world)]);
    assert_eq!((&said["said"]["new"], &said["open"]), (&json!([[3, 3]]), &json!([])));
    assert_eq!(stream_of(&world, "exporter")["acknowledged"], json!([[1, 5]]));
}

#[test]
fn importer_that_began_late_acknowledges_nothing_before_that() {
    let world = World::new();
    for n in 1..=3 {
        world.send_new(&[&format!("{n}.json")]);
    }
    world.sh("rm medium/*-00000001.* medium/*-00000002.*").exits(0);
    world.import(&[]).exits(3);
    pair(&world);
    world.run(["status", "--site", "importer"]).exits(0).prints("no arrival code yet: batch 1 has not arrived");
    let stream = world.stream();
    world.run(["stream", "accept", &stream, "1-2", "--reason", "begins at 3", "--site", "importer"]).exits(0);
    let said = says(&world, &[&code(&world), "--without", "1-2"]);
    assert_eq!(said["said"]["acknowledged"], json!([[3, 3]]));
}

#[test]
fn batch_of_another_history_is_not_taken_for_the_exporters_own() {
    let world = World::new();
    world.send_new(&["1.json"]);
    world.import(&[]).exits(0);
    pair(&world);
    // Two copies of the exporter go on from number 1, and only the other one's number 2 comes.
    world.sh("cp -a exporter other; cp -a medium media").exits(0);
    world.made("other.json");
    world.run(["pack", "src", "media", "--key", "keys/site-a.key.pem", "--site", "other", "--no-overlap"]).exits(0);
    world
        .run([
            "import",
            "media",
            "--to",
            "dir:out",
            "--trust",
            "trust",
            "--site",
            "importer",
            "--unmapped",
            "default=7c9e6679-7425-40de-944b-e07fc1f90ae7",
        ])
        .exits(0);
    let others = code(&world);
    fs::remove_file(world.source().join("other.json")).unwrap();
    world.send_new(&["2.json"]);
    world.send_new(&["3.json"]);
    wrong(arrived(&world, &[&others]));
    world.import(&[]).exits(4);
    wrong(arrived(&world, &[&code(&world)]));

    // A person takes this exporter's number 3, and not its number 2.
    let digest = |n: usize| airpouch::digest::Digest::of(&world.manifests("exporter/outbox")[n - 1].0).to_string();
    let stream = world.stream();
    let accept = |n: usize| {
        let (number, digest) = (n.to_string(), digest(n));
        world
            .run(["stream", "accept", &stream, &number, &digest, "--reason", "genuine", "--site", "importer"])
            .exits(0);
        world.import(&[]).exits_or_dies()
    };
    accept(3);
    let arrival = stream_of(&world, "importer")["arrival"].clone();
    assert_eq!(arrival["sequence"], 3);
    assert_eq!(arrival["without"], json!([[2, 2]]), "the number 2 that came is not this exporter's");
    let said = says(&world, &[arrival["code"].as_str().unwrap(), "--without", "2"]);
    assert_eq!(said["said"]["acknowledged"], json!([[1, 1], [3, 3]]));
    accept(2);
    assert_eq!(says(&world, &[&self::code(&world)])["said"]["acknowledged"], json!([[1, 3]]));
}

#[test]
fn code_of_one_pairing_acknowledges_nothing_of_another_stream() {
    let (world, paper) = paired(2);
    // Another exporter with an importer of its own, both with the same paper.
    let other = World::new();
    other.send_new(&["1.json"]);
    other.import(&[]).exits(0);
    pair(&other);
    let foreign = code(&other);
    wrong(arrived(&world, &[&foreign]));
    let file = format!("airpouch pairing/1\n{paper}\n");
    fs::write(other.path(format!("importer/pairings/stream-{}", other.stream())), &file).unwrap();
    assert_ne!(code(&other), foreign);
    wrong(arrived(&world, &[&code(&other)]));
    // Two zones of one exporter have a key each.
    world.pack(&["--zone", "second", "--new-zone"]).exits(0);
    world.run(["pair", "--site", "exporter"]).exits(2).says("--zone");
    world.run(["pair", "--zone", "second", "--site", "exporter"]).exits(0);
    let said = says(&world, &[&code(&world)]);
    assert_eq!(said["said"]["acknowledged"], json!([[1, 2]]));
    assert_eq!(said["open"].as_array().unwrap().len(), 1, "the other zone's batch is not acknowledged");
}

#[test]
fn stream_that_goes_on_from_a_paired_one_has_its_key() {
    let (world, _) = paired(1);
    let old = world.stream();
    world.run(["stream", "renew", "--site", "exporter"]).exits(0);
    world.send_new(&["2.json"]);
    world.import(&[]).exits(0).prints("arrival code ");
    let new = world.stream();
    assert_ne!(old, new);
    let status = world.run(["status", "--json", "--site", "importer"]).exits(0).json();
    let streams = status["report"]["streams"].as_array().unwrap();
    let code = |of: &str| streams.iter().find(|s| s["stream"] == of).unwrap()["arrival"]["code"].as_str().unwrap();
    assert_eq!(says(&world, &[code(&new)])["said"]["stream"], json!(new));
    assert_eq!(says(&world, &[code(&old)])["said"]["stream"], json!(old));
}

#[test]
fn heads_older_than_the_newest_1024_are_not_tried() {
    let (world, _) = paired(1);
    let code = code(&world);
    let ledger = rusqlite::Connection::open(world.path("exporter/ledger.db")).unwrap();
    let sql = "WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
               INSERT OR IGNORE INTO packed_batch (stream, sequence, sha256, manifest, state, envelopes, bytes)
               SELECT stream, n, randomblob(32), manifest, 'packed', 0, 0 FROM packed_batch, n WHERE sequence = 1";
    ledger.execute(sql, [1_025]).unwrap();
    wrong(arrived(&world, &[&code]));
    ledger.execute("DELETE FROM packed_batch WHERE sequence = 1025", []).unwrap();
    arrived(&world, &[&code]).exits(0);
}

#[test]
fn acknowledgement_and_its_event_are_made_together_or_not_at_all() {
    let (world, _) = paired(1);
    let code = code(&world);
    let ledger = || rusqlite::Connection::open(world.path("exporter/ledger.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON noted BEGIN SELECT RAISE(ABORT, 'no'); END";
    ledger().execute_batch(refuse).unwrap();
    arrived(&world, &[&code]).exits(1);
    arrived(&world, &[&guess(1)]).exits(1);
    ledger().execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(stream_of(&world, "exporter")["acknowledged"], json!([]));
    wrong(arrived(&world, &[&guess(2)])).says("(4 more");

    // A run that cannot write the journal, or is cut off before it does: the next one writes it.
    world.sh("mv exporter/journal.jsonl kept; mkdir exporter/journal.jsonl").exits(0);
    arrived(&world, &[&code]).exits(1);
    world.sh("rmdir exporter/journal.jsonl; mv kept exporter/journal.jsonl").exits(0);
    arrived(&world, &[&code]).exits(0).prints("nothing new");
    assert_eq!(events(&world, "exporter", "acknowledged").len(), 1);
    world.run(["audit", "--site", "exporter"]).exits(0);
}

#[test]
fn policy_that_demands_an_operator_demands_one_of_arrived_and_pair() {
    let (world, _) = paired(1);
    let code = code(&world);
    fs::write(world.path("exporter/policy.toml"), "[record]\nrequire = [\"operator\"]\n").unwrap();
    arrived(&world, &[&code]).exits(2).says("--operator");
    arrived(&world, &[&guess(1)]).exits(2).says("--operator");
    world.run(["pair", "--replace", "--site", "exporter"]).exits(2).says("--operator");
    assert!(events(&world, "exporter", "arrival-refused").is_empty());
    arrived(&world, &[&code, "--operator", "E. Officer"]).exits(0);
}
