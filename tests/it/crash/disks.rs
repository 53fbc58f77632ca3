//! Full disks, read-only sticks, sticks that leave, ledgers that come back from a backup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use airpouch::digest::Digest;

use super::errors::ends_well;
use super::journeys::*;
use super::kills::At;
use super::scene::*;
use super::strace::{calls_of, with_error_at};
use crate::support::{Run, World, envelope, files, finish};

/// Pages of the small disks.
const PAGE: usize = 4096;

/// Something mounted, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A disk of that many pages; none where nobody may mount.
    fn small_disk(at: &Path, pages: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={},mode=0700", pages * PAGE);
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], at).then(|| Self(at.to_owned()))
    }

    /// The directory itself, as a stick with its write protection on.
    fn read_only(at: &Path) -> Option<Self> {
        let itself = at.to_str().unwrap();
        mount(&["--bind", itself], at).then(|| {
            assert!(mount(&["-o", "remount,bind,ro"], at), "a bind mount becomes read-only");
            Self(at.to_owned())
        })
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=64m"], &self.0), "a tmpfs grows");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A child that another test has just forked may have our descriptors until it is its own program: the mount goes
        // from its place now, and for good once they are closed.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).output();
        let gone = unmounted.is_ok_and(|output| output.status.success());
        assert!(gone || std::thread::panicking(), "{} cannot be unmounted", self.0.display());
    }
}

fn mount(words: &[&str], at: &Path) -> bool {
    Command::new("mount").args(words).arg(at).output().is_ok_and(|o| o.status.success())
}

/// Says that a test did not run; `tests/run` counts these.
fn skip(why: &str) {
    println!("\nSKIP {why}");
}

/// Runs a verb with a disk at `at` that is too small, from one page on, until it succeeds twice; then gives it room.
fn with_ever_larger_disks<J: Journey>(verb: &str, journey: &J, at: &str, sizes: impl Iterator<Item = usize>) {
    let (mut count, mut failed) = (0, 0);
    let clean = finish(&mut journey.first()).exits_one_of(&[0, 3]);
    for pages in sizes {
        let _told = At(format!("{verb}, with {pages} pages at {at}"));
        journey.scene().set_back();
        let Some(disk) = Mounted::small_disk(&journey.scene().path(at), pages) else {
            return skip(&format!("{verb} on a full disk: nobody may mount here"));
        };
        let mut memory = J::Memory::default();
        let run = finish(&mut journey.first());
        journey.stopped(&mut memory);
        match ends_well(run, &clean) {
            Err(run) => {
                assert!(run.stderr.contains("no room"), "a full disk is called that: {run:#?}");
                failed += 1;
            }
            Ok(run) if journey.owns_up(&run) => failed += 1,
            Ok(_) => journey.done(&memory),
        }
        disk.grow();
        let again = finish(&mut journey.again(&mut memory));
        journey.healed(memory, again);
        count += 1;
    }
    journey.scene().set_back();
    println!("\nCOUNT full disks in {verb}: {count}, {failed} of them too small; lost 0, twice 0");
    assert!(failed >= 5 && count > failed, "{failed} of {count} disks were too small");
}

#[test]
fn full_outbox_loses_no_envelope_and_no_number_of_pack() {
    with_ever_larger_disks("pack", &Pack::new(Extent::Short, true), "exporter", (1..=170).step_by(2));
}

#[test]
fn small_medium_gets_whole_batches_and_the_next_one_the_rest() {
    with_ever_larger_disks("carry", &Carry::new(Extent::Short), "medium", 1..=32);
}

#[test]
fn a_full_importer_takes_nothing_that_it_cannot_keep() {
    with_ever_larger_disks("import", &Import::new(Extent::Short), "importer", (1..=460).step_by(5));
}

#[test]
fn full_destination_is_reported_and_each_envelope_arrives_once() {
    with_ever_larger_disks("import", &Import::many(60), "out", 1..=30);
}

#[test]
fn a_disk_that_fills_up_after_custody_was_taken_loses_nothing() {
    let journey = Import::new(Extent::Short);
    let scene = journey.scene();
    let clean = finish(&mut journey.first()).exits(3);
    let mut failed = 0;
    for free in 0..60 {
        let _told = At(format!("{free} pages are left"));
        scene.set_back();
        let Some(_disk) = Mounted::small_disk(&scene.path("importer"), 1024) else {
            return skip("a disk that fills up: nobody may mount here");
        };
        // Custody comes before the destination, which is not there yet.
        let words = ["import", "medium", "--to", "dir:away/out", "--trust", "trust", "--site", "importer"];
        scene.run(&words).exits(1);
        let mut memory = Eaten::default();
        let ballast = scene.path("importer/ballast");
        fill(&ballast, free);
        let run = finish(&mut journey.again(&mut memory));
        journey.stopped(&mut memory);
        if let Err(run) = ends_well(run, &clean) {
            assert!(run.stderr.contains("no room"), "{run:#?}");
            failed += 1;
        }
        fs::remove_file(&ballast).unwrap();
        let again = finish(&mut journey.again(&mut memory));
        journey.healed(memory, again);
    }
    scene.set_back();
    println!("\nCOUNT disks that fill up in import: 60, {failed} of them too full; lost 0, twice 0");
    assert!(failed >= 5);
}

/// Fills a disk but for some pages.
fn fill(ballast: &Path, free: usize) {
    use std::io::Write;
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[0; PAGE]).is_ok() {}
    let pages = file.metadata().unwrap().len() as usize / PAGE;
    file.set_len((pages.saturating_sub(free) * PAGE) as u64).unwrap();
}

#[test]
fn write_protected_medium_is_verified_and_imported() {
    let journey = Import::new(Extent::Short);
    let scene = journey.scene();
    let medium = scene.path("medium");
    let Some(stick) = Mounted::read_only(&medium) else {
        return skip("a write-protected stick: nobody may mount here");
    };
    assert!(fs::write(medium.join("x"), "x").is_err(), "it is write-protected");
    scene.world.verify(&[]).exits(0).prints("holds: batch 1").prints("holds: batch 2");
    let mut memory = Eaten::default();
    finish(&mut journey.first()).exits(3).prints("batch 2: 1 of 5 envelopes delivered");
    journey.stopped(&mut memory);
    drop(stick);
    let again = finish(&mut journey.again(&mut memory));
    journey.healed(memory, again);
}

#[test]
fn file_lost_on_a_medium_is_reported_and_the_next_medium_heals_it() {
    let journey = Import::new(Extent::Short);
    let scene = journey.scene();
    for name in names_ending(&scene.path("medium"), "") {
        let _told = At(format!("{name} is lost"));
        scene.set_back();
        let aside = scene.path("kept-aside");
        fs::rename(scene.path("medium").join(&name), &aside).unwrap();
        let verified = scene.world.verify(&[]);
        let mut memory = Eaten::default();
        let run = finish(&mut journey.first());
        // The newest manifest alone cannot be missed: nothing says that there is one. The signed totals of the next do. Nor
        // is the head of a journal, which belongs to no batch.
        let is_head = name.ends_with("-journal.head");
        let is_unknown = name.ends_with("-00000002.manifest");
        verified.exits(if is_head || name.ends_with(".manifest") { 0 } else { 3 });
        run.exits(if is_unknown { 0 } else { 3 });
        journey.stopped(&mut memory);
        fs::rename(&aside, scene.path("medium").join(&name)).unwrap();
        let again = finish(&mut journey.again(&mut memory));
        journey.healed(memory, again);
    }
}

/// Whether a line says what is missing, unreadable or to be looked at.
fn names_what_is_wrong(run: &Run) -> bool {
    let labels = ["missing: ", "unreadable: ", "not taken: ", "warning: "];
    run.stderr.lines().any(|line| labels.iter().any(|label| line.starts_with(label)))
}

#[test]
fn unreadable_file_is_never_skipped_without_a_report() {
    let journey = Import::new(Extent::Short);
    let scene = journey.scene();
    let mut count = 0;
    for name in names_ending(&scene.path("medium"), "") {
        for (call, error) in [("openat", "EIO"), ("openat", "ENODEV"), ("read", "EIO"), ("read", "ENOMEDIUM")] {
            let _told = At(format!("{error} from {call} of {name}"));
            scene.set_back();
            let file = PathBuf::from("medium").join(&name);
            let verify = scene.command(&["verify", "medium", "--trust", "trust", "--threads", "1"]);
            let verified = with_error_at(&verify, &[&file], call, error, "1+").exits(3);
            assert!(names_what_is_wrong(&verified), "{verified:#?}");
            let mut memory = Eaten::default();
            with_error_at(&journey.first(), &[&file], call, error, "1+").exits(3);
            journey.stopped(&mut memory);
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
            count += 1;
        }
    }
    println!("\nCOUNT unreadable files in import: {count}; lost 0, twice 0");
    assert!(count >= 32);
}

#[test]
fn medium_removed_during_import_loses_nothing() {
    let journey = Import::new(Extent::Short);
    let scene = journey.scene();
    let mut paths = vec![PathBuf::from("medium")];
    paths.extend(names_ending(&scene.path("medium"), "").iter().map(|name| PathBuf::from("medium").join(name)));
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let (clean, calls) = calls_of(&journey.first());
    let clean = clean.exits(3);
    let mut count = 0;
    for call in ["openat", "read", "getdents64", "statx"] {
        let last = calls.iter().filter(|c| c.name == call && c.arguments.contains("medium")).count();
        for nth in 1..=last {
            let _told = At(format!("the stick leaves at {call} number {nth}"));
            scene.set_back();
            let mut memory = Eaten::default();
            let run = with_error_at(&journey.first(), &paths, call, "EIO", &format!("{nth}+"));
            journey.stopped(&mut memory);
            if let Ok(run) = ends_well(run, &clean) {
                assert_eq!(run.status, Some(3), "{run:#?}");
                assert!(names_what_is_wrong(&run), "{run:#?}");
            }
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
            count += 1;
        }
    }
    println!("\nCOUNT sticks that leave during import: {count}; lost 0, twice 0");
    assert!(count >= 40);
}

/// What lies in a site's ledger, to be put back later.
fn backup(site: &Path) -> Vec<(String, Vec<u8>)> {
    files(site).into_iter().filter(|(name, _)| name.starts_with("ledger.db")).collect()
}

fn restore(site: &Path, ledger: &[(String, Vec<u8>)]) {
    for (name, _) in backup(site) {
        fs::remove_file(site.join(name)).unwrap();
    }
    for (name, bytes) in ledger {
        fs::write(site.join(name), bytes).unwrap();
    }
}

#[test]
fn an_exporter_with_an_older_ledger_gives_no_number_twice() {
    let world = World::new();
    let (site, outbox) = (world.path("exporter"), world.path("exporter/outbox"));
    let mut issued = Issued::default();
    let mut eaten = Eaten::default();
    let mut digests = Vec::new();
    let mut make = |name: &str| {
        world.made(name);
        digests.push(Digest::of(&envelope(name)).to_string());
    };
    make("a.json");
    world.send(&[]).exits(0);
    let older = backup(&site);
    make("b.json");
    world.send(&[]).exits(0);
    issued.look(&site, &[&outbox, &world.medium()]);
    world.import(&[]).exits(0);
    eaten.eat(&world.path("out"));

    restore(&site, &older);
    make("c.json");
    let before = files(&outbox);
    // Once by what the outbox shows, once by what the medium shows.
    let run = world.pack(&[]).exits(1).says("stream renew").says("-00000002.");
    assert!(run.stderr.lines().count() <= 3, "{run:#?}");
    assert!(before == files(&outbox), "a refused pack changed the outbox");
    for (name, _) in files(&outbox).iter().filter(|(name, _)| name.contains("-00000002.")) {
        fs::remove_file(outbox.join(name)).unwrap();
    }
    world.send(&[]).exits(1).says("stream renew");
    world.carry(&[]).exits(1).says("stream renew");
    issued.look(&site, &[&outbox, &world.medium()]);
    issued.each_number_has_one_digest();

    world.run(["stream", "renew", "--medium", "medium", "--site", "exporter"]).exits(0).prints("batch 2 of stream");
    world.send(&[]).exits(0).prints("SAFE TO REMOVE");
    issued.look(&site, &[&outbox, &world.medium()]);
    issued.each_number_has_one_digest();
    world.verify(&[]).exits(0);
    world.import(&[]).exits(0);
    eaten.eat(&world.path("out"));
    eaten.holds_each_once(digests.into_iter());
}

#[test]
fn batch_damaged_in_every_copy_is_packed_again_and_stops_no_other() {
    let world = World::new();
    let (site, outbox) = (world.path("exporter"), world.path("exporter/outbox"));
    world.made("a.json");
    world.send(&[]).exits(0);
    let (older, lying_there) = (backup(&site), files(&outbox));
    world.made("b.json");
    world.send(&[]).exits(0);
    // The whole site comes back from a backup, and the stick has lost a file.
    restore(&site, &older);
    for (name, _) in files(&outbox).iter().filter(|file| !lying_there.contains(file)) {
        fs::remove_file(outbox.join(name)).unwrap();
    }
    fs::remove_file(world.on_medium("-00000002.v0001.tar.zst")).unwrap();
    world.send(&[]).exits(1).says("stream renew");
    world.run(["stream", "renew", "--medium", "medium", "--site", "exporter"]).exits(0).prints("batch 2 of stream");
    // With one more envelope: alone, its volume would be the very bytes that were lost, and be found as such.
    world.made("c.json");
    world.send(&[]).exits(0).mentions("batch 2 will never come: its files were lost").prints("SAFE TO REMOVE");
    world.verify(&[]).exits(3).says("-00000002.v0001.tar.zst is missing");
    world.import(&[]).exits(3);
    let mut eaten = Eaten::default();
    eaten.eat(&world.path("out"));
    eaten.holds_each_once(["a.json", "b.json", "c.json"].iter().map(|name| Digest::of(&envelope(name)).to_string()));
}

#[test]
fn an_importer_with_an_older_ledger_loses_nothing() {
    let scene = Scene::new();
    let world = &scene.world;
    let mut fates = put_envelopes(world, 6, 0);
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    let mut eaten = Eaten::default();
    eaten.eat(&world.path("out"));
    let first = eaten.len();
    let older = backup(&world.path("importer"));
    fates.extend(put_envelopes(world, 12, 0));
    world.send(&[]).exits(0);
    world.import(&[]).exits(3);
    eaten.eat(&world.path("out"));
    let all = eaten.len();
    assert!(first > 0 && all > first);

    // It forgets batch 2: what that one brought is delivered again, what batch 1 brought is not.
    restore(&world.path("importer"), &older);
    world.import_inbox(&[]).exits(1).says("it is older").says("--accept-ledger");
    world.import_inbox(&["--accept-ledger"]).exits(3).prints("batch 2: ");
    assert_eq!(world.import(&[]).exits(0).said(), "");
    eaten.eat(&world.path("out"));
    assert_eq!(eaten.len() - all, all - first, "what the ledger does not know is delivered again, and only that");
    eaten.is_in_order();
    let of = |fate: &[Fate]| -> Vec<String> {
        fates.iter().filter(|(_, f)| fate.contains(f)).map(|(digest, _)| digest.clone()).collect()
    };
    aside_is(&world.path("importer/held"), &of(&[Fate::Held, Fate::HeldOfNothing]));
    aside_is(&world.path("importer/quarantine"), &of(&[Fate::Quarantined]));
    assert_eq!(world.import(&[]).exits(0).said(), "");
}

#[test]
fn importer_restored_from_a_backup_reports_the_forgotten_batches_as_missing_at_the_next_medium() {
    let world = World::new();
    world.made("a.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    let older = backup(&world.path("importer"));
    world.made("b.json");
    world.send(&[]).exits(0);
    world.import(&[]).exits(0);
    restore(&world.path("importer"), &older);
    // The inbox came from the same backup.
    for folder in fs::read_dir(world.path("importer/inbox")).unwrap().map(|e| e.unwrap().path()) {
        if folder.to_string_lossy().contains("-00000002.") {
            fs::remove_dir_all(folder).unwrap();
        }
    }
    world.made("c.json");
    fs::create_dir(world.path("other")).unwrap();
    let key = ["--key", "keys/site-a.key.pem", "--site", "exporter", "--no-overlap"];
    world.run(["pack", "src", "other"].iter().chain(&key)).exits(0);
    fs::rename(world.medium(), world.path("first-stick")).unwrap();
    fs::rename(world.path("other"), world.medium()).unwrap();
    world.import(&[]).exits(1).says("it is older").says("--accept-ledger");
    world.import(&["--accept-ledger"]).exits(3).says("batch 2 has not arrived (1 envelope");
    fs::rename(world.medium(), world.path("other")).unwrap();
    fs::rename(world.path("first-stick"), world.medium()).unwrap();
    world.import(&[]).exits(0).prints("late");
}
