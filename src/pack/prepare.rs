//! Reads, digests and parses source files, several at a time, and hands them over in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::limits::ENVELOPE_MAX;
use crate::source::{self, Content, SourceFile};
use crate::text;

/// Bytes of envelopes that are ready or in work, all threads together; a larger one waits to be alone.
const IN_FLIGHT_BYTES: u64 = 32 << 20;
/// Files likewise, so that a million small ones do not pile up.
const IN_FLIGHT_FILES: usize = 512;

/// What a source file turned out to be.
pub enum Prepared {
    /// A valid envelope.
    Envelope {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Their digest.
        sha256: Digest,
        /// What they say.
        envelope: Box<Envelope>,
    },
    /// Something else, for good until it changes.
    NotAnEnvelope {
        /// One word for programs.
        code: &'static str,
        /// The reason.
        why: String,
    },
    /// Not there any more.
    Gone,
    /// Being written.
    Changing,
    /// The system refused.
    Unreadable(String),
}

/// A queue whose order is that of the files, whoever is done first.
pub struct InOrder {
    state: Mutex<State>,
    ready: Condvar,
    room: Condvar,
    count: usize,
}

struct State {
    next_to_start: usize,
    next_to_take: usize,
    in_flight: u64,
    done: BTreeMap<usize, (u64, Prepared)>,
    stopped: bool,
}

impl InOrder {
    /// A queue for so many files.
    pub fn new(count: usize) -> Self {
        let state = State { next_to_start: 0, next_to_take: 0, in_flight: 0, done: BTreeMap::new(), stopped: false };
        Self { state: Mutex::new(state), ready: Condvar::new(), room: Condvar::new(), count }
    }

    /// Works on files until none is left; any number of threads may.
    pub fn work(&self, root: &Path, files: &[SourceFile]) {
        let _guard = StopOnPanic(self);
        while let Some(at) = self.start(files) {
            let prepared = prepare(root, &files[at]);
            let mut state = self.lock();
            state.done.insert(at, (files[at].stamp.size, prepared));
            if at == state.next_to_take {
                self.ready.notify_one();
            }
        }
    }

    /// The next file in order; none when all were taken.
    pub fn take(&self) -> Option<(usize, Prepared)> {
        let mut state = self.lock();
        let at = state.next_to_take;
        if at == self.count {
            return None;
        }
        loop {
            if let Some((size, prepared)) = state.done.remove(&at) {
                state.next_to_take += 1;
                state.in_flight -= size;
                self.room.notify_all();
                return Some((at, prepared));
            }
            assert!(!state.stopped, "a thread that reads files has panicked");
            state = self.ready.wait(state).expect("no thread panics with it");
        }
    }

    /// Nobody takes any more.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
        self.ready.notify_all();
    }

    fn start(&self, files: &[SourceFile]) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let at = state.next_to_start;
            if state.stopped || at == self.count {
                return None;
            }
            let size = files[at].stamp.size;
            let alone = state.in_flight == 0;
            if alone || (state.in_flight + size <= IN_FLIGHT_BYTES && at - state.next_to_take < IN_FLIGHT_FILES) {
                state.next_to_start += 1;
                state.in_flight += size;
                return Some(at);
            }
            state = self.room.wait(state).expect("no thread panics with it");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }
}

/// A thread that panics must not leave the others waiting for it.
struct StopOnPanic<'a>(&'a InOrder);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

fn prepare(root: &Path, file: &SourceFile) -> Prepared {
    match source::read(root, file) {
        Content::Whole(bytes) => match Envelope::parse(&bytes) {
            Ok(envelope) => Prepared::Envelope { sha256: Digest::of(&bytes), envelope: Box::new(envelope), bytes },
            Err(fault) => Prepared::NotAnEnvelope { code: fault.code(), why: fault.to_string() },
        },
        Content::TooLarge => Prepared::NotAnEnvelope {
            code: "too-large",
            why: format!("is {}; an envelope may have {}", text::size(file.stamp.size), text::size(ENVELOPE_MAX)),
        },
        Content::Gone => Prepared::Gone,
        Content::Changing => Prepared::Changing,
        Content::Refused(why) => Prepared::Unreadable(why),
    }
}
