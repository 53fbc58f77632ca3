//! pycti as a process beside us.

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What pycti makes of a bundle.
pub enum Answer {
    /// Its parts, and how many objects it passed over.
    Split {
        parts: Vec<String>,
        incompatible: usize,
    },
    Raises(String),
}

pub struct Pycti;

impl Pycti {
    /// Whether there is a Python that has pycti. Else the test that asks is skipped, and counted as skipped.
    pub fn is_there() -> bool {
        let there = std::env::var_os("AIRPOUCH_PYCTI").is_some();
        if !there {
            println!("SKIP: no pycti; tests/run installs it");
        }
        there
    }

    fn command() -> Command {
        let mut command = Command::new(std::env::var_os("AIRPOUCH_PYCTI").expect("it is there"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pycti/splitter.py"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Gives pycti a bundle for each number, and `compare` that bundle with its answer; counts where that is true. Two
    /// of them run at a time.
    pub fn beside(
        numbers: Range<u64>,
        bundle: impl Fn(u64) -> String + Sync,
        compare: impl Fn(&str, &Answer, u64) -> bool + Sync,
    ) -> u64 {
        let middle = numbers.start + (numbers.end - numbers.start) / 2;
        let halves = [numbers.start..middle, middle..numbers.end];
        std::thread::scope(|scope| {
            let halves = halves.map(|half| scope.spawn(|| Self::one(half, &bundle, &compare)));
            halves.into_iter().map(|half| half.join().unwrap()).sum()
        })
    }

    fn one(
        numbers: Range<u64>,
        bundle: &(impl Fn(u64) -> String + Sync),
        compare: &impl Fn(&str, &Answer, u64) -> bool,
    ) -> u64 {
        let mut child = Self::command().spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let count = std::thread::scope(|scope| {
            let asked = numbers.clone();
            scope.spawn(move || {
                for number in asked {
                    let line = serde_json::to_string(&bundle(number)).unwrap();
                    // It ends early only if the comparison failed.
                    if writeln!(input, "{line}").is_err() {
                        return;
                    }
                }
            });
            let (mut count, mut answered) = (0, 0);
            for (number, line) in numbers.clone().zip(output.lines()) {
                count += u64::from(compare(&bundle(number), &read(&line.unwrap()), number));
                answered += 1;
            }
            assert_eq!(answered, numbers.end - numbers.start, "pycti has ended early");
            count
        });
        assert!(child.wait().unwrap().success());
        count
    }
}

fn read(line: &str) -> Answer {
    let answer: Value = serde_json::from_str(line).unwrap();
    if let Some(what) = answer["raises"].as_str() {
        return Answer::Raises(what.to_owned());
    }
    let parts = answer["parts"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned()).collect();
    Answer::Split { parts, incompatible: answer["incompatible"].as_u64().unwrap() as usize }
}
