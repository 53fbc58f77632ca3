//! Officers who sign the release of a command: unlike a name, a signature proves who let it through.

use std::fs;
use std::path::PathBuf;

use airpouch::digest::Digest;
use airpouch::trust::PrivateKey;
use serde_json::{Value, json};

use crate::support::{Unjudged, World, envelope};

pub const TWO: &str = "[record]\nsecond = \"commands\"\nsignatures = 2\n";

/// A site in which a command is quarantined, and whose policy demands the signatures of two of three officers.
pub struct Desk {
    pub world: World,
    pub digest: String,
}

impl Desk {
    pub fn new() -> Self {
        let world = World::new();
        let mut value: Value = serde_json::from_slice(&envelope("c")).unwrap();
        value["bundle"]["objects"][0]["opencti_operation"] = json!("delete");
        let bytes = serde_json::to_vec(&value).unwrap();
        world.put("c.json", &bytes);
        world.send(&[]).exits(0);
        world.import(&[]).exits(3);
        let desk = Self { world, digest: Digest::of(&bytes).to_string() };
        ["ada", "bob", "eve"].into_iter().for_each(|name| desk.officer(name));
        desk.policy(TWO);
        desk
    }

    pub fn policy(&self, text: &str) {
        fs::write(self.world.path("importer/policy.toml"), text).unwrap();
    }

    fn seed(name: &str) -> [u8; 32] {
        *Digest::of(name.as_bytes()).as_bytes()
    }

    fn officer(&self, name: &str) {
        let dir = self.world.path("importer/officers");
        fs::create_dir_all(&dir).unwrap();
        let key = PrivateKey::from_seed(Self::seed(name)).public();
        fs::write(dir.join(format!("{name}.pub.pem")), key.to_pem()).unwrap();
    }

    fn key(&self, name: &str) -> PathBuf {
        let path = self.world.path(format!("{name}.key.pem"));
        fs::write(&path, PrivateKey::from_seed(Self::seed(name)).to_pem().as_bytes()).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    pub fn release(&self, more: &[&str]) -> Unjudged {
        self.world.run([&["quarantine", "release", &self.digest, "--site", "importer"], more].concat())
    }

    pub fn signs(&self, name: &str, reason: Option<&str>) -> Unjudged {
        let key = self.key(name);
        let reason: Vec<&str> = reason.map_or(Vec::new(), |reason| vec!["--reason", reason]);
        self.release(&[&["--key", key.to_str().unwrap()], &reason[..]].concat())
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.world.path("importer/journal.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).collect()
    }

    pub fn in_ledger(&self, sql: &str) {
        rusqlite::Connection::open(self.world.path("importer/ledger.db")).unwrap().execute_batch(sql).unwrap();
    }

    pub fn decide(&self, verb: &str) {
        self.world.run(["quarantine", verb, &self.digest, "--reason", "x", "--site", "importer"]).exits(0);
    }
}

#[test]
fn command_goes_once_two_officers_have_signed_its_release() {
    let desk = Desk::new();
    let names = ["--reason", "seen", "--operator", "Ada", "--second", "Bob"];
    desk.release(&names).exits(2).says("demands the signatures of 2 officers").says("0 have signed");
    desk.signs("ada", None).exits(2).says("who signs first gives it");
    let first = desk.signs("ada", Some("CERT asked for it")).exits(3);
    assert!(!first.said().contains("ada.key.pem"), "the other one has another key: {first:?}");
    first.prints("by ada.pub.pem; 2 must sign").mentions("not released yet").mentions("opencti_operation");
    desk.world.import_inbox(&[]).exits(0).says_nothing_of("delivered 1");
    desk.signs("ada", None).exits(2).says("has signed the release").says("another officer");
    desk.signs("bob", Some("another reason")).exits(2).says("CERT asked for it");
    desk.signs("bob", None).exits(0).prints("because: CERT asked for it").prints("released ");
    assert_eq!(desk.events("release-signed").len(), 2);
    assert_eq!(desk.events("released")[0]["signers"], json!(["ada.pub.pem", "bob.pub.pem"]));
    desk.world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
    desk.world.run(["audit", "--site", "importer"]).exits(0);
    let log = desk.world.run(["log", "--event", "released", "--site", "importer"]).exits(0);
    log.prints("signed by ada.pub.pem, bob.pub.pem; reason: CERT asked for it");
    let page = desk.world.run(["record", "--site", "importer"]).exits(0).stdout;
    assert!(page.contains("signed by ") && page.contains("ada.pub.pem, bob.pub.pem"), "{page}");
}

#[test]
fn signatures_are_those_that_openssl_verifies() {
    let desk = Desk::new();
    desk.signs("ada", Some("seen")).exits(3);
    let signed = desk.events("release-signed").remove(0);
    let text = |key: &str| signed[key].as_str().unwrap().to_owned();
    let dir = desk.world.dir.path();
    fs::write(dir.join("text"), text("statement")).unwrap();
    fs::write(dir.join("pub.pem"), text("key")).unwrap();
    let hex = text("signature");
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    fs::write(dir.join("signature"), bytes).unwrap();
    let verify =
        ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "pub.pem", "-in", "text", "-sigfile", "signature"];
    let said = std::process::Command::new("openssl").args(verify).current_dir(dir).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert!(text("statement").contains(&format!("envelope {}\nagainst command\nreason seen\n", desk.digest)));
}

#[test]
fn key_that_is_no_officers_signs_nothing() {
    let desk = Desk::new();
    desk.signs("mallory", Some("mine")).exits(2).says("is no officer's");
    fs::write(
        desk.world.path("importer/officers/trust.toml"),
        "need = 1\n[[key]]\nfile = \"ada.pub.pem\"\nwho = \"Ada\"\n[[key]]\nfile = \"bob.pub.pem\"\nwho = \"Bob\"\nuntil = 0\n",
    )
    .unwrap();
    desk.signs("ada", Some("seen")).exits(3).prints("by Ada; 2 must sign");
    desk.signs("bob", None).exits(2).says("has an end");
    desk.signs("eve", None).exits(2).says("is no officer's");
    assert!(desk.events("released").is_empty());
}

#[test]
fn two_files_of_one_key_are_one_officer() {
    let desk = Desk::new();
    let dir = desk.world.path("importer/officers");
    fs::copy(dir.join("ada.pub.pem"), dir.join("zoe.pub.pem")).unwrap();
    desk.signs("ada", Some("seen")).exits_one_of(&[2, 3]);
    desk.signs("ada", None).exits(2);
    assert!(desk.events("released").is_empty());
}

#[test]
fn release_that_was_taken_back_needs_new_signatures() {
    let desk = Desk::new();
    desk.signs("ada", Some("seen")).exits(3);
    desk.signs("bob", None).exits(0);
    desk.decide("unrelease");
    desk.signs("ada", None).exits(2).says("who signs first gives it");
    // The old signatures, put back into the ledger, are over another number.
    let old: Vec<Value> = desk.events("release-signed");
    desk.signs("ada", Some("seen")).exits(3);
    let key = old[1]["key"].as_str().unwrap();
    let signature = old[1]["signature"].as_str().unwrap();
    desk.in_ledger(&format!(
        "INSERT INTO release_signature SELECT sha256, '{key}', x'{signature}', at FROM release_signature;
         UPDATE set_aside SET kind = 'released', reason = 'seen'"
    ));
    desk.world.import_inbox(&[]).exits(3).mentions("1 of 2 officers signed").says_nothing_of("delivered 1");
}

#[test]
fn release_that_was_written_into_the_ledger_is_not_delivered() {
    let desk = Desk::new();
    desk.in_ledger("UPDATE set_aside SET kind = 'released', reason = 'mine'");
    desk.world.import_inbox(&[]).exits(3).mentions("0 of 2 officers signed").mentions("quarantine release");
    // Officers may sign it as it stands.
    desk.signs("ada", Some("seen")).exits(3);
    desk.signs("eve", None).exits(0);
    desk.world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn officer_whose_key_was_taken_out_before_delivery_does_not_count() {
    let desk = Desk::new();
    desk.signs("ada", Some("seen")).exits(3);
    desk.signs("bob", None).exits(0);
    fs::remove_file(desk.world.path("importer/officers/bob.pub.pem")).unwrap();
    desk.world.import_inbox(&[]).exits(3).mentions("1 of 2 officers signed");
    desk.signs("eve", None).exits(0);
    desk.world.import_inbox(&[]).exits(0).prints("delivered 1 envelope");
}

#[test]
fn signature_that_was_changed_in_the_journal_is_seen_by_audit() {
    let desk = Desk::new();
    desk.signs("ada", Some("seen")).exits(3);
    let path = desk.world.path("importer/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let signature = desk.events("release-signed")[0]["signature"].as_str().unwrap().to_owned();
    fs::write(&path, text.replace(&signature, &"0".repeat(128))).unwrap();
    desk.world
        .run(["audit", "--site", "importer"])
        .exits(4)
        .says("the signature of an officer over a release does not hold");
}

#[test]
fn signatures_that_nobody_can_give_are_refused_where_they_are_demanded() {
    let desk = Desk::new();
    desk.policy("[record]\nsignatures = 2\n");
    desk.release(&["--reason", "x"]).exits(2).says("second = \"commands\"");
    desk.policy(TWO);
    fs::remove_dir_all(desk.world.path("importer/officers")).unwrap();
    desk.release(&["--reason", "x"]).exits_one_of(&[1, 2]).says("officers");
    desk.policy("");
    desk.signs("ada", Some("x")).exits(2).says("the policy demands no signatures");
}
