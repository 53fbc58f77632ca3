//! SIGTERM before system calls that change something: the run ends by itself where all that is done is recorded, and the
//! next one goes on from there.

use std::os::unix::process::ExitStatusExt;

use super::journeys::*;
use super::kills::At;
use super::scene::ledger_rows;
use super::strace::{calls_of, points_of, under};
use crate::support::{Unjudged, finish, output};

/// How a run ended that was asked to stop.
enum Stopped {
    /// Before it had begun anything: by the signal alone.
    AtOnce,
    /// Where it chose; what it said.
    Politely(String),
    /// It was done.
    Not,
}

fn asked_to_stop(journey: &impl Journey, rule: &str) -> Stopped {
    let call = rule.split(':').next().unwrap();
    let (traced, inject) = (format!("trace={call}"), format!("inject={rule}"));
    let options = ["-o", "/dev/null", "-e", "signal=none", "-e", &traced, "-e", &inject];
    let ended = output(&mut under(&journey.first(), &options));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    match ended.status.signal() {
        Some(15) if said.contains("stopped: ") => {
            assert_eq!(said.matches("stopped: by SIGTERM ").count(), 1, "{said}");
            assert!(!said.contains("error: "), "{said}");
            Stopped::Politely(said)
        }
        Some(15) => Stopped::AtOnce,
        Some(other) => panic!("signal {other} from {rule}: {said}"),
        None => {
            Unjudged::of(&ended).exits_one_of(&[0, 3]).says_nothing_of("stopped: ");
            Stopped::Not
        }
    }
}

/// Stops a verb at one of `step` of its calls, lets the next run go on, and counts the points: at least `least`; `site` is
/// where it works, and `places` are among the places where it says that it stopped.
fn stop_at_many<J: Journey>(site: &str, journey: &J, (step, least): (usize, usize), places: &[&str]) {
    let (run, calls) = calls_of(&journey.first());
    run.exits_one_of(&[0, 3]);
    let (mut count, mut said_in_all) = (0, String::new());
    for (call, first) in points_of(&calls) {
        let last = calls.iter().filter(|c| c.name == call && c.is_main).map(|c| c.nth).max().unwrap_or(first);
        for nth in (first..=last).step_by(step) {
            let _told = At(format!("asked to stop before {call} number {nth}"));
            journey.scene().set_back();
            let mut memory = J::Memory::default();
            let stopped = asked_to_stop(journey, &format!("{call}:signal=TERM:when={nth}"));
            journey.stopped(&mut memory);
            if let Stopped::Politely(said) = stopped {
                // What it did is in the journal, signed, and nothing is left half way at the destination.
                journey.scene().run(&["audit", "--site", site]).exits(0);
                if site == "importer" {
                    let placing = ledger_rows::<String>(&journey.scene().path(site), "SELECT name FROM placing");
                    assert!(placing.is_empty(), "{placing:?}");
                }
                said_in_all.push_str(&said);
                count += 1;
            }
            let again = finish(&mut journey.again(&mut memory));
            journey.healed(memory, again);
        }
    }
    println!("\nCOUNT polite stops at {site}: {count}; lost 0, twice 0");
    assert!(count >= least, "only {count} polite stops");
    places.iter().for_each(|place| assert!(said_in_all.contains(place), "it never stopped {place}: {said_in_all}"));
}

#[test]
fn every_envelope_is_packed_once_when_pack_is_asked_to_stop() {
    stop_at_many("exporter", &Pack::new(Extent::Short, false), (4, 5), &["after 0 batches; what is not packed yet"]);
    // Of many batches, some are whole.
    stop_at_many("exporter", &Pack::new(Extent::Long, false), (150, 3), &["batches; what is not packed yet"]);
}

#[test]
fn medium_is_completed_after_carry_was_asked_to_stop() {
    let places = ["was copied; nothing new is SAFE TO REMOVE", "were read back"];
    stop_at_many("exporter", &Carry::new(Extent::Short), (5, 5), &places);
}

#[test]
fn every_envelope_is_delivered_once_when_import_is_asked_to_stop() {
    let places = ["keep the medium", "goes on from there, without the medium"];
    stop_at_many("importer", &Import::new(Extent::Short), (9, 20), &places);
}

#[test]
fn every_message_is_spooled_once_and_in_order_when_import_is_asked_to_stop() {
    let places = ["keep the medium", "goes on from there, without the medium"];
    stop_at_many("importer", &Spool::new(Extent::Short), (9, 20), &places);
}

#[test]
fn second_signal_ends_a_run_at_once_and_the_next_one_heals() {
    let journey = Import::new(Extent::Short);
    for nth in [10, 20, 30] {
        journey.scene().set_back();
        let mut memory = <Import as Journey>::Memory::default();
        // With each call from this one on.
        let stopped = asked_to_stop(&journey, &format!("fsync:signal=TERM:when={nth}+"));
        assert!(matches!(stopped, Stopped::AtOnce), "it stopped politely at {nth}");
        journey.stopped(&mut memory);
        let again = finish(&mut journey.again(&mut memory));
        journey.healed(memory, again);
    }
}
