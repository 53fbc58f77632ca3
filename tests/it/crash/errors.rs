//! The system says no to one call: the run ends as it should, says so in three lines at most, and the next one heals it.

use super::journeys::*;
use super::kills::At;
use super::strace::{Blow, Call, Ended, Fault, calls_of, points_of, with_fault};
use crate::support::{Run, Unjudged, finish};

/// What a disk may say.
const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EROFS", "EDQUOT", "EINTR"];

/// The calls to which it may say so. Of `openat` only those that make something or open it for writing.
const CALLS: [&str; 14] = [
    "fsync",
    "ftruncate",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "syncfs",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
];

/// Points of each verb, at the least.
const LEAST: [(&str, usize); 5] = [("keygen", 50), ("pack", 200), ("carry", 200), ("import", 400), ("spool", 400)];

/// Which numbers of a call are tried. SQLite's own writes are many and alike: in the short form each is tried with one
/// error, and all errors come round.
fn is_tried(call: &Call, error: usize) -> bool {
    let all = Extent::asked_for() == Extent::Long || call.name != "pwrite64";
    all || call.nth % ERRORS.len() == error
}

fn refuse_everywhere<J: Journey>(verb: &'static str, journey: &J) {
    let started = std::time::Instant::now();
    let (clean, calls) = calls_of(&journey.first());
    let clean = clean.exits_one_of(&[0, 3]);
    let points = points_of(&calls);
    let (mut count, mut went_on) = (0, 0);
    for call in calls.iter().filter(|c| c.is_main && CALLS.contains(&c.name.as_str()) && !c.only_looks()) {
        let Some((name, first)) = points.get_key_value(call.name.as_str()) else { continue };
        if call.nth < *first {
            continue;
        }
        for error in ERRORS.iter().enumerate().filter(|(at, _)| is_tried(call, *at)).map(|(_, error)| error) {
            let fault = Fault { call: name, nth: call.nth, blow: Blow::Error(error) };
            let _told = At(format!("{verb}, {fault}: {}({}", call.name, call.arguments));
            journey.scene().set_back();
            let mut memory = J::Memory::default();
            let Ended::ByItself(run) = with_fault(&journey.first(), fault) else { panic!("nobody killed it") };
            journey.stopped(&mut memory);
            match ends_well(run, &clean) {
                Ok(run) => {
                    went_on += 1;
                    if !journey.owns_up(&run) {
                        journey.done(&memory);
                    }
                }
                Err(run) => {
                    let must_go_on = *error == "EINTR" && !is_sqlites(call);
                    assert!(!must_go_on, "an interrupted call is to be made again: {run:#?}");
                }
            }
            let run = finish(&mut journey.again(&mut memory));
            journey.healed(memory, run);
            count += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f32();
    println!(
        "\nCOUNT refused calls in {verb}: {count} in {seconds:.1} s, {went_on} of them passed over; lost 0, twice 0"
    );
    let least = LEAST.iter().find(|(name, _)| *name == verb).unwrap().1;
    assert!(count >= least, "only {count} points in {verb}");
}

/// A run that went on to its end, or else one that did not: with status 1 and one error of three lines at most.
#[track_caller]
pub fn ends_well(run: Unjudged, clean: &Run) -> Result<Run, Run> {
    let run = run.exits_one_of(&[0, 1, 3]);
    if run.status == clean.status || run.status != Some(1) {
        return Ok(run);
    }
    let lines: Vec<&str> = run.stderr.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    // What was refused may have been the result, and then the run's own error comes first.
    let errors: Vec<&[&str]> = lines.chunk_by(|_, line| !line.starts_with("error: ")).collect();
    assert!((1..=2).contains(&errors.len()), "{run:#?}");
    for error in errors {
        assert!((1..=3).contains(&error.len()), "an error is one to three lines: {run:#?}");
        assert!(error[1..].iter().all(|line| line.starts_with("  ")), "{run:#?}");
    }
    Err(run)
}

/// SQLite makes its own calls, and does not sync or remove again after a signal. It says so, and nothing is lost.
fn is_sqlites(call: &Call) -> bool {
    matches!(call.name.as_str(), "fsync" | "unlink") && call.arguments.contains("ledger.db")
}

#[test]
fn disk_error_leaves_no_partial_key() {
    refuse_everywhere("keygen", &Keygen::new());
}

#[test]
fn disk_error_loses_no_envelope_and_no_number_of_pack() {
    refuse_everywhere("pack", &Pack::new(Extent::asked_for(), true));
}

#[test]
fn error_of_the_medium_is_reported_and_the_next_carry_heals_it() {
    refuse_everywhere("carry", &Carry::new(Extent::asked_for()));
}

#[test]
fn disk_error_loses_no_envelope_of_import() {
    refuse_everywhere("import", &Import::new(Extent::asked_for()));
}

#[test]
fn disk_error_in_an_import_to_a_spool_loses_and_repeats_no_message() {
    refuse_everywhere("spool", &Spool::new(Extent::asked_for()));
}

/// The threads that write what is delivered have no screen of their own: what they meet stops the run all the same.
#[test]
fn error_in_one_of_several_threads_stops_the_import_and_loses_nothing() {
    let journey = Import::many(60).with_threads("4");
    let (clean, _) = calls_of(&journey.first());
    let clean = clean.exits_one_of(&[0, 3]);
    let (mut count, mut stopped) = (0, 0);
    for call in ["write", "utimensat"] {
        for (nth, error) in (1..=10).flat_map(|nth| ["EIO", "ENOSPC", "EINTR"].map(|error| (nth, error))) {
            let fault = Fault { call, nth, blow: Blow::Error(error) };
            let _told = At(format!("import with four threads, {fault}"));
            journey.scene().set_back();
            let mut memory = <Import as Journey>::Memory::default();
            let Ended::ByItself(run) = with_fault(&journey.first(), fault) else { panic!("nobody killed it") };
            journey.stopped(&mut memory);
            match ends_well(run, &clean) {
                Err(run) => {
                    assert_ne!(error, "EINTR", "{run:#?}");
                    stopped += 1;
                }
                Ok(run) if journey.owns_up(&run) => {}
                Ok(_) => journey.done(&memory),
            }
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
            count += 1;
        }
    }
    println!("\nCOUNT refused calls in import with four threads: {count}, {stopped} stopped it; lost 0, twice 0");
    assert!(count >= 60 && stopped >= 10, "{stopped} of {count}");
}
