//! `kill -9` before each system call of an import to a broker, and the next run after it.

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../it/crash/scene.rs"]
pub mod scene;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../it/crash/strace.rs"]
pub mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use crate::feeds::{Feeds, Got, Tap, repeats};
use crate::support::{Broker, Platform, finish};
use scene::{copy_all, empty};
use strace::{Blow, Call, Ended, Fault, calls_of, with_fault};

/// Calls that change something on disk or on the wire, or that hear of it.
const CALLS: [&str; 24] = [
    "connect",
    "copy_file_range",
    "epoll_wait",
    "fdatasync",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "read",
    "recvfrom",
    "rename",
    "renameat",
    "renameat2",
    "sendmsg",
    "sendto",
    "syncfs",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// Where the short form begins to leave points out.
const SHORT: usize = 260;

/// Names the fault when an assertion fails somewhere under it.
struct At(String);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nthat was: {}", self.0);
        }
    }
}

/// A world that can be set back, with two connectors whose messages are known.
struct Journey<'a> {
    tap: Tap,
    feeds: Feeds,
    platform: Option<&'a Platform>,
    to: String,
    more: Vec<String>,
    wanted: Vec<Vec<Got>>,
    saved: tempfile::TempDir,
}

impl<'a> Journey<'a> {
    /// To a broker, or through a platform, which forgets its connectors as often as the world is set back.
    fn new(broker: &Broker, platform: Option<&'a Platform>) -> Self {
        let to = platform.map_or_else(|| broker.url(None), Platform::destination);
        let token = |platform: &Platform| vec!["--token-file".into(), platform.token_file().to_str().unwrap().into()];
        let more = platform.map(token).unwrap_or_default();
        let scene = scene::Scene::new();
        let feeds = Feeds::in_world(scene.world, 2);
        for at in 0..4 {
            feeds.put(at % 2, 2);
        }
        feeds.send();
        let wanted = feeds.wanted();
        let saved = tempfile::tempdir().unwrap();
        copy_all(feeds.world.dir.path(), saved.path());
        Self { tap: Tap::open(broker), feeds, platform, to, more, wanted, saved }
    }

    fn set_back(&self) {
        self.platform.iter().for_each(|platform| platform.forget_connectors());
        empty(self.feeds.world.dir.path());
        copy_all(self.saved.path(), self.feeds.world.dir.path());
    }

    /// The loader is not sent through the directories that cargo names.
    fn import(&self) -> std::process::Command {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let mut command = self.feeds.import_to(&self.to, &[&["--threads", "1"][..], &more].concat());
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    /// Takes all messages of both connectors.
    fn take(&self) -> Vec<Vec<Got>> {
        (0..2).map(|feed| self.tap.take(&self.feeds.queue(feed))).collect()
    }

    /// Runs to the blow, then runs again twice. What lies there then, and whether it was killed.
    fn point(&self, fault: Fault) -> (Vec<Vec<Got>>, bool) {
        self.set_back();
        let was_killed = match with_fault(&self.import(), fault) {
            Ended::Killed => true,
            Ended::ByItself(run) => {
                run.exits(0);
                false
            }
        };
        finish(&mut self.import()).exits(0).says_nothing_of("quarantined");
        let got = self.take();
        let rows = scene::ledger_rows::<i64>(&self.feeds.world.path("importer"), "SELECT count(*) FROM delivered");
        assert_eq!(rows, [[4]], "each envelope is recorded once");
        let placing = scene::ledger_rows::<i64>(&self.feeds.world.path("importer"), "SELECT count(*) FROM placing");
        assert_eq!(placing, [[0]], "no note is left");
        (got, was_killed)
    }

    /// A third run does nothing.
    fn is_done(&self) {
        finish(&mut self.import()).exits(0).says_nothing_of("delivered");
        assert_eq!(self.take(), [[], []]);
    }
}

/// How often each call comes, the first that is the program's own and the last, by the busiest thread.
pub fn points_of(calls: &[Call]) -> BTreeMap<&'static str, (usize, usize)> {
    let mut points: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for call in calls {
        let Some(name) = CALLS.into_iter().find(|n| *n == call.name) else { continue };
        let is_loader = ["/lib", "/usr", "/etc", "/proc", "/sys"].iter().any(|dir| call.arguments.contains(dir));
        if is_loader && ["openat", "read"].contains(&name) {
            continue;
        }
        let (first, last) = points.entry(name).or_insert((call.nth, call.nth));
        (*first, *last) = ((*first).min(call.nth), (*last).max(call.nth));
    }
    points
}

/// The faults of a sweep: all, or as many as are asked for, spread evenly over each call.
fn faults(calls: &[Call], most: usize) -> Vec<Fault> {
    let all: Vec<Fault> = points_of(calls)
        .into_iter()
        .flat_map(|(call, (first, last))| (first..=last).map(move |nth| Fault { call, nth, blow: Blow::Kill }))
        .collect();
    if std::env::var_os("AIRPOUCH_CRASH").is_some_and(|v| v == "long") || all.len() <= most {
        return all;
    }
    (0..most).map(|at| all[at * all.len() / most]).collect()
}

/// Kills at each point; judges what lies there; counts.
fn sweep(name: &str, journey: &Journey<'_>, most: usize, least: usize, judge: impl Fn(&[Vec<Got>])) {
    let began = Instant::now();
    let (run, calls) = calls_of(&journey.import());
    run.exits(0);
    journey.take();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut killed, mut repeated, mut most_repeated) = (0, 0, 0);
    for (at, fault) in faults(&calls, most).into_iter().enumerate() {
        let _at = At(format!("import to {name}, {fault}"));
        let (got, was_killed) = journey.point(fault);
        judge(&got);
        let repeats: usize = got.iter().zip(&journey.wanted).map(|(got, wanted)| of_point(got, wanted)).sum();
        if at % 10 == 0 {
            journey.is_done();
        }
        killed += usize::from(was_killed);
        *counts.entry(fault.call).or_default() += usize::from(was_killed);
        (repeated, most_repeated) = (repeated + usize::from(repeats > 0), most_repeated.max(repeats));
    }
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "\nCOUNT kill points in import to {name}: {killed} in {seconds:.1} s ({counts:?}); lost 0, after {repeated} \
         something came twice, {most_repeated} messages at most"
    );
    assert!(killed >= least, "only {killed} points");
    assert!(repeated > 0, "no kill came between a message and its record");
    assert!(repeated < killed, "everything came twice, whatever was recorded");
}

/// The repeats of one connector. A work has another id in each run, so bodies are compared without it.
#[track_caller]
fn of_point(got: &[Got], wanted: &[Got]) -> usize {
    let plain: Vec<Got> = got.iter().map(|m| Got { id: m.id.clone(), body: without_work(&m.body) }).collect();
    let wanted: Vec<Got> = wanted.iter().map(|m| Got { id: m.id.clone(), body: without_work(&m.body) }).collect();
    repeats(&plain, &wanted)
}

fn without_work(body: &str) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap();
    body.as_object_mut().unwrap().remove("work_id");
    body.to_string()
}

#[test]
fn every_message_is_in_its_queue_when_import_to_a_broker_is_killed() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let journey = Journey::new(&broker, None);
    sweep("a broker", &journey, SHORT, 180, |_| {});
}

/// Queues that a run has not yet made whole when it dies are made whole by the next one.
#[test]
fn queues_are_completed_when_the_import_that_declares_them_is_killed() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let journey = Journey::new(&broker, None);
    let (run, calls) = calls_of(&journey.import());
    run.exits(0);
    journey.take();
    let (first, last) = points_of(&calls)["epoll_wait"];
    let mut killed = 0;
    for nth in first..=last.min(first + 60) {
        let fault = Fault { call: "epoll_wait", nth, blow: Blow::Kill };
        let _at = At(format!("import that makes queues, {fault}"));
        for feed in 0..2 {
            journey.tap.delete(&journey.feeds.queue(feed));
        }
        let (got, was_killed) = journey.point(fault);
        // What the first run had sent before it died lies there too.
        for (got, wanted) in got.iter().zip(&journey.wanted) {
            of_point(got, wanted);
        }
        killed += usize::from(was_killed);
    }
    println!("\nCOUNT kill points in import that makes queues: {killed}; lost 0");
    assert!(killed >= 30, "only {killed} points");
}

#[test]
fn every_message_belongs_to_a_work_that_was_closed_when_import_to_a_platform_is_killed() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let platform = Platform::start(&["--version", "7.261026.0"]);
    let journey = Journey::new(&broker, Some(&platform));
    sweep("a platform", &journey, 60, 48, |got| {
        let works = platform.works();
        let named: BTreeSet<String> = got
            .iter()
            .flatten()
            .map(|m| serde_json::from_str::<Value>(&m.body).unwrap()["work_id"].as_str().unwrap().to_owned())
            .collect();
        for id in named {
            let work = works.iter().find(|w| w.id == id).unwrap_or_else(|| panic!("{id} was never opened"));
            // One that a kill cut off is closed in error.
            assert!(!work.messages.is_empty() || !work.errors.is_empty(), "a work with messages stays open: {work:#?}");
            assert!(work.expected > 0, "{work:#?}");
        }
    });
}
