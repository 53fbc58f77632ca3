//! `kill -9` before each system call that changes something, and the next run after it.

use super::journeys::*;
use super::strace::{Blow, Ended, Fault, calls_of, points_of, with_fault};
use crate::support::finish;

/// Points to stop at, at the least; so an empty sweep fails.
const LEAST: [(&str, usize); 10] = [
    ("keygen", 12),
    ("first pack", 150),
    ("pack", 50),
    ("carry", 60),
    ("import", 240),
    ("spool", 240),
    ("prune", 30),
    ("quarantine release", 40),
    ("quarantine reject", 50),
    ("release", 40),
];

/// What the four verbs have together, as TESTING.md asks.
const LEAST_IN_ALL: usize = 500;

const _: () = {
    let (mut sum, mut at) = (0, 0);
    while at < LEAST.len() - 1 {
        sum += LEAST[at].1;
        at += 1;
    }
    assert!(sum >= LEAST_IN_ALL);
};

/// Names the fault when an assertion fails somewhere under it.
pub struct At(pub String);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nthat was: {}", self.0);
        }
    }
}

/// Stops a verb before each of its calls, lets the next run heal it, and counts the points.
fn stop_everywhere<J: Journey>(verb: &'static str, journey: &J, must_have: &[&str]) {
    let started = std::time::Instant::now();
    let (run, calls) = calls_of(&journey.first());
    let points = points_of(&calls);
    for name in must_have {
        assert!(points.contains_key(name), "{verb} makes no {name}; is that a point that went away? {run:#?}");
    }
    let (mut count, mut looking, mut list) = (0, 0, Vec::new());
    for (call, first) in points {
        let before = count;
        for nth in first.. {
            let fault = Fault { call, nth, blow: Blow::Kill };
            let at = At(format!("{verb}, {fault}"));
            journey.scene().set_back();
            let mut memory = J::Memory::default();
            let ended = with_fault(&journey.first(), fault);
            journey.stopped(&mut memory);
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
            drop(at);
            if let Ended::ByItself(run) = ended {
                // It makes fewer than that many calls: this sweep is through.
                run.exits_one_of(&[0, 3]);
                break;
            }
            let looks = calls.iter().any(|c| c.name == call && c.is_main && c.nth == nth && c.only_looks());
            if looks { looking += 1 } else { count += 1 }
        }
        list.push(format!("{call} {}", count - before));
    }
    let seconds = started.elapsed().as_secs_f32();
    list.push(format!("and {looking} at opens that only look"));
    println!("\nCOUNT kill points in {verb}: {count} in {seconds:.1} s ({}); lost 0, twice 0", list.join(", "));
    let least = LEAST.iter().find(|(name, _)| *name == verb).unwrap().1;
    assert!(count >= least, "only {count} points in {verb}");
    if Extent::asked_for() == Extent::Long {
        stop_twice(verb, journey, &calls);
    }
}

/// A second kill in the run that was to heal the first, spread over all pairs.
fn stop_twice<J: Journey>(verb: &str, journey: &J, calls: &[super::strace::Call]) {
    const PAIRS: usize = 5_000;
    let started = std::time::Instant::now();
    let firsts: Vec<Fault> = every_fault(calls);
    let mut seed = 1_u64;
    let mut pairs = 0;
    let mut tries = 0;
    while pairs < PAIRS && tries < PAIRS * 2 {
        tries += 1;
        let mut pick = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            firsts[(seed >> 33) as usize % firsts.len()]
        };
        let (one, two) = (pick(), pick());
        let _at = At(format!("{verb}, {one}, then {two}"));
        journey.scene().set_back();
        let mut memory = J::Memory::default();
        let Ended::Killed = with_fault(&journey.first(), one) else { continue };
        journey.stopped(&mut memory);
        let ended = with_fault(&journey.again(&mut memory), two);
        journey.stopped(&mut memory);
        let run = finish(&mut journey.again(&mut memory));
        journey.healed(memory, run);
        pairs += usize::from(matches!(ended, Ended::Killed));
    }
    let seconds = started.elapsed().as_secs_f32();
    println!("\nCOUNT pairs of kills in {verb}: {pairs} in {seconds:.1} s; lost 0, twice 0");
}

fn every_fault(calls: &[super::strace::Call]) -> Vec<Fault> {
    let points = points_of(calls);
    let mut faults = Vec::new();
    for call in calls.iter().filter(|c| c.is_main) {
        if let Some((name, first)) = points.get_key_value(call.name.as_str())
            && call.nth >= *first
        {
            faults.push(Fault { call: name, nth: call.nth, blow: Blow::Kill });
        }
    }
    faults
}

#[test]
fn a_key_is_never_half_and_never_open_when_keygen_is_killed() {
    stop_everywhere("keygen", &Keygen::new(), &["openat", "write", "fsync", "renameat2"]);
}

#[test]
fn every_envelope_is_packed_once_under_one_number_when_pack_is_killed() {
    let must = ["openat", "write", "pwrite64", "fsync", "renameat2", "unlink", "ftruncate"];
    stop_everywhere("pack", &Pack::new(Extent::asked_for(), false), &must);
}

#[test]
fn a_site_is_made_and_every_envelope_packed_when_the_first_pack_is_killed() {
    let must = ["openat", "write", "pwrite64", "fsync", "renameat2", "mkdir", "unlink", "ftruncate"];
    stop_everywhere("first pack", &Pack::new(Extent::asked_for(), true), &must);
}

#[test]
fn medium_heals_after_carry_is_killed() {
    let must = ["openat", "write", "pwrite64", "fsync", "syncfs", "renameat2"];
    stop_everywhere("carry", &Carry::new(Extent::asked_for()), &must);
}

#[test]
fn every_envelope_is_delivered_once_when_import_is_killed() {
    let must =
        ["openat", "write", "pwrite64", "fsync", "syncfs", "renameat2", "mkdir", "unlink", "ftruncate", "utimensat"];
    stop_everywhere("import", &Import::new(Extent::asked_for()), &must);
}

#[test]
fn every_message_is_spooled_once_and_in_order_when_import_is_killed() {
    let must = ["openat", "write", "pwrite64", "fsync", "syncfs", "renameat2", "mkdir", "unlink", "ftruncate"];
    stop_everywhere("spool", &Spool::new(Extent::asked_for()), &must);
}

#[test]
fn a_spool_that_is_not_mounted_after_a_kill_is_not_taken_for_delivered() {
    let journey = Spool::new(Extent::Short);
    let (spool, away) = (journey.scene().path("spool"), journey.scene().path("away"));
    for nth in 1..60 {
        journey.scene().set_back();
        let Ended::Killed = with_fault(&journey.first(), Fault { call: "renameat2", nth, blow: Blow::Kill }) else {
            break;
        };
        if super::scene::ledger_rows::<String>(&journey.scene().path("importer"), "SELECT name FROM placing").is_empty()
        {
            continue;
        }
        let mut memory = <Spool as Journey>::Memory::default();
        std::fs::rename(&spool, &away).unwrap();
        std::fs::create_dir(&spool).unwrap();
        finish(&mut journey.again(&mut memory)).exits(1).says("is its share mounted");
        std::fs::remove_dir(&spool).unwrap();
        std::fs::rename(&away, &spool).unwrap();
        let again = finish(&mut journey.again(&mut memory));
        journey.healed(memory, again);
        return;
    }
    panic!("no kill came between the ledger's note and the first name");
}

/// Nobody knows how far the run came that was cut off: what it was about to name comes again, and nothing is missing.
#[test]
fn delivery_left_unfinished_by_a_kill_is_repeated_at_another_address() {
    let journey = Import::new(Extent::Short);
    let out = journey.scene().path("out");
    for nth in 1..60 {
        journey.scene().set_back();
        let Ended::Killed = with_fault(&journey.first(), Fault { call: "renameat2", nth, blow: Blow::Kill }) else {
            break;
        };
        if super::scene::ledger_rows::<String>(&journey.scene().path("importer"), "SELECT name FROM placing").is_empty()
        {
            continue;
        }
        std::fs::remove_dir_all(&out).unwrap();
        let mut memory = <Import as Journey>::Memory::default();
        finish(&mut journey.again(&mut memory)).exits(1).says("is its share mounted");
        finish(journey.again(&mut memory).arg("--same-destination")).exits(3).says("may come a second time");
        memory.eat(&out);
        journey.done(&memory);
        return;
    }
    panic!("no kill came between the ledger's note and the first name");
}

#[test]
fn held_envelope_is_delivered_once_when_the_import_that_frees_it_is_killed() {
    let must = ["openat", "write", "pwrite64", "fsync", "unlink", "utimensat"];
    stop_everywhere("release", &Release::new(Extent::asked_for()), &must);
}

#[test]
fn index_is_kept_and_found_when_the_import_that_prunes_its_batch_is_killed() {
    stop_everywhere("prune", &Prune::new(Extent::asked_for()), &["openat", "write", "pwrite64", "fsync", "unlink"]);
}

#[test]
fn envelopes_are_released_together_or_not_at_all_when_the_release_is_killed() {
    stop_everywhere("quarantine release", &Decide::release(), &["openat", "write", "pwrite64", "fsync"]);
}

#[test]
fn envelopes_are_rejected_together_or_not_at_all_when_the_rejection_is_killed() {
    stop_everywhere("quarantine reject", &Decide::reject(), &["openat", "write", "pwrite64", "fsync", "unlink"]);
}

/// Several threads write what is delivered. A number then means the first thread that comes so far, and the order is
/// another one in each run; what has to hold is the same.
#[test]
fn every_envelope_is_delivered_once_when_one_of_several_threads_is_stopped() {
    const CALLS: [(&str, usize); 6] =
        [("openat", 3), ("write", 1), ("utimensat", 1), ("renameat2", 4), ("fsync", 3), ("syncfs", 1)];
    let started = std::time::Instant::now();
    let journey = Import::many(60).with_threads("4");
    let mut count = 0;
    for (call, step) in CALLS {
        for nth in (1..).step_by(step) {
            let fault = Fault { call, nth, blow: Blow::Kill };
            let _told = At(format!("import with four threads, {fault}"));
            journey.scene().set_back();
            let mut memory = <Import as Journey>::Memory::default();
            let ended = with_fault(&journey.first(), fault);
            journey.stopped(&mut memory);
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
            if matches!(ended, Ended::ByItself(_)) {
                break;
            }
            count += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f32();
    println!("\nCOUNT kill points in import with four threads: {count} in {seconds:.1} s; lost 0, twice 0");
    assert!(count >= 80, "only {count} points");
}
