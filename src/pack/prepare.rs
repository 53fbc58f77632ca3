//! Reads, digests and parses source files in groups: what one thread does at a time, and hands over at once.

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use crate::ahead::{self, Limits, MemoryHeld};
use crate::code::Code;
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::lack::Lack;
use crate::limits::ENVELOPE_MAX;
use crate::source::{self, Content, SourceFile};
use crate::text;

/// Bytes of envelopes that are ready or in work, all threads together; a larger one waits to be alone.
const AHEAD_BYTES: u64 = 32 << 20;
/// Groups likewise, so that a million small files do not pile up.
const AHEAD_GROUPS: usize = 16;
/// Bytes and files of one group; a larger file is a group of its own. Measured: with 1.2 KB a file, handing over each by
/// itself took as long as parsing it.
const GROUP_BYTES: u64 = 1 << 20;
const GROUP_FILES: usize = 128;

/// What a source file turned out to be.
pub enum ReadSource {
    /// A valid envelope.
    Envelope {
        /// Where its bytes lie in [`FileGroup::bytes`].
        at: Range<usize>,
        /// Their digest.
        sha256: Digest,
        /// What they say.
        envelope: Box<Envelope>,
    },
    /// Something else, for good until it changes.
    NotAnEnvelope {
        /// One word for programs.
        code: Code,
        /// The reason.
        why: String,
    },
    /// Not there any more.
    Gone,
    /// Being written.
    Changing,
    /// The system refused.
    Unreadable(String),
    /// The machine lacks what reading it takes.
    Lacking(Lack),
}

impl ReadSource {
    /// The digest of an envelope.
    pub fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Envelope { sha256, .. } => Some(*sha256),
            _ => None,
        }
    }
}

/// Files that follow each other, as they were read.
#[derive(Default)]
pub struct FileGroup<'a> {
    /// Each file, and what it is.
    pub files: Vec<(&'a SourceFile, ReadSource)>,
    /// The bytes of all envelopes, one behind the other.
    pub bytes: Vec<u8>,
}

/// Hands over all files in groups, in order, until `each` fails.
///
/// # Errors
/// What `each` says.
pub fn prepare_all<'a, E>(
    root: &Path,
    files: &'a [SourceFile],
    threads: usize,
    mut each: impl FnMut(&FileGroup<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let groups = groups(files);
    let weights: Vec<u64> = groups.iter().map(|group| group.iter().map(weight).sum()).collect();
    let limits = Limits {
        beside: ahead::beside(threads),
        weight: AHEAD_BYTES,
        items: AHEAD_GROUPS,
        held: MemoryHeld::UntilTaken,
    };
    let spare = Spare::default();
    let work = |at: usize| read_group(root, groups[at], spare.take());
    ahead::in_order(&weights, limits, work, |_, group| {
        let handled = each(&group);
        spare.keep(group);
        handled
    })
}

/// Cuts the files into groups of those that follow each other.
fn groups(files: &[SourceFile]) -> Vec<&[SourceFile]> {
    let (mut groups, mut rest) = (Vec::new(), files);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |file: &&SourceFile| {
            bytes += weight(file);
            bytes <= GROUP_BYTES
        };
        let count = rest.iter().take(GROUP_FILES).take_while(fits).count();
        let (group, others) = rest.split_at(count.max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

/// What a file will take in memory: nothing is read of one that is too large.
fn weight(file: &SourceFile) -> u64 {
    if file.stamp.size > ENVELOPE_MAX { 0 } else { file.stamp.size }
}

/// Reads files into a group that was handed over before. What is left of those is freed here, where as much is allocated
/// again, and not by the thread that takes the groups: the two would wait for each other's memory.
fn read_group<'a>(root: &Path, files: &'a [SourceFile], mut group: FileGroup<'a>) -> FileGroup<'a> {
    let FileGroup { files: prepared, bytes } = &mut group;
    prepared.clear();
    bytes.clear();
    prepared.extend(files.iter().map(|file| (file, prepare(root, file, bytes))));
    group
}

/// Reads one file behind the bytes that are there; what is no envelope leaves none.
fn prepare(root: &Path, file: &SourceFile, bytes: &mut Vec<u8>) -> ReadSource {
    let from = bytes.len();
    let prepared = match source::read(root, file, bytes) {
        Content::Whole => match Envelope::parse(&bytes[from..]) {
            Ok(envelope) => ReadSource::Envelope {
                sha256: Digest::of(&bytes[from..]),
                envelope: Box::new(envelope),
                at: from..bytes.len(),
            },
            Err(fault) => ReadSource::NotAnEnvelope { code: fault.code(), why: fault.to_string() },
        },
        Content::TooLarge => ReadSource::NotAnEnvelope {
            code: Code::TooLarge,
            why: format!("is {}; an envelope may have {}", text::size(file.stamp.size), text::size(ENVELOPE_MAX)),
        },
        Content::Gone => ReadSource::Gone,
        Content::Changing => ReadSource::Changing,
        Content::Refused(why) => ReadSource::Unreadable(why),
        Content::Lacking(lack) => ReadSource::Lacking(lack),
    };
    if !matches!(prepared, ReadSource::Envelope { .. }) {
        bytes.truncate(from);
    }
    prepared
}

/// Groups that were handed over, to be used again: fresh memory costs a page fault for each 4 KiB.
#[derive(Default)]
struct Spare<'a>(Mutex<Vec<FileGroup<'a>>>);

impl<'a> Spare<'a> {
    fn take(&self) -> FileGroup<'a> {
        self.0.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default()
    }

    fn keep(&self, group: FileGroup<'a>) {
        if let Ok(mut spare) = self.0.lock()
            && group.bytes.capacity() as u64 <= 2 * GROUP_BYTES
            && spare.len() < AHEAD_GROUPS
        {
            spare.push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Stamp;

    fn file(size: u64) -> SourceFile {
        let stamp = Stamp { dev: 0, ino: 0, size, mtime: 0, ctime: 0 };
        SourceFile { path: "x.json".into(), name: "x.json".into(), stamp }
    }

    #[test]
    fn groups_hold_files_that_follow_each_other_and_a_large_one_alone() {
        let sizes = [vec![1; 300], vec![GROUP_BYTES + 1, 5, GROUP_BYTES - 5, 1], vec![ENVELOPE_MAX + 1, 1]].concat();
        let files: Vec<SourceFile> = sizes.iter().map(|size| file(*size)).collect();
        let groups = groups(&files);
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        assert_eq!(lengths, [128, 128, 44, 1, 2, 3]);
        assert_eq!(groups.concat().len(), files.len());
    }
}
