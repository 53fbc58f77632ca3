//! The parts that take time, each by itself: `cargo bench --bench parts [DIR]`, DIR with envelope files.
//!
//! Beside pycti where AIRPOUCH_PYCTI names a Python that has it (tests/run makes one): both take the same bundles apart,
//! in turn, each timed inside its own process, and the ratio of the medians is printed. Without DIR 300 envelopes are
//! made up.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use airpouch::digest::Digest;
use airpouch::envelope::Envelope;
use airpouch::opencti::message::{Addressee, Messages};

const ROUNDS: usize = 7;

fn main() {
    let given = std::env::args().skip(1).find(|a| !a.starts_with("--")).map(PathBuf::from);
    let made = tempfile::tempdir().unwrap();
    let dir = given.unwrap_or_else(|| {
        let mut corpus = Command::new(env!("CARGO"));
        corpus.args(["run", "--release", "--quiet", "--example", "corpus", "--"]).arg(made.path()).arg("300");
        assert!(corpus.status().unwrap().success());
        made.path().to_owned()
    });
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let all = paths.iter().map(|path| std::fs::read(path).unwrap());
    let envelopes: Vec<Vec<u8>> = all.filter(|bytes| Envelope::parse(bytes).is_ok()).collect();
    let bytes: usize = envelopes.iter().map(Vec::len).sum();
    println!("{} envelopes, {} MiB, {ROUNDS} rounds, medians, one thread", envelopes.len(), bytes >> 20);

    let rate = |name: &str, work: &dyn Fn(&[u8]) -> usize| {
        let seconds = median((0..ROUNDS).map(|_| time(|| envelopes.iter().map(|e| work(e)).sum::<usize>())));
        println!("{name:<44}{:>8.2} GB/s", bytes as f64 / seconds / 1e9);
        seconds
    };
    rate("digest (SHA-256)", &|e| Digest::of(e).as_bytes()[0] as usize);
    rate("look through an envelope", &|e| usize::from(Envelope::parse(e).is_ok()));
    rate("take a bundle apart", &|e| split(e).count());
    rate("and write its parts", &|e| written(e, false));
    rate("and write its messages", &|e| written(e, true));

    let Some(python) = std::env::var_os("AIRPOUCH_PYCTI") else {
        println!("AIRPOUCH_PYCTI names no Python: nothing to compare with");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/split.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut ask, mut answer) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for path in &paths {
        writeln!(ask, "{}", path.display()).unwrap();
    }
    writeln!(ask).unwrap();
    let (mut ours, mut theirs, mut count) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..ROUNDS {
        ours.push(time(|| envelopes.iter().map(|e| written(e, false)).sum::<usize>()));
        writeln!(ask).unwrap();
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        let (seconds, parts) = line.trim().split_once(' ').unwrap();
        theirs.push(seconds.parse::<f64>().unwrap());
        count = parts.to_owned();
    }
    drop(ask);
    child.wait().unwrap();
    let parts: usize = envelopes.iter().map(|e| split(e).count()).sum();
    assert_eq!(parts.to_string(), count, "pycti makes another number of parts");
    let (ours, theirs) = (median(ours.into_iter()), median(theirs.into_iter()));
    println!("splitting, {parts} parts, beside pycti: {:.1} times as fast", theirs / ours);
}

fn split(envelope: &[u8]) -> Messages {
    Messages::of(std::str::from_utf8(envelope).unwrap()).unwrap()
}

fn written(envelope: &[u8], whole: bool) -> usize {
    let (messages, text) = (split(envelope), std::str::from_utf8(envelope).unwrap());
    let (mut out, mut bytes) = (String::new(), 0);
    let to = Addressee { applicant: Some("0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"), ..Addressee::default() };
    for at in 0..messages.count() {
        out.clear();
        match whole {
            true => messages.write(&mut out, text, at, &to, "bundle--1"),
            false => messages.write_bundle(&mut out, text, at, "bundle--1"),
        }
        bytes += out.len();
    }
    bytes
}

fn time(work: impl FnOnce() -> usize) -> f64 {
    let started = Instant::now();
    black_box(work());
    started.elapsed().as_secs_f64()
}

fn median(seconds: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = seconds.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
