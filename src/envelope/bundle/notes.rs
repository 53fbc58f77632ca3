//! How the pass over a bundle puts into words what it found, and where. All of this is rare.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::super::acts::UPSERT;
use super::super::contents::{Contents, NAMED_MAX, Noticed, Remark, count};
use super::super::named;
use super::{BundleRole, KeySeen, Meaning, Pass};
use crate::code::Code;
use crate::json::{JsonEvent, Text};
use crate::limits;
use crate::opencti::python;
use crate::text::harmless;

impl<'a> Pass<'a> {
    /// Notes what is wrong with the current value. The words are only found while the code has room, so that a
    /// million findings cost no more than counting them.
    #[cold]
    pub(super) fn note(&mut self, code: Code, what: impl FnOnce() -> String) {
        self.note_at(self.frames.len(), code, what);
    }

    /// Notes what is wrong with the value that the first so many frames lead to.
    fn note_at(&mut self, frames: usize, code: Code, what: impl FnOnce() -> String) {
        if self.has_room(code) {
            self.add(code, self.with_subject(&what()), self.pointer(frames));
        }
    }

    /// Inside a STIX object its name is put before when it ends; elsewhere the bundle is meant.
    fn with_subject(&self, what: &str) -> String {
        let in_item = self.frames.iter().any(|frame| frame.role == BundleRole::Item);
        let subject = if in_item { "" } else { "the bundle " };
        format!("{subject}{what}")
    }

    /// Counts an operation; the first so many frames lead to it.
    fn note_command(&mut self, frames: usize, name: &str, what: impl FnOnce() -> String) {
        // The words need the whole pass, and the acts are a part of it.
        let mut acts = std::mem::take(&mut self.out.acts);
        acts.count(Code::Command, name, || (self.with_subject(&what()), self.pointer(frames)));
        self.out.acts = acts;
    }

    /// Notes what is wrong with a STIX object that just ended, or with a member of it.
    #[cold]
    pub(super) fn note_ended(&mut self, member: &str, code: Code, what: String) {
        if self.has_room(code) {
            let slash = if member.is_empty() { "" } else { "/" };
            let place = format!("{}{slash}{member}", self.pointer(self.frames.len()));
            self.add(code, what, place);
        }
    }

    fn has_room(&mut self, code: Code) -> bool {
        let found = &mut self.found[code as usize];
        *found += 1;
        self.out.more_findings += u64::from(*found > NAMED_MAX);
        *found <= NAMED_MAX
    }

    fn add(&mut self, code: Code, what: String, place: String) {
        self.out.findings.push(Remark { code, what, place });
    }

    /// Puts the object's name before what was found in it.
    pub(super) fn name_item(&mut self, id: Option<Text<'a>>) {
        let index = self.out.objects - 1;
        let name = || {
            let id = id.map_or(String::new(), |id| format!(" {}", shown(id)));
            format!("objects[{index}]{id}")
        };
        self.out.acts.name_object(name);
        if self.item_findings < self.out.findings.len() {
            let name = name();
            for finding in &mut self.out.findings[self.item_findings..] {
                finding.what = format!("{name} {}", finding.what);
            }
            self.item_findings = self.out.findings.len();
        }
    }

    #[cold]
    pub(super) fn note_operation(&mut self, value: JsonEvent<'a>) {
        let frames = self.frames.len();
        match value {
            JsonEvent::String(operation) => {
                let operation = shown(operation);
                let what = || format!("carries opencti_operation \"{operation}\"");
                self.note_command(frames, &operation, what);
            }
            other => {
                let what = || format!("carries opencti_operation, which is {}", named(other));
                self.note_command(frames, named(other), what);
            }
        }
    }

    /// Operations that the platform executes while it takes an object.
    #[cold]
    pub(super) fn note_upsert_operations(&mut self, frames: usize) {
        self.note_command(frames, UPSERT, || format!("carries {UPSERT}"));
    }

    /// A STIX object that just ended administrates the platform; `member` says so.
    #[cold]
    pub(super) fn note_internal_type(&mut self, name: &str, member: &str, what: String) {
        let place = format!("{}/{member}", self.pointer(self.frames.len()));
        self.out.acts.count(Code::InternalType, &harmless(name), || (what, place));
    }

    /// An element of a list of a STIX object, if that list shares it.
    #[inline]
    pub(super) fn note_shared_element(&mut self) {
        let parent = self.frames.len().checked_sub(2).map_or(Meaning::Nothing, |at| self.frames[at].meaning);
        if parent == Meaning::GrantedRefs {
            self.note_sharing();
        }
    }

    /// The current value names who is given access.
    #[cold]
    pub(super) fn note_sharing(&mut self) {
        let key = self.frames.iter().rev().find(|frame| frame.object).map(|frame| frame.key);
        let key = key.map(shown).unwrap_or_default();
        let what = || format!("gives organizations access, by \"{key}\"");
        let place = self.frames.iter().rposition(|frame| frame.object).map_or(0, |at| at + 1);
        self.notice(|out| &mut out.sharing, place, "", what);
    }

    /// A STIX object that just ended is a word of the platform's lists; `member` says so.
    #[cold]
    pub(super) fn note_vocabulary(&mut self, member: &str) {
        self.notice(|out| &mut out.vocabularies, self.frames.len(), member, || "is a vocabulary".to_owned());
    }

    /// An embedded file at this place is a bundle or a feed itself.
    pub(super) fn note_nested_file(&mut self, place: &str) {
        let object = self.object_so_far();
        let noticed = &mut self.out.nested_files;
        noticed.count += 1;
        if noticed.count == 1 {
            noticed.what = format!("{object} holds a file that is a bundle or a feed itself (JSON, XML or STIX)");
            place.clone_into(&mut noticed.place);
        }
    }

    fn notice(
        &mut self,
        of: impl Fn(&mut Contents) -> &mut Noticed,
        frames: usize,
        member: &str,
        what: impl FnOnce() -> String,
    ) {
        of(&mut self.out).count += 1;
        if of(&mut self.out).count == 1 {
            let slash = if member.is_empty() { "" } else { "/" };
            let place = format!("{}{slash}{member}", self.pointer(frames));
            let what = format!("{} {}", self.object_so_far(), what());
            *of(&mut self.out) = Noticed { count: 1, what, place };
        }
    }

    /// The object that is being read, by its number: its id may still come.
    fn object_so_far(&self) -> String {
        match self.out.objects.checked_sub(1) {
            Some(index) => format!("objects[{index}]"),
            None => "the bundle".to_owned(),
        }
    }

    /// A key that is there twice, is too long, or is one too many.
    #[cold]
    pub(super) fn note_key(&mut self, key: Text<'a>, seen: KeySeen) {
        let bytes = key.raw().len();
        if bytes > limits::KEY_LENGTH_MAX {
            self.note(Code::TooLong, || format!("has a key of {bytes} bytes"));
        }
        match seen {
            KeySeen::New => {}
            KeySeen::Twice => self.note(Code::DuplicateKey, || format!("has the key \"{}\" twice", shown(key))),
            KeySeen::TooMany => {
                let (own, open) = (limits::KEYS_MAX, limits::OPEN_KEYS_MAX);
                self.note(Code::TooMany, || {
                    format!("has an object of more than {own} keys, or more than {open} with those around it")
                });
            }
        }
    }

    /// An element of the bundle's `objects` is no object.
    pub(super) fn note_no_object(&mut self, value: JsonEvent<'a>) {
        self.count_object();
        count(&mut self.out.types, "?");
        if self.has_room(Code::Unsplittable) {
            let index = self.out.objects - 1;
            let what = format!("objects[{index}] is {}, where an object belongs", named(value));
            self.add(Code::Unsplittable, what, self.pointer(self.frames.len()));
        }
    }

    /// A STIX object's member is something that pycti cannot use.
    pub(super) fn note_misplaced(&mut self, value: JsonEvent<'a>, meaning: Meaning) {
        let Some(key) = self.frames.last().map(|frame| frame.key) else {
            return;
        };
        self.note(Code::Unsplittable, || misplaced(named(value), key, meaning));
    }

    /// An element of a list in a STIX object is something that pycti cannot use.
    pub(super) fn note_element(&mut self, value: JsonEvent<'a>) {
        let [.., parent, _] = &self.frames[..] else {
            return;
        };
        let (key, refs) = (parent.key, parent.meaning.is_refs());
        self.note(Code::Unsplittable, || {
            let expected = if refs { "ids belong" } else { "objects belong" };
            format!("has {} among \"{}\", where {expected}", named(value), shown(key))
        });
    }

    /// The first key or element of what may only be there empty.
    #[cold]
    pub(super) fn first_inside(&mut self) {
        let outside = self.frames.len() - 1;
        let [.., parent, frame] = &mut self.frames[..] else {
            return;
        };
        let (key, meaning) = (parent.key, parent.meaning);
        let found = if frame.object { "an object" } else { "a list" };
        match std::mem::replace(&mut frame.role, BundleRole::Other) {
            BundleRole::UpsertOperations => self.note_upsert_operations(outside),
            _ => self.note_at(outside, Code::Unsplittable, || misplaced(found, key, meaning)),
        }
    }

    /// A number of many characters: Python reads integers only up to some length, other numbers always.
    #[cold]
    pub(super) fn note_number(&mut self, number: &'a str) {
        let digits = number.trim_start_matches('-').len();
        if python::check_number(number) == Err(python::OddNumber::TooLong) {
            self.note(Code::Unsplittable, || format!("has a number of {digits} digits, which Python refuses"));
        }
    }

    /// The JSON pointer to the value that the first so many frames lead to; long ones are cut.
    pub(super) fn pointer(&self, frames: usize) -> String {
        let mut pointer = String::from("/bundle");
        for frame in &self.frames[..frames] {
            if pointer.len() > limits::KEY_LENGTH_MAX {
                break;
            } else if frame.object {
                let key = beginning(frame.key);
                let _ = write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"));
            } else {
                let _ = write!(pointer, "/{}", frame.index);
            }
        }
        harmless(&pointer)
    }
}

fn misplaced(found: &str, key: Text<'_>, meaning: Meaning) -> String {
    format!("has {found} in \"{}\", where {} belongs", shown(key), meaning.expected())
}

/// A stranger's text for people.
pub(super) fn shown(text: Text<'_>) -> String {
    harmless(&beginning(text))
}

/// A text, or as much of it as is worth looking at: it may be 256 MiB, and be shown many times.
pub(super) fn beginning(text: Text<'_>) -> Cow<'_, str> {
    let raw = text.raw();
    if raw.len() <= limits::KEY_LENGTH_MAX {
        return text.lossy();
    }
    let end = (0..=limits::KEY_LENGTH_MAX).rev().find(|at| raw.is_char_boundary(*at));
    Cow::Borrowed(&raw[..end.unwrap_or(0)])
}
