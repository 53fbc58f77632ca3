//! What a bundle holds, in numbers and findings: nothing of it is kept as a tree.

use std::collections::BTreeMap;

use super::acts::Acts;
use crate::code::Code;
use crate::limits;
use crate::opencti::Tlp;

/// Findings kept for each code, and embedded files kept: enough to act on, whatever the input.
pub(super) const NAMED_MAX: usize = 32;

/// What one streaming pass over a bundle found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Elements of `objects`.
    pub objects: u64,
    /// Object types with counts. Types beyond the first [`limits::NAMED_KINDS_MAX`], and longer ones than
    /// [`limits::ID_LENGTH_MAX`], count on `*`; objects without a text type count on `?`.
    pub types: BTreeMap<String, u64>,
    /// Every text in an `object_marking_refs` or a `marking_ref` (granular markings), at any depth, with
    /// counts; the same caps.
    pub markings: BTreeMap<String, u64>,
    /// How often the levels of the traffic light protocol are among them, and the id of the first; none is left out.
    pub tlp: BTreeMap<Tlp, (u64, String)>,
    /// Marking definitions of the bundle whose words claim a level that their id does not stand for: at most 32.
    pub claimed_tlp: BTreeMap<String, Tlp>,
    /// The highest level of those that are not kept.
    pub more_claimed_tlp: Option<Tlp>,
    /// Operations and internal types.
    pub acts: Acts,
    /// Organizations that are given access: `granted_refs`, and whatever pycti makes the same of.
    pub sharing: Noticed,
    /// Objects of the type `vocabulary`: words of the platform's own lists.
    pub vocabularies: Noticed,
    /// Embedded files that are bundles or feeds themselves, and that the platform may import as such.
    pub nested_files: Noticed,
    /// What else is remarkable, at most 32 for each code, so that no code can hide another; in their order.
    pub findings: Vec<Remark>,
    /// Further findings that are only counted.
    pub more_findings: u64,
    /// Embedded files, the 32 largest.
    pub files: Vec<EmbeddedFile>,
    /// Further embedded files that are only counted.
    pub more_files: u64,
    /// The MIME types of all embedded files with counts; the same caps; files without one count on `?`.
    pub file_types: BTreeMap<String, u64>,
    /// Objects that pycti's splitter would emit as far as one pass can tell: 0 makes the stock connector
    /// die of "Nothing to import". References that a
    /// cycle drops, and objects that another with the same id replaces, are not followed here.
    pub compatible: u64,
}

/// Something that is counted, and of which the first is described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// How often it is there.
    pub count: u64,
    /// The first in words; safe to print.
    pub what: String,
    /// A JSON pointer to the first, as in [`Remark::place`].
    pub place: String,
}

/// Something in a bundle that a person or a sink must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The sort.
    pub code: Code,
    /// What it is, in words, with the object's place and id; safe to print.
    pub what: String,
    /// A JSON pointer (RFC 6901) from the envelope's root; safe to print, and cut when it is long.
    pub place: String,
}

/// A file inside a bundle: base64 in the `data` of an element of `x_opencti_files` or `files`, or an
/// artifact's `payload_bin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedFile {
    /// A JSON pointer to the base64, as in [`Remark::place`].
    pub place: String,
    /// Its size decoded; never less than what pycti's `b64decode` would make of it.
    pub bytes: u64,
    /// The `mime_type` beside it, if that is a text.
    pub mime: Option<String>,
}

/// Counts a name, under the caps that [`Contents`] states.
pub(super) fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(n) = counts.get_mut(name) {
        *n += 1;
        return;
    }
    let others = usize::from(counts.contains_key("*"));
    let full = counts.len() - others >= limits::NAMED_KINDS_MAX;
    let name = if full || name.len() > limits::ID_LENGTH_MAX { "*" } else { name };
    *counts.entry(name.to_owned()).or_insert(0) += 1;
}

impl Contents {
    /// Notes an embedded file; of too many the largest stay.
    pub(super) fn add_file(&mut self, file: EmbeddedFile) {
        count(&mut self.file_types, file.mime.as_deref().unwrap_or("?"));
        if self.files.len() < NAMED_MAX {
            self.files.push(file);
            return;
        }
        self.more_files += 1;
        if let Some(smallest) = self.files.iter_mut().min_by_key(|kept| kept.bytes)
            && smallest.bytes < file.bytes
        {
            *smallest = file;
        }
    }
}
