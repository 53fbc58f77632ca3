//! `--wait`: a run waits for another one that holds the lock, and says for whom.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::{APPLICANT, Run, Unjudged, World, ended};

/// A run that has said its first line on stderr, and that line.
struct Waiting {
    run: Child,
    line: String,
}

impl Waiting {
    /// Starts a run and reads its first line: it comes before the run waits.
    fn begun(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = world.command();
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().unwrap();
        let mut line = String::new();
        // What comes behind the line is read at the end: nothing more comes before that.
        let mut stderr = BufReader::with_capacity(1, run.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        run.stderr = Some(stderr.into_inner());
        Self { run, line }
    }

    fn ended(self, status: i32) -> Run {
        Unjudged::of(&ended(self.run)).exits(status)
    }
}

/// The lock of a site, held by this process.
fn held(world: &World, file: &str) -> File {
    let lock = File::options().write(true).open(world.path(file)).unwrap();
    lock.lock().unwrap();
    lock
}

/// A world whose both sites and spool are there.
fn with_sites() -> World {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(0);
    world
}

const PACK: [&str; 6] = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter"];
const CARRY: [&str; 4] = ["carry", "medium", "--site", "exporter"];
const IMPORT: [&str; 8] = ["import", "medium", "--to", "spool:spool", "--trust", "trust", "--site", "importer"];

#[test]
fn run_with_wait_names_the_one_that_is_at_work_and_goes_on_after_it() {
    let world = with_sites();
    let stream = world.stream();
    let accept = ["stream", "accept", &stream, "7", "--reason", "test", "--site", "importer"];
    let witness = ["witness", "SABR2-4PA3E-YWNYP-266SS-AV", "--site", "importer"];
    let renew = ["stream", "renew", "--site", "exporter"];
    let release = ["quarantine", "release", "3603596b", "--reason", "test", "--site", "importer"];
    let verbs: [(&str, &[&str], i32, &str); 7] = [
        ("exporter", &PACK, 0, ""),
        ("exporter", &CARRY, 0, ""),
        ("exporter", &renew, 0, ""),
        ("importer", &IMPORT, 0, ""),
        ("importer", &accept, 2, "batch 7"),
        ("importer", &witness, 0, ""),
        ("importer", &release, 2, "3603596b"),
    ];
    for (site, verb, status, words) in verbs {
        let lock = held(&world, &format!("{site}/lock"));
        let waiting = Waiting::begun(&world, &[verb, &["--wait", "1h"]].concat(), &[]);
        let line = format!("waiting up to 60 min for another run of airpouch on this site (process {}, since 20", {
            std::process::id()
        });
        assert!(waiting.line.starts_with(&line) && waiting.line.ends_with("Z)\n"), "{verb:?}: {}", waiting.line);
        drop(lock);
        waiting.ended(status).says(words);
    }
}

#[test]
fn wait_of_the_environment_or_of_the_file_is_that_of_each_run() {
    let world = with_sites();
    let lock = held(&world, "importer/lock");
    let waiting = Waiting::begun(&world, &IMPORT, &[("AIRPOUCH_WAIT", "2h")]);
    assert!(waiting.line.starts_with("waiting up to 2 h for"), "{}", waiting.line);
    drop(lock);
    waiting.ended(0);
    std::fs::write(world.path("importer/airpouch.toml"), "wait = \"3h\"\n").unwrap();
    let witness = ["witness", "SABR2-4PA3E-YWNYP-266SS-AV", "--site", "importer"];
    for verb in [&IMPORT[..], &witness] {
        let lock = held(&world, "importer/lock");
        let waiting = Waiting::begun(&world, verb, &[]);
        assert!(waiting.line.starts_with("waiting up to 3 h for"), "{}", waiting.line);
        drop(lock);
        waiting.ended(0);
    }
    std::fs::write(world.path("importer/airpouch.toml"), "wait = \"soon\"\n").unwrap();
    world.run(IMPORT).exits(2).says("invalid duration \"soon\"");
    world.run(witness).exits(2).says("invalid duration \"soon\"").says("importer/airpouch.toml");
}

#[test]
fn busy_site_is_refused_at_once_without_wait_and_after_it_with_its_length() {
    let world = with_sites();
    let _lock = held(&world, "importer/lock");
    let busy = "error: another run of airpouch holds the lock of this site\n";
    world.run(IMPORT).exits(5).says(busy).says_nothing_of("waiting");
    world.run([&IMPORT[..], &["--wait", "0s"]].concat()).exits(5).says(busy).says_nothing_of("waiting");
    let late = world.run([&IMPORT[..], &["--wait", "1s"]].concat()).exits(5);
    late.says("waiting up to 1 s for").says("error: another run of airpouch holds the lock of this site; waited 1 s\n");
    let document = world.run([&IMPORT[..], &["--wait", "1s", "--json"]].concat()).exits(5).json();
    assert_eq!(document["error"]["what"], "another run of airpouch holds the lock of this site; waited 1 s");
}

#[test]
fn drain_with_wait_waits_for_another_drain_of_its_spool() {
    let world = with_sites();
    let mapped = format!("{APPLICANT}={APPLICANT}");
    world.run([&IMPORT[..], &["--applicant", &mapped]].concat()).exits(0);
    let lock = held(&world, "spool/.airpouch");
    // Nobody listens there: that is what the drain finds out after its wait.
    let drain = ["drain", "spool", "--to", "amqp://127.0.0.1:1", "--site", "importer"];
    world.run(drain).exits(5).says("error: another drain is at work in this spool\n");
    let waiting = Waiting::begun(&world, &[&drain[..], &["--wait", "1h"]].concat(), &[]);
    let line = format!("waiting up to 60 min for another drain of this spool (process {}, ", std::process::id());
    assert!(waiting.line.starts_with(&line), "{}", waiting.line);
    drop(lock);
    waiting.ended(1).says("127.0.0.1:1");
}
