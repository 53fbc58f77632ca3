//! The order in which a drain notes, sends and forgets: its calls are held against the laws of `tests/it/crash/laws.rs`.

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../it/crash/laws.rs"]
mod laws;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../it/crash/recorded.rs"]
mod recorded;

use std::process::Command;

use crate::drain::spooled;
use crate::kills::strace;
use crate::support::{Broker, Platform, World, push_queue};

fn drain(world: &World, to: &str, more: &[&str]) -> Command {
    let mut command = world.command();
    command.env_remove("LD_LIBRARY_PATH");
    command.args(["drain", "spool", "--to", to, "--site", "importer"]).args(more);
    command
}

#[test]
fn a_power_cut_during_a_drain_forgets_no_message_that_was_not_sent() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(4, 3);
    // A drain has no ledger.
    assert_eq!(laws::commits_of(world.dir.path(), &drain(&world, &broker.url(None), &[]), &[0]), 0);
    assert_eq!(ids.iter().map(|id| broker.take(&push_queue(id)).len()).sum::<usize>(), 12);
    // With works, which are remembered too.
    let (world, ids) = spooled(4, 3);
    let platform = Platform::start(&["--version", "7.261026.0"]);
    let token = platform.token_file();
    let through = drain(&world, &platform.destination(), &["--token-file", token.to_str().unwrap()]);
    assert_eq!(laws::commits_of(world.dir.path(), &through, &[0]), 0);
    assert_eq!(ids.iter().map(|id| broker.take(&push_queue(id)).len()).sum::<usize>(), 12);
}

#[test]
fn a_power_cut_after_the_drain_that_follows_a_kill_repeats_no_message_unreported() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let mut kills = 0;
    for call in ["fsync", "renameat2", "unlinkat", "sendto"] {
        for nth in 1.. {
            let (world, ids) = spooled(2, 1);
            let command = drain(&world, &broker.url(None), &[]);
            let ended = laws::after_a_kill(world.dir.path(), &command, (call, nth), &[0]);
            ids.iter().for_each(|id| drop(broker.take(&push_queue(id))));
            match ended {
                None => kills += 1,
                Some(_) => break,
            }
        }
    }
    assert!(kills >= 5, "only {kills} kills");
}
