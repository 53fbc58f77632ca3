//! unpack: the envelopes of a batch in order, decompressed, digested and parsed ahead, several volumes at a time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::batch::index::{Index, IndexLine};
use crate::batch::manifest::{Manifest, VolumeEntry};
use crate::batch::volume::{self, EnvelopeTaker};
use crate::digest::Digest;
use crate::envelope::{Envelope, NotAnEnvelope};
use crate::examining::{Examining, Note};
use crate::fit::{Examined, Examiner, Unfit};
use crate::lack::{self, Lack, Unread};
use crate::limits::{EXAMINED_AHEAD_MAX, EXAMINED_GROUP_BYTES, EXAMINED_GROUP_MAX};
use crate::lock::{POISONED, lock};
use crate::objects::ObjectKeys;
use crate::policy::{Policy, Verdict};
use crate::shelf::kept::KeptShelf;
use crate::shelf::{PartFault, Shelf};

/// Weight of what waits in one volume's queue; a heavier group waits alone.
const WAITING_BYTES: usize = 16 << 20;

/// Envelopes that are handed over at once, and their weight: waking the deliverer for each small one takes longer than
/// unpacking it.
const GROUP_ENVELOPES: usize = 64;
const GROUP_BYTES: usize = 1 << 20;

/// An envelope whose digest held.
pub struct UnpackedEnvelope {
    /// Its position in the index, from 1.
    pub ordinal: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say; nothing where the ledger has settled that they stay or are there, or where a run has died of them.
    pub read: Option<Read>,
    /// Its objects, where a list of them is made.
    pub objects: ObjectKeys,
    /// That a large one is in work.
    pub note: Option<Note>,
}

/// What an envelope's bytes say.
pub struct Read {
    /// The envelope, if they are one.
    pub parsed: Result<Envelope, NotAnEnvelope>,
    /// What the sink's examiner makes of it, if it was asked already.
    pub examined: Option<Result<Examined, Unfit>>,
}

/// How envelopes are looked at ahead of their turn. Judged first: what may not cross is not taken apart.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    /// How many volumes at a time.
    pub threads: usize,
    /// What may cross.
    pub policy: &'a Policy,
    /// How the sink looks at envelopes.
    pub examiner: Examiner,
    /// Whether the ledger knows so much of a digest that its bytes need not be read.
    pub is_settled: &'a (dyn Fn(Digest) -> bool + Sync),
    /// Whether the objects of an envelope are listed, also where it is settled.
    pub is_listed: &'a (dyn Fn(Digest) -> bool + Sync),
    /// Where the examination is noted.
    pub examining: &'a Examining,
}

impl Ahead<'_> {
    fn read(self, bytes: &[u8], sha256: Digest) -> (Option<Read>, ObjectKeys) {
        let (is_settled, is_listed) = ((self.is_settled)(sha256), (self.is_listed)(sha256));
        if (is_settled && !is_listed) || self.examining.deaths(sha256) > 0 {
            return (None, ObjectKeys::unread());
        }
        let (parsed, objects) = parse(bytes, is_listed);
        if is_settled {
            return (None, objects);
        }
        let may_cross = |envelope: &&Envelope| self.policy.judge(envelope) == Verdict::Pass;
        let examined = match parsed.as_ref().ok().filter(may_cross) {
            Some(envelope) if bytes.len() <= EXAMINED_AHEAD_MAX => Some(self.examiner.examine(bytes, envelope)),
            _ => None,
        };
        (Some(Read { parsed, examined }), objects)
    }
}

/// What the bytes of an envelope say, with its objects if they are listed.
pub fn parse(bytes: &[u8], is_listed: bool) -> (Result<Envelope, NotAnEnvelope>, ObjectKeys) {
    let mut objects = ObjectKeys::default();
    let parsed = Envelope::parse_listing(bytes, is_listed.then_some(&mut objects));
    if parsed.is_err() {
        objects.cut();
    }
    (parsed, objects)
}

impl UnpackedEnvelope {
    /// Bytes that it takes, roughly: one taken apart takes more.
    fn weight(&self) -> usize {
        let examined = self.read.as_ref().and_then(|read| read.examined.as_ref());
        let apart = matches!(examined, Some(Ok(Examined::Messages(_))));
        self.bytes.len() * if apart { 3 } else { 1 }
    }
}

/// Hands over a batch's envelopes in order until `each` fails or a volume does.
///
/// # Errors
/// What `each` says, or what the machine lacks; or the volume's name and its fault, after all that stood before it.
pub fn unpack<E: From<Lack>>(
    shelf: &KeptShelf,
    manifest: &Manifest,
    index: &Index,
    ahead: Ahead<'_>,
    mut each: impl FnMut(UnpackedEnvelope) -> Result<(), E>,
) -> Result<Option<(String, PartFault)>, E> {
    let volumes: Vec<_> = index.by_volume(manifest).collect();
    let queues: Vec<Queue> = volumes.iter().map(|_| Queue::default()).collect();
    std::thread::scope(|scope| {
        let (_guard, at_once) = (StopAll(&queues), ahead.threads.max(1));
        let mut started = 0;
        for (at, queue) in queues.iter().enumerate() {
            while started < queues.len() && started < at + at_once {
                let (entry, (first, lines), queue) = (&manifest.volumes[started], volumes[started], &queues[started]);
                let volume = Volume { shelf, entry, lines, first };
                let beside = lack::spawn_scoped(scope, move || {
                    let _guard = EndOnPanic(queue);
                    let mut taker = Collecting::new(Filling::of(queue), index, volume, ahead);
                    let read = volume.read(&mut taker);
                    taker.hand.hand_over();
                    queue.end(read.err());
                });
                if beside.is_err() {
                    break;
                }
                started += 1;
            }
            let ended = if at < started {
                while let Some(group) = queue.take() {
                    group.into_iter().try_for_each(&mut each)?;
                }
                queue.fault()
            } else {
                // No thread is to be had: this one does the work.
                started += 1;
                let volume = Volume { shelf, entry: &manifest.volumes[at], lines: volumes[at].1, first: volumes[at].0 };
                let mut here = Here { each: &mut each, failed: None };
                let read = volume.read(&mut Collecting::new(&mut here, index, volume, ahead));
                here.failed.map_or(Ok(read.err()), Err)?
            };
            match ended {
                None => {}
                Some(Unread::Fault(fault)) => return Ok(Some((manifest.volumes[at].name.clone(), fault))),
                Some(Unread::Lack(lack)) => return Err(lack.into()),
            }
        }
        Ok(None)
    })
}

/// A volume that is to be read, and the lines of its envelopes.
#[derive(Clone, Copy)]
struct Volume<'a> {
    shelf: &'a KeptShelf,
    entry: &'a VolumeEntry,
    lines: &'a [IndexLine],
    /// The ordinal of its first envelope.
    first: usize,
}

impl Volume<'_> {
    fn read(self, taker: &mut impl EnvelopeTaker) -> Result<(), Unread<PartFault>> {
        let packed = self.shelf.fetch(&self.entry.part())?;
        volume::read(&packed, self.lines, self.first, taker)
            .map_err(|unread| unread.map_fault(|fault| PartFault::Lie(fault.to_string())))
    }
}

/// Whoever takes unpacked envelopes.
trait Hand {
    /// `false` if no more is wanted.
    fn put(&mut self, envelope: UnpackedEnvelope) -> bool;
}

/// The group that is being filled for a queue.
struct Filling<'a> {
    queue: &'a Queue,
    group: Vec<UnpackedEnvelope>,
    weight: usize,
}

impl<'a> Filling<'a> {
    fn of(queue: &'a Queue) -> Self {
        Self { queue, group: Vec::new(), weight: 0 }
    }

    /// `false` if nobody takes any more.
    fn hand_over(&mut self) -> bool {
        let (group, weight) = (std::mem::take(&mut self.group), std::mem::take(&mut self.weight));
        group.is_empty() || self.queue.put(group, weight)
    }
}

impl Hand for Filling<'_> {
    fn put(&mut self, envelope: UnpackedEnvelope) -> bool {
        self.weight += envelope.weight();
        self.group.push(envelope);
        let is_full = self.weight >= GROUP_BYTES || self.group.len() >= GROUP_ENVELOPES;
        !is_full || self.hand_over()
    }
}

/// The deliverer itself, where no thread is between.
struct Here<'a, F, E> {
    each: &'a mut F,
    failed: Option<E>,
}

impl<F: FnMut(UnpackedEnvelope) -> Result<(), E>, E> Hand for &mut Here<'_, F, E> {
    fn put(&mut self, envelope: UnpackedEnvelope) -> bool {
        self.failed = (self.each)(envelope).err();
        self.failed.is_none()
    }
}

struct Collecting<'a, H> {
    hand: H,
    /// The lines of the index to the end of the volume.
    lines: &'a [IndexLine],
    ahead: Ahead<'a>,
    bytes: Vec<u8>,
    /// The note of a group of small envelopes, and the first ordinal behind them.
    group: Option<(Option<Note>, usize)>,
}

impl<'a, H> Collecting<'a, H> {
    fn new(hand: H, index: &'a Index, volume: Volume<'_>, ahead: Ahead<'a>) -> Self {
        let lines = &index.lines[..volume.first - 1 + volume.lines.len()];
        Self { hand, lines, ahead, bytes: Vec::new(), group: None }
    }

    /// Notes that a small envelope is examined, with those that come after it.
    fn note_group(&mut self, ordinal: usize) {
        if self.group.as_ref().is_some_and(|(_, behind)| ordinal < *behind) {
            return;
        }
        self.group = None;
        let mut room = EXAMINED_GROUP_BYTES;
        let fits = |line: &&IndexLine| {
            let has_room = line.bytes <= room;
            room = room.saturating_sub(line.bytes);
            has_room
        };
        let lines: Vec<_> = self.lines[ordinal - 1..].iter().take(EXAMINED_GROUP_MAX).take_while(fits).collect();
        let is_read = |sha256: &Digest| !(self.ahead.is_settled)(*sha256) || (self.ahead.is_listed)(*sha256);
        let digests: Vec<Digest> = lines.iter().map(|line| line.sha256).filter(is_read).collect();
        let note = if digests.is_empty() { None } else { self.ahead.examining.note(&digests) };
        self.group = Some((note, ordinal + lines.len()));
    }
}

impl<H: Hand> EnvelopeTaker for Collecting<'_, H> {
    fn piece(&mut self, piece: &[u8], whole: u64) -> Result<(), Lack> {
        lack::reserve(&mut self.bytes, whole)?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn complete(&mut self, ordinal: usize) -> bool {
        let bytes = std::mem::take(&mut self.bytes);
        let line = &self.lines[ordinal - 1];
        let note = if line.bytes > EXAMINED_GROUP_BYTES {
            self.group = None;
            self.ahead.examining.note(&[line.sha256])
        } else {
            self.note_group(ordinal);
            None
        };
        let (read, objects) = self.ahead.read(&bytes, line.sha256);
        self.hand.put(UnpackedEnvelope { ordinal, bytes, read, objects, note })
    }
}

/// Whoever takes no more, be it for a panic, must not leave the volumes' threads waiting for room.
struct StopAll<'a>(&'a [Queue]);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Queue::stop);
    }
}

/// A thread that panics must not leave the deliverer waiting for it; the scope passes the panic on.
struct EndOnPanic<'a>(&'a Queue);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Some(Unread::Fault(PartFault::Unreadable("a thread has panicked".to_owned()))));
        }
    }
}

/// One volume's envelopes on their way from its thread to the deliverer, in groups; bounded by their weight.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Groups, each with its weight.
    waiting: VecDeque<(Vec<UnpackedEnvelope>, usize)>,
    weight: usize,
    /// Whether the thread that fills it waits for room.
    is_full: bool,
    ended: bool,
    stopped: bool,
    fault: Option<Unread<PartFault>>,
}

impl Queue {
    /// `false` if nobody takes any more.
    fn put(&self, group: Vec<UnpackedEnvelope>, weight: usize) -> bool {
        let mut state = self.lock();
        while !state.stopped && state.weight > 0 && state.weight + weight > WAITING_BYTES {
            state.is_full = true;
            state = self.changed.wait(state).expect(POISONED);
        }
        state.weight += weight;
        state.waiting.push_back((group, weight));
        // The deliverer waits only while there is none.
        if state.waiting.len() == 1 {
            self.changed.notify_all();
        }
        !state.stopped
    }

    fn take(&self) -> Option<Vec<UnpackedEnvelope>> {
        let mut state = self.lock();
        loop {
            if let Some((group, weight)) = state.waiting.pop_front() {
                state.weight -= weight;
                if state.is_full && state.weight <= WAITING_BYTES / 2 {
                    state.is_full = false;
                    self.changed.notify_all();
                }
                return Some(group);
            }
            if state.ended {
                return None;
            }
            state = self.changed.wait(state).expect(POISONED);
        }
    }

    fn end(&self, fault: Option<Unread<PartFault>>) {
        let mut state = self.lock();
        state.ended = true;
        state.fault = fault;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn fault(&self) -> Option<Unread<PartFault>> {
        self.lock().fault.take()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros() -> (Vec<UnpackedEnvelope>, usize) {
        let bytes = vec![0; 1 << 20];
        (vec![UnpackedEnvelope { ordinal: 1, bytes, read: None, objects: ObjectKeys::default(), note: None }], 1 << 20)
    }

    #[test]
    fn deliverer_that_panics_leaves_no_thread_waiting() {
        let queues = [Queue::default()];
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::scope(|scope| {
                let _guard = StopAll(&queues);
                lack::spawn_scoped(scope, || {
                    while let (group, weight) = zeros()
                        && queues[0].put(group, weight)
                    {}
                })
                .unwrap();
                queues[0].take();
                panic!("as planned");
            })
        }));
        assert!(caught.is_err());
    }
}
