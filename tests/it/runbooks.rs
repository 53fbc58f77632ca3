//! The runbooks, each walked through as it is written: its commands are run, and print what stands below them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use airpouch::digest::Digest;
use serde_json::json;

use crate::support::{APPLICANT, Unjudged, World, envelope, envelope_with, finish};

/// A command of a runbook, with what it is to print.
#[derive(Debug)]
struct Told {
    at_importer: bool,
    command: String,
    exit: i32,
    prints: Vec<String>,
}

fn commands(page: &str) -> Vec<Told> {
    let text = fs::read_to_string(format!("docs/runbooks/{page}")).unwrap();
    let (mut told, mut at_importer): (Vec<Told>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("At the ") {
            at_importer = line.starts_with("At the importer");
        }
        let Some(line) = line.strip_prefix("    ") else { continue };
        match line.strip_prefix("$ ") {
            Some(command) => {
                let (command, exit) = command.rsplit_once("     exit ").unwrap_or((command, "0"));
                let exit = exit.parse().unwrap();
                told.push(Told { at_importer, command: command.to_owned(), exit, prints: Vec::new() });
            }
            None => told.last_mut().unwrap().prints.push(line.to_owned()),
        }
    }
    assert!(told.len() > 2, "{page}");
    told
}

/// Whether a line is as a runbook has it: `…` stands for anything.
fn is_like(line: &str, told: &str) -> bool {
    let mut rest = line;
    let parts: Vec<&str> = told.split('…').map(str::trim).collect();
    for (at, part) in parts.iter().enumerate() {
        let Some(found) = rest.find(part) else { return false };
        if at == 0 && found > 0 {
            return false;
        }
        rest = &rest[found + part.len()..];
    }
    told.ends_with('…') || rest.is_empty()
}

/// Both sites at their usual places, below a directory that stands for the root.
struct Sites {
    world: World,
    sha256: String,
}

impl Sites {
    fn new() -> Self {
        let world = World::new();
        for dir in ["srv/out", "srv/in", "media/stick", "var/lib/airpouch", "there/var/lib/airpouch", "bin"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        fs::rename(world.path("trust"), world.path("there/var/lib/airpouch/trust")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_airpouch"), world.path("bin/airpouch")).unwrap();
        let root = world.dir.path().display().to_string();
        let exporter = format!("source = \"{root}/srv/out\"\nkey = \"{root}/keys/site-a.key.pem\"\n");
        fs::write(world.path("var/lib/airpouch/airpouch.toml"), exporter).unwrap();
        let importer = format!("to = \"dir:{root}/srv/in\"\nunmapped = \"default={APPLICANT}\"\n");
        fs::write(world.path("there/var/lib/airpouch/airpouch.toml"), importer).unwrap();
        Self { world, sha256: String::new() }
    }

    /// Runs a line of a shell at one of the sides. Its paths begin where that side's root is.
    fn run(&self, at_importer: bool, line: &str) -> Unjudged {
        let root = self.world.dir.path().display().to_string();
        let here = if at_importer { format!("{root}/there") } else { root.clone() };
        let line = line.replace("/var/lib/", &format!("{here}/var/lib/")).replace("/media/", &format!("{root}/media/"));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(&root).env("XDG_STATE_HOME", format!("{here}/var/lib"));
        command.env("PATH", format!("{root}/bin:{}", std::env::var("PATH").unwrap()));
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AIRPOUCH_")) {
            command.env_remove(name);
        }
        finish(&mut command)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.world.path("srv/out").join(name), bytes).unwrap();
    }

    fn send(&self, name: &str) {
        self.write(&format!("{name}.json"), &envelope(name));
        self.run(false, "airpouch pack").exits(0);
        self.run(false, "airpouch carry /media/stick --operator 'C. Courier'").exits(0);
    }

    fn arrives(&self) {
        self.run(true, "airpouch import /media/stick").exits_one_of(&[0, 3]);
    }

    fn lose_the_stick(&self) {
        fs::remove_dir_all(self.stick()).unwrap();
        fs::create_dir(self.stick()).unwrap();
    }

    fn stick(&self) -> PathBuf {
        self.world.path("media/stick")
    }

    fn stream(&self) -> String {
        let status = self.run(false, "airpouch status --json").exits(0).json();
        status["report"]["streams"][0]["stream"].as_str().unwrap().to_owned()
    }

    /// Walks through a runbook; `between` does what happens outside of airpouch before a command of it.
    fn walk(&self, page: &str, between: impl Fn(&Told)) {
        let stream = self.stream();
        for told in commands(page) {
            between(&told);
            let line = told.command.replace("STREAM", &stream).replace("SHA256", &self.sha256);
            let run = self.run(told.at_importer, &line).exits(told.exit);
            let said = run.said();
            for wanted in told.prints.iter().map(|line| line.replace("STREAM", &stream)) {
                assert!(
                    said.lines().any(|line| is_like(line, &wanted)),
                    "{page}: {line}\nprints no {wanted:?}:\n{said}"
                );
            }
        }
    }
}

#[test]
fn each_runbook_is_walked_through_and_listed() {
    let here = include_str!("runbooks.rs");
    let pages = fs::read_dir("docs/runbooks").unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    let list = fs::read_to_string("docs/runbooks/README.md").unwrap();
    let pages: BTreeSet<String> = pages.filter(|page| page != "README.md").collect();
    for page in &pages {
        assert!(here.contains(&format!("walk(\"{page}\"")), "{page} is not walked through");
        assert!(list.contains(&format!("({page})")), "{page} is not in the list");
    }
    assert!(pages.len() >= 4);
}

#[test]
fn line_is_like_one_of_a_runbook_only_if_all_of_it_is() {
    assert!(is_like("     5  carried: batch 2 to stick", "… carried: … to …"));
    assert!(is_like("SAFE TO REMOVE", "SAFE TO REMOVE") && !is_like("NOT SAFE TO REMOVE", "SAFE TO REMOVE"));
    assert!(!is_like("batch 2: 1 envelope held", "batch 2: 1 envelope delivered"));
    assert!(!is_like("batch 22: 1 envelope delivered", "batch 2: …"));
}

#[test]
fn stick_that_was_lost() {
    let sites = Sites::new();
    sites.send("a");
    sites.arrives();
    sites.send("b");
    for name in ["c", "d", "e", "f"] {
        sites.lose_the_stick();
        sites.send(name);
    }
    sites.walk("lost-stick.md", |told| {
        if told.command.contains("--resend") {
            sites.lose_the_stick();
        }
    });
}

#[test]
fn scanner_that_took_a_file() {
    let sites = Sites::new();
    sites.send("a");
    sites.arrives();
    sites.lose_the_stick();
    sites.send("b");
    let is_of_batch_2 = |path: &Path| path.to_string_lossy().contains("-00000002");
    let files = fs::read_dir(sites.stick()).unwrap().map(|file| file.unwrap().path());
    let volumes: Vec<_> = files.filter(|path| is_of_batch_2(path) && path.to_string_lossy().contains(".tar")).collect();
    assert_eq!(volumes.len(), 1);
    fs::remove_file(&volumes[0]).unwrap();
    sites.walk("scanner.md", |told| {
        if told.command.contains("--resend") {
            sites.lose_the_stick();
        }
    });
}

#[test]
fn feed_that_is_poisoned() {
    let mut sites = Sites::new();
    sites.send("a");
    sites.arrives();
    let object = json!({"type": "indicator", "id": "indicator--8e35c2cd-3bf6-441b-8b0e-2050b76932cb", "name": "x",
        "opencti_operation": "delete"});
    let bundle = json!({"type": "bundle", "id": "bundle--8e35c2cd-3bf6-441b-8b0e-2050b76932cb", "objects": [object]});
    let bytes = envelope_with("command", json!({"bundle": bundle}));
    sites.sha256 = Digest::of(&bytes).short();
    sites.write("command.json", &bytes);
    sites.run(false, "airpouch pack").exits(0);
    sites.run(false, "airpouch carry /media/stick").exits(0);
    sites.arrives();
    sites.walk("poisoned-feed.md", |told| {
        if told.command == "airpouch import /media/stick" {
            sites.send("b");
        }
    });
}

#[test]
fn key_that_was_lost() {
    let sites = Sites::new();
    sites.send("a");
    sites.arrives();
    sites.send("b");
    sites.lose_the_stick();
    fs::remove_file(sites.world.path("keys/site-a.key.pem")).unwrap();
    sites.write("c.json", &envelope("c"));
    sites.walk("lost-key.md", |_| {});
}

#[test]
fn exporter_that_was_reset_to_a_snapshot() {
    let sites = Sites::new();
    sites.send("a");
    let snapshot = fs::read(sites.world.path("var/lib/airpouch/ledger.db")).unwrap();
    sites.send("b");
    sites.arrives();
    for left in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(sites.world.path("var/lib/airpouch").join(left));
    }
    fs::write(sites.world.path("var/lib/airpouch/ledger.db"), snapshot).unwrap();
    sites.write("c.json", &envelope("c"));
    sites.walk("snapshot.md", |_| {});
}
