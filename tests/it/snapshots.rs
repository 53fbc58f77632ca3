//! What users read, one file a verb in `snapshots/`, so that a reviewer sees each change of words.
//!
//! Lines of standard error begin with `! `. What differs each time has a name: STREAM, DIGEST, KEY, TIME, N.
//! `INSTA_UPDATE=always cargo test --release --test it snapshots` writes them anew.

use std::fs;

use serde_json::json;

use crate::names::named;
use crate::support::{APPLICANT, World, envelope, envelope_with, finish};

const HERE: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";

/// A terminal on which commands are typed, and what it shows.
struct Terminal {
    world: World,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        Self { world: World::new(), shown: String::new() }
    }

    fn types(&mut self, line: &str, status: i32) {
        let mut command = self.world.command();
        let words = line.split(' ').skip(1);
        let run = finish(command.args(words).env("SOURCE_DATE_EPOCH", "1795572000")).exits(status);
        let errors = run.stderr.lines().map(|line| format!("! {line}\n"));
        let shown = format!("{}{}", run.stdout, errors.collect::<String>());
        let shown = shown.replace(&self.world.dir.path().display().to_string(), "");
        let ended = if status == 0 { String::new() } else { format!("(exit status {status})\n") };
        let shown = format!("$ {line}\n{shown}{ended}\n");
        let shown = without_device(&shown);
        // Help has nothing that differs, and its defaults are to be seen.
        self.shown += &if line.ends_with("--help") { shown } else { named(&shown) };
    }

    #[track_caller]
    fn is(mut self, name: &str) {
        if self.world.path("exporter/ledger.db").exists() {
            self.shown = self.shown.replace(&self.world.stream(), "STREAM");
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_omit_expression(true);
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name, self.shown));
    }

    /// Packed and carried: two envelopes, one of which holds a command.
    fn sent(&self) {
        let mut command: serde_json::Value = serde_json::from_slice(&envelope("b.json")).unwrap();
        command["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
        self.world.made("a.json");
        self.world.put("b.json", &serde_json::to_vec(&command).unwrap());
        self.world.send(&[]).exits(0);
    }
}

/// What the machine of the test tells of its disk, behind a medium of the journal.
fn without_device(shown: &str) -> String {
    let mut parts = shown.split(" medium (");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(" medium (DEVICE)");
        out.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    out
}

const PACK: &str = "airpouch pack src --key keys/site-a.key.pem --site exporter";
const IMPORT: &str = "airpouch import medium --to dir:out --trust trust --site importer";

#[test]
fn keygen_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.types("airpouch keygen --out keys/new", 0);
    terminal.types("airpouch keygen --out keys/new", 2);
    terminal.is("keygen");
}

#[test]
fn pack_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.world.made("a.json");
    terminal.types(PACK, 0);
    terminal.world.put("cut.json", &envelope("cut")[..300]);
    terminal.world.put("null.json", b"{}");
    terminal.types(PACK, 3);
    terminal.types("airpouch pack absent --key keys/site-a.key.pem --site exporter", 1);
    terminal.types("airpouch pack src --key absent --site exporter", 2);
    terminal.is("pack");
}

#[test]
fn carry_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.world.made("a.json");
    terminal.types(PACK, 0);
    terminal.types("airpouch carry medium --site exporter", 0);
    terminal.types("airpouch carry medium --resend 7 --site exporter", 2);
    terminal.types("airpouch carry absent --site exporter", 1);
    terminal.is("carry");
}

#[test]
fn verify_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.types("airpouch verify medium --trust trust", 0);
    let volume = terminal.world.on_medium(".v0001.tar.zst");
    let mut bytes = fs::read(&volume).unwrap();
    bytes[60] ^= 1;
    fs::write(&volume, bytes).unwrap();
    fs::remove_file(terminal.world.on_medium(".index.zst")).unwrap();
    terminal.types("airpouch verify medium --trust trust", 4);
    terminal.types("airpouch verify medium --trust absent", 2);
    terminal.is("verify");
}

#[test]
fn show_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.types("airpouch show medium --trust trust", 0);
    terminal.world.import(&[]).exits(3);
    terminal.types("airpouch show 1 --site importer", 0);
    terminal.types("airpouch show 1:1 --site importer", 0);
    terminal.types("airpouch show 1:9 --site importer", 2);
    terminal.types("airpouch show 7 --site importer", 2);
    terminal.types("airpouch show 7 --site absent", 1);
    terminal.types("airpouch show medium", 2);
    terminal.is("show");
}

#[test]
fn import_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.types(IMPORT, 3);
    terminal.types(
        &format!("airpouch import --to dir:out --trust trust --site importer --applicant {APPLICANT}={HERE}"),
        0,
    );
    terminal.world.made("c.json");
    terminal.world.send(&["--no-overlap"]).exits(0);
    terminal.world.sh("rm medium/*-00000002.*").exits(0);
    terminal.world.made("d.json");
    terminal.world.send(&["--no-overlap"]).exits(0);
    terminal.types(&format!("{IMPORT} --unmapped default={HERE} --applicant {APPLICANT}={HERE}"), 3);
    terminal.types("airpouch import medium --to out --trust trust --site importer", 2);
    terminal.is("import");
}

#[test]
fn status_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.world.made("c.json");
    terminal.world.pack(&[]).exits(0);
    terminal.types("airpouch status --site exporter", 0);
    terminal.world.import(&[]).exits(3);
    terminal.types("airpouch status --site importer", 0);
    terminal.types("airpouch status --site absent", 1);
    terminal.is("status");
}

#[test]
fn arrival_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.types("airpouch arrived 7F4QX-9XKM2 --site exporter", 2);
    terminal.types("airpouch pair --site exporter", 0);
    terminal.types("airpouch pair --site exporter", 2);
    terminal.world.import(&[]).exits(3);
    terminal.types("airpouch pair --file absent --site importer", 2);
    terminal.world.sh("tail -n 1 exporter/pairings/zone-default > paper").exits(0);
    terminal.types("airpouch pair --file paper --site importer", 0);
    terminal.world.made("c.json");
    terminal.world.send(&["--no-overlap"]).exits(0);
    terminal.world.sh("mkdir lost; mv medium/*-00000002.* lost").exits(0);
    terminal.world.made("d.json");
    terminal.world.send(&["--no-overlap"]).exits(0);
    let mapped = format!("{IMPORT} --applicant {APPLICANT}={HERE}");
    terminal.types(&mapped, 3);
    let code = |terminal: &Terminal| {
        let status = terminal.world.run(["status", "--json", "--site", "importer"]).exits(0).json();
        status["report"]["streams"][0]["arrival"]["code"].as_str().unwrap().to_owned()
    };
    let arrived = format!("airpouch arrived {} --site exporter", code(&terminal));
    terminal.types(&arrived, 0);
    terminal.types(&arrived, 0);
    let stream = terminal.world.stream();
    let accept = ["stream", "accept", &stream, "2", "--reason", "lost", "--site", "importer"];
    terminal.world.run(accept).exits(0);
    terminal.types("airpouch status --site importer", 0);
    let code = code(&terminal);
    terminal.types(&format!("airpouch arrived {code} --site exporter"), 4);
    terminal.types(&format!("airpouch arrived {code} --without 2 --site exporter"), 0);
    terminal.types("airpouch status --site exporter", 0);
    terminal.types("airpouch log --event arrival-refused --site exporter", 0);
    terminal.shown = terminal.shown.replace(&stream, "STREAM");
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    terminal.shown = terminal.shown.replace(&format!(" by {}", user.trim()), " by USER");
    terminal.is("arrival");
}

#[test]
fn applicants_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.world.put("null.json", &envelope_with("null", json!({"applicant_id": null})));
    terminal.sent();
    terminal.world.run(IMPORT.split(' ').skip(1)).exits(3);
    terminal.types("airpouch applicants --site importer", 0);
    terminal.types(&format!("airpouch applicants --write --applicant {APPLICANT}={HERE} --site importer"), 0);
    terminal.types(&format!("airpouch applicants --write --applicant {APPLICANT}=bob --site importer"), 2);
    terminal.is("applicants");
}

#[test]
fn quarantine_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.world.import(&[]).exits(3);
    terminal.types("airpouch quarantine list --site importer", 0);
    let name = crate::support::files(&terminal.world.path("importer/quarantine"))[0].0[..8].to_owned();
    terminal.types(&format!("airpouch quarantine release {name} --reason asked --site importer"), 0);
    terminal.types("airpouch quarantine release 00000000 --reason asked --site importer", 2);
    terminal.types("airpouch quarantine list --groups --site importer", 0);
    let user = terminal.world.run(["log", "--json", "--site", "importer"]).exits(0).json();
    let user = user["report"]["events"][0]["user"].as_str().unwrap().to_owned();
    terminal.types(&format!("airpouch quarantine unrelease {name} --reason mistaken --site importer"), 0);
    terminal.types(&format!("airpouch quarantine reject {name} --reason unwanted --remove-copy --site importer"), 0);
    terminal.types("airpouch quarantine list --site importer", 0);
    terminal.types("airpouch quarantine list --rejected --site importer", 0);
    terminal.types(&format!("airpouch quarantine show {name} --site importer"), 0);
    terminal.types(&format!("airpouch quarantine unreject {name} --reason asked --site importer"), 0);
    terminal.shown = terminal.shown.replace(&format!(" by {user}"), " by USER");
    terminal.is("quarantine");
}

#[test]
fn log_and_audit_are_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.world.import(&["--operator", "A. Courier", "--ticket", "CR-7"]).exits(3);
    let name = crate::support::files(&terminal.world.path("importer/quarantine"))[0].0[..8].to_owned();
    let release = ["quarantine", "release", &name, "--reason", "asked the owner", "--witness", "B. Officer"];
    terminal.world.run(release.into_iter().chain(["--site", "importer"])).exits(0);
    terminal.world.import_inbox(&[]).exits(0);
    terminal.types("airpouch log --site exporter", 0);
    terminal.types("airpouch log --site importer", 0);
    terminal.types("airpouch log --event released --csv --site importer", 0);
    terminal.types("airpouch log --since never --site importer", 2);
    terminal.types("airpouch audit --site importer", 0);
    fs::remove_file(terminal.world.path("importer/journal.head")).unwrap();
    terminal.types("airpouch audit --site importer", 4);
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    for (from, to) in
        [(format!("by {}", user.trim()), "by USER"), (format!("release,{},", user.trim()), "release,USER,")]
    {
        terminal.shown = terminal.shown.replace(&from, to);
    }
    terminal.is("log");
}

#[test]
fn review_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.sent();
    terminal.world.import(&["--operator", "A. Courier", "--ticket", "CR-7"]).exits(3);
    let journal = fs::read_to_string(terminal.world.path("importer/journal.jsonl")).unwrap();
    let month = journal.split_once("\"at\":\"").unwrap().1[..7].to_owned();
    terminal.types(&format!("airpouch review --month {month} --operator Officer --site importer"), 0);
    terminal.types(&format!("airpouch review --month {month} --html page.html --site exporter"), 0);
    terminal.types("airpouch review --month 1999-12 --site exporter", 0);
    terminal.types("airpouch review --month never --site exporter", 2);
    terminal.types("airpouch record 7 --site exporter", 2);
    terminal.types("airpouch record 1 --out page.html --site exporter", 2);
    terminal.types("airpouch record 1 --out record.html --site exporter", 0);
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    terminal.shown = terminal.shown.replace(&format!("by {}", user.trim()), "by USER").replace(&month, "MONTH");
    terminal.is("review");
}

#[test]
fn stream_is_as_reviewed() {
    let mut terminal = Terminal::new();
    for n in 1..=3 {
        terminal.world.send_new(&[&format!("{n}.json")]);
    }
    terminal.world.sh("rm medium/*-00000002.*").exits(0);
    terminal.world.import(&[]).exits(3);
    let stream = terminal.world.stream();
    terminal.types(&format!("airpouch stream accept {stream} 2 --reason lost --site importer"), 0);
    terminal.types(&format!("airpouch stream accept {stream} 2 --reason lost --site importer"), 2);
    terminal.types("airpouch stream renew --site exporter", 0);
    terminal.types("airpouch stream renew --site absent", 1);
    terminal.shown = terminal.shown.replace(&stream, "STREAM");
    terminal.is("stream");
}

#[test]
fn split_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.world.made("a.json");
    terminal.world.put("cut.json", &envelope("cut")[..300]);
    terminal.types("airpouch split src/a.json", 0);
    terminal.types("airpouch split src/cut.json", 1);
    terminal.types("airpouch split absent.json", 1);
    terminal.is("split");
}

#[test]
fn check_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.types("airpouch check --to spool:spool --site importer", 0);
    terminal.types("airpouch check --to amqp://127.0.0.1:1 --plaintext --site importer", 1);
    terminal.types("airpouch check --to spool --site importer", 2);
    terminal.is("check");
}

#[test]
fn drain_is_as_reviewed() {
    let mut terminal = Terminal::new();
    terminal.types("airpouch drain spool --to amqp://127.0.0.1:1 --plaintext", 1);
    terminal.types("airpouch drain spool --to dir:out", 2);
    terminal.is("drain");
}

#[test]
fn demo_is_as_reviewed() {
    let mut terminal = Terminal::new();
    let run = finish(terminal.world.command().arg("demo").env("TMPDIR", terminal.world.dir.path())).exits(0);
    let told = run.stdout.lines().filter(|line| line.starts_with(['#', '$']) || line.contains("exit status"));
    terminal.shown = told.map(|line| format!("{line}\n")).collect();
    let dir = terminal.world.dir.path().display().to_string();
    let made = terminal.shown.split("airpouch-demo-").nth(1).unwrap()[..8].to_owned();
    terminal.shown = terminal.shown.replace(&dir, "").replace(&made, "RANDOM");
    terminal.is("demo");
}

#[test]
fn help_of_each_verb_is_as_reviewed() {
    let verbs = [
        "",
        "keygen",
        "pack",
        "carry",
        "verify",
        "show",
        "import",
        "check",
        "drain",
        "split",
        "status",
        "log",
        "audit",
        "witness",
        "sign",
        "pair",
        "arrived",
        "record",
        "review",
        "applicants",
        "quarantine",
        "quarantine list",
        "quarantine show",
        "quarantine release",
        "quarantine unrelease",
        "quarantine reject",
        "quarantine unreject",
        "stream",
        "stream renew",
        "stream accept",
        "demo",
        "completions",
    ];
    for verb in verbs {
        let mut terminal = Terminal::new();
        terminal.types(&["airpouch", verb, "--help"].join(" ").replace("  ", " "), 0);
        terminal.is(&["help", verb].join(" ").trim().replace(' ', "-"));
    }
}
