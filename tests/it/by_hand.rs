//! Every byte that another tool reads is checked with that tool, in both directions.
//!
//! `tests/run` installs the tools; a test that lacks one fails.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::builder::{Batch, Builder, ZONE};
use crate::support::{SEED, World, envelope, files, finish, has};
use airpouch::trust::PrivateKey;

/// A line for the shell, in a directory; what it printed.
#[track_caller]
fn shell(dir: &Path, line: &str) -> String {
    let run = finish(Command::new("sh").args(["-c", &format!("set -e; {line}")]).current_dir(dir));
    run.exits(0).stdout
}

fn sent() -> World {
    for tool in ["openssl", "sha256sum", "zstd", "tar", "jq", "sqlite3"] {
        assert!(has(tool), "{tool} is missing: tests/run installs it");
    }
    let world = World::new();
    for name in ["a.json", "b.json", "événements.json"] {
        world.made(name);
    }
    world.send(&[]).exits(0);
    world
}

#[test]
fn openssl_verifies_our_signatures_and_rejects_changed_ones() {
    let world = sent();
    let line = "openssl pkeyutl -verify -rawin -pubin -inkey ../trust/site-a.pub.pem -in *.manifest -sigfile *.sig";
    assert!(shell(&world.medium(), line).contains("Signature Verified Successfully"));
    let manifest = world.on_medium(".manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[40] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    finish(Command::new("sh").args(["-c", line]).current_dir(world.medium())).exits(1);
}

#[test]
fn key_id_in_a_signatures_name_is_that_of_openssl_and_sha256sum() {
    let world = sent();
    let id =
        shell(&world.path("trust"), "openssl pkey -pubin -in site-a.pub.pem -outform DER | sha256sum | cut -c1-16");
    world.on_medium(&format!(".{}.sig", id.trim()));
}

#[test]
fn sha256sum_and_jq_agree_with_the_manifest() {
    let world = sent();
    let line = "jq -r '.volumes[], .index | .sha256 + \"  \" + .name' *.manifest | sha256sum -c --quiet";
    shell(&world.medium(), line);
    // jq reads the one line and would write the very same bytes, but for its line end.
    shell(&world.medium(), "jq -cj . *.manifest | cmp - *.manifest");
    let sum = shell(&world.medium(), "for f in *.zst; do stat -c %s $f; done | jq -s add");
    assert_eq!(sum.trim(), shell(&world.medium(), "jq .totals.packed *.manifest").trim());
}

#[test]
fn zstd_and_tar_restore_the_sources_that_the_index_lists() {
    let world = sent();
    shell(&world.medium(), "zstd -tq *.zst; mkdir ../opened; zstd -dcq *.v0001.tar.zst | tar -xf - -C ../opened");
    let opened: Vec<_> = files(&world.path("opened")).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(opened, ["a.json", "b.json", "événements.json"].map(envelope));
    let sums = "zstd -dcq *.index.zst | tail -n +2 | jq -rs 'to_entries[] | .value.sha256 + \"  \" + (\"0000000\\(.key + 1)\"[-8:]) + \".json\"'";
    shell(&world.medium(), &format!("{sums} > ../sums; cd ../opened && sha256sum -c --quiet ../sums"));
    let listed = shell(&world.medium(), "zstd -dcq *.v0001.tar.zst | tar -tvf -");
    assert!(listed.lines().all(|l| l.starts_with("-rw-r--r-- 0/0 ")), "{listed}");
    assert_eq!(shell(&world.medium(), "zstd -lv *.v0001.tar.zst 2>&1 | grep -c 'Check: XXH64'").trim(), "1");
}

/// Takes a batch apart and puts it together with other tools: compressed by zstd, digested by sha256sum, written by
/// jq, signed by openssl.
fn remade_by_other_tools(world: &World) {
    let batch: Batch = Builder::three().build();
    batch.place(&world.medium());
    let key = PrivateKey::from_seed(SEED);
    fs::write(world.path("signer.pem"), key.to_pem().as_bytes()).unwrap();
    let line = r#"
        m=$(ls *.manifest); b=${m%.manifest}; rm $b.*.sig
        for f in $b.v0001.tar.zst $b.index.zst; do
            zstd -dcq $f > ../plain; rm $f
            zstd -19 -q --long=27 --check -T1 -o $f ../plain
        done
        size() { stat -c %s "$1"; }
        sum() { sha256sum < "$1" | cut -d' ' -f1; }
        v=$b.v0001.tar.zst; x=$b.index.zst
        jq -cj --arg vs $(sum $v) --argjson vb $(size $v) --arg xs $(sum $x) --argjson xb $(size $x) \
            '.volumes[0].sha256=$vs | .volumes[0].bytes=$vb | .index.sha256=$xs | .index.bytes=$xb | .totals.packed=($vb+$xb)' $m > ../new
        mv ../new $m
        id=$(openssl pkey -in ../signer.pem -pubout -outform DER | sha256sum | cut -c1-16)
        openssl pkeyutl -sign -rawin -inkey ../signer.pem -in $m -out $b.$id.sig
    "#;
    shell(&world.medium(), line);
}

#[test]
fn batch_made_by_other_tools_is_imported() {
    let world = World::new();
    remade_by_other_tools(&world);
    world.verify(&["--zone", ZONE]).exits(0).prints("holds: batch 1");
    world.import(&["--zone", ZONE]).exits(0).prints("delivered 3 envelopes");
}

#[test]
fn ledgers_open_in_sqlite3() {
    let world = sent();
    world.import(&[]).exits(0);
    for site in ["exporter", "importer"] {
        let dir = world.path(site);
        assert_eq!(shell(&dir, "sqlite3 ledger.db 'PRAGMA integrity_check'").trim(), "ok");
        assert_eq!(shell(&dir, "sqlite3 ledger.db 'PRAGMA journal_mode'").trim(), "wal");
    }
    let sent = shell(
        &world.path("exporter"),
        "sqlite3 ledger.db 'SELECT sequence, state, lower(hex(sha256)) FROM packed_batch'",
    );
    let digest = shell(&world.medium(), "sha256sum < $(ls *.manifest) | cut -d' ' -f1");
    assert_eq!(sent.trim(), format!("1|packed|{}", digest.trim()));
    let query = "sqlite3 ledger.db 'SELECT lower(hex(d.sha256)) FROM delivered d JOIN batch b ON b.id = d.batch ORDER BY b.sequence, d.ordinal'";
    let delivered = shell(&world.path("importer"), query);
    let sources = shell(&world.path("out"), "sha256sum *.json | cut -d' ' -f1");
    assert_eq!(delivered, sources);
}

#[test]
fn jq_reads_held_and_quarantined_envelopes_with_reasons() {
    let world = World::new();
    let bad = String::from_utf8(envelope("bad")).unwrap().replacen(
        "\"type\":\"indicator\"",
        "\"opencti_operation\":\"merge\",\"type\":\"indicator\"",
        1,
    );
    world.put("bad.json", bad.as_bytes());
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let dir = world.path("importer/quarantine");
    let keys = shell(&dir, "jq -r 'keys_unsorted | join(\" \")' *.reason.json");
    assert_eq!(keys.trim(), "code what where do batch connector name sha256");
    assert_eq!(shell(&dir, "jq -r .code *.reason.json").trim(), "command");
    assert_eq!(shell(&dir, "jq -r .where *.reason.json").trim(), "/bundle/objects/0/opencti_operation");
    shell(&dir, "test \"$(jq -r .sha256 *.reason.json).json\" = \"$(ls | grep -v reason)\"");
    shell(&dir, "test \"$(wc -l < $(ls *.reason.json))\" = 1");
}

/// The page is what another implementation is made from: its example has to be a batch.
#[test]
fn the_worked_example_of_the_format_page_is_a_batch() {
    let world = World::new();
    let page = fs::read_to_string("docs/format.md").unwrap();
    let is_manifest = |l: &&str| l.starts_with("    {\"airpouch\":\"batch/1\"") && l.ends_with('}');
    let manifest = page.lines().find(is_manifest).unwrap().trim();
    let base = "airpouch-407e5051624842b9-00000001";
    let place = |end: &str, bytes: &[u8]| fs::write(world.medium().join(format!("{base}.{end}")), bytes).unwrap();
    place("manifest", manifest.as_bytes());
    let after = |words: &str| -> String {
        let rest = &page[page.find(words).unwrap()..];
        rest.lines().skip(2).take_while(|l| l.starts_with("    ")).map(str::trim).collect()
    };
    let decode = |text: &str| {
        fs::write(world.path("text"), text).unwrap();
        shell(world.dir.path(), "base64 -d < text > bytes");
        fs::read(world.path("bytes")).unwrap()
    };
    let hex = after("The signature:");
    let signature: Vec<u8> = (0..64).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
    place("a60388a3947577df.sig", &signature);
    place("index.zst", &decode(&after("The index file, in base64")));
    place("v0001.tar.zst", &decode(&after("The volume in base64")));
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/keys");
    world.run(["verify", "medium", "--trust", keys, "--test-keys"]).exits(0).prints("2 envelopes, 1.4 KiB");
}
