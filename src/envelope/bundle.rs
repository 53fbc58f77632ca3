//! The one pass over a bundle. It keeps the path to the current place, the keys of the open objects and a few
//! facts of the current STIX object, so that nothing hides at any depth and nothing is kept.

mod files;
mod notes;

use super::contents::{Contents, count};
use super::item::{End, Item};
use super::meaning::Meaning;
use super::{NotAnEnvelope, ReadRefusal, named};
use crate::code::Code;
use crate::json::keys::{KeySeen, Keys};
use crate::json::{JsonEvent, Scanner, Text};
use crate::limits;
use crate::objects::ObjectKeys;
use crate::opencti::{Tlp, python};

/// Reads a bundle whose opening brace was the scanner's last event, to its closing brace.
pub(super) fn read<'a>(
    scanner: &mut Scanner<'a>,
    objects: Option<&'a mut ObjectKeys>,
) -> Result<Contents, ReadRefusal> {
    let mut pass = Pass { listed: objects, ..Pass::default() };
    pass.open(BundleRole::Bundle, true);
    while !pass.frames.is_empty() {
        match scanner.next()? {
            JsonEvent::Key(key) => pass.key(key),
            event @ (JsonEvent::ObjectStart | JsonEvent::ArrayStart) => pass.container(event)?,
            JsonEvent::ObjectEnd | JsonEvent::ArrayEnd => pass.close(),
            scalar => pass.scalar(scalar)?,
        }
    }
    if pass.has_objects { Ok(pass.out) } else { Err(NotAnEnvelope::Missing { field: "bundle.objects" }.into()) }
}

/// Marking definitions kept whose words claim a level.
const CLAIMS_MAX: usize = 32;

/// What an open object or list is to us.
#[derive(Clone, Copy, PartialEq)]
enum BundleRole {
    /// The bundle itself.
    Bundle,
    /// Its list of objects.
    Objects,
    /// One of these: a STIX object.
    Item,
    /// A STIX object's own `*_refs`.
    Refs,
    /// Its `external_references` or `kill_chain_phases`.
    References,
    /// Its `extensions`.
    Extensions,
    /// OpenCTI's own among these.
    OpenctiExtension,
    /// A list of markings below a STIX object's top level.
    Markings,
    /// A list of organizations below a STIX object's top level.
    Granted,
    /// A list of names that a `payload_bin` beside it may have.
    Names,
    /// A list of embedded files, and one of them.
    Files,
    File,
    /// What pycti raises on, unless it is empty.
    Misplaced,
    /// Operations in disguise, unless there are none.
    UpsertOperations,
    Other,
}

/// An open object or list, and where in it we stand.
struct OpenContainer<'a> {
    role: BundleRole,
    object: bool,
    /// The current key of an object.
    key: Text<'a>,
    /// What that key means.
    meaning: Meaning,
    /// The current element of a list; the first makes it 0.
    index: usize,
    /// Decoded bytes of an embedded file in an object, and the key that held it.
    data: Option<(u64, Text<'a>)>,
    mime: Option<Text<'a>>,
    /// Whether the embedded file in it is a bundle or a feed, by its type or its name.
    is_feed: bool,
    /// What `no_trigger_import` says; of several the one that says no.
    no_trigger: Option<bool>,
}

#[derive(Default)]
struct Pass<'a> {
    frames: Vec<OpenContainer<'a>>,
    keys: Keys<'a>,
    item: Item<'a>,
    out: Contents,
    /// Findings of each code so far, the uncounted ones too.
    found: [usize; 6],
    /// Where the current object's findings begin; they get its id when it ends.
    item_findings: usize,
    has_objects: bool,
    /// Where the ids of objects are listed, if that is wanted.
    listed: Option<&'a mut ObjectKeys>,
}

impl<'a> Pass<'a> {
    #[inline]
    fn open(&mut self, role: BundleRole, object: bool) {
        if object {
            self.keys.open();
        }
        let (key, meaning) = (Text::unescaped(""), Meaning::Nothing);
        let (data, mime, is_feed, no_trigger) = (None, None, false, None);
        self.frames.push(OpenContainer {
            role,
            object,
            key,
            meaning,
            index: usize::MAX,
            data,
            mime,
            is_feed,
            no_trigger,
        });
    }

    #[inline]
    fn key(&mut self, key: Text<'a>) {
        let meaning = Meaning::of(key);
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        (frame.key, frame.meaning) = (key, meaning);
        let role = frame.role;
        let seen = self.keys.take(key);
        if seen != KeySeen::New || key.raw().len() > limits::KEY_LENGTH_MAX {
            self.note_key(key, seen);
        }
        match role {
            BundleRole::Item if meaning == Meaning::Id => self.item.id = None,
            BundleRole::Item if meaning == Meaning::Type => self.item.type_begins(),
            BundleRole::Misplaced | BundleRole::UpsertOperations => self.first_inside(),
            _ => {}
        }
    }

    fn container(&mut self, event: JsonEvent<'a>) -> Result<(), ReadRefusal> {
        let object = event == JsonEvent::ObjectStart;
        let Some((role, meaning)) = self.begin_value() else {
            return Ok(());
        };
        match meaning {
            Meaning::Operation => self.note_operation(event),
            // An empty list names nobody; of others the elements are looked at.
            Meaning::GrantedRefs | Meaning::GrantedRef if object => self.note_sharing(),
            _ => {}
        }
        let child = match (role, meaning) {
            (BundleRole::Bundle, Meaning::Objects) if object => return Err(objects_are(event)),
            (BundleRole::Bundle, Meaning::Objects) => {
                self.has_objects = true;
                BundleRole::Objects
            }
            (BundleRole::Objects, _) if object => {
                self.begin_item();
                BundleRole::Item
            }
            (BundleRole::Objects, _) => {
                self.note_no_object(event);
                BundleRole::Other
            }
            (BundleRole::Refs | BundleRole::References, _) if role == BundleRole::Refs || !object => {
                self.note_shared_element();
                self.note_element(event);
                BundleRole::Other
            }
            (BundleRole::Granted, _) => {
                self.note_sharing();
                BundleRole::Other
            }
            (BundleRole::Item, _) => self.item_member(object, meaning, event),
            (BundleRole::Extensions, Meaning::OpenctiExtension) if object => BundleRole::OpenctiExtension,
            (BundleRole::Extensions, Meaning::OpenctiExtension) => BundleRole::Misplaced,
            (BundleRole::OpenctiExtension, Meaning::Id) => BundleRole::Misplaced,
            (BundleRole::Files, _) if object => BundleRole::File,
            _ => common_member(object, meaning),
        };
        self.open(child, object);
        Ok(())
    }

    /// What a list or object in a member of a STIX object is; splitting looks at these.
    fn item_member(&mut self, object: bool, meaning: Meaning, event: JsonEvent<'a>) -> BundleRole {
        match meaning {
            _ if meaning.is_refs() && object => BundleRole::Misplaced,
            _ if meaning.is_refs() => {
                if meaning == Meaning::WhereSighted {
                    self.item.where_sighted = End::Dropped;
                }
                BundleRole::Refs
            }
            _ if meaning.is_ref() => {
                self.note_misplaced(event, meaning);
                BundleRole::Other
            }
            Meaning::References if object => BundleRole::Misplaced,
            Meaning::References => BundleRole::References,
            Meaning::Extensions if object => BundleRole::Extensions,
            Meaning::Extensions | Meaning::InternalId => BundleRole::Misplaced,
            _ => common_member(object, meaning),
        }
    }

    #[inline]
    fn scalar(&mut self, value: JsonEvent<'a>) -> Result<(), ReadRefusal> {
        let Some((role, meaning)) = self.begin_value() else {
            return Ok(());
        };
        if let JsonEvent::Number(digits) = value
            && digits.len() > python::DIGITS_MAX
        {
            self.note_number(digits);
        }
        if role == BundleRole::Refs {
            self.note_shared_element();
            self.reference(value);
            return Ok(());
        }
        let is_list_of_ours = matches!(
            role,
            BundleRole::Objects
                | BundleRole::References
                | BundleRole::Markings
                | BundleRole::Granted
                | BundleRole::Names
        );
        if meaning == Meaning::Nothing && !is_list_of_ours {
            return Ok(());
        }
        match (role, meaning) {
            (_, Meaning::Operation) => self.note_operation(value),
            (_, Meaning::UpsertOperations) if value != JsonEvent::Null => {
                self.note_upsert_operations(self.frames.len());
            }
            (BundleRole::Bundle, Meaning::Objects) => return Err(objects_are(value)),
            (BundleRole::Objects, _) => self.note_no_object(value),
            (BundleRole::References, _) => self.note_element(value),
            (BundleRole::Markings, _) => self.marking(value),
            (BundleRole::Granted, _) => self.note_sharing(),
            (BundleRole::Names, _) => self.additional_name(value),
            (_, Meaning::MarkingRef | Meaning::MarkingRefs) => {
                self.marking(value);
                if role == BundleRole::Item {
                    self.item_scalar(meaning, value);
                }
            }
            (BundleRole::Item, _) => self.item_scalar(meaning, value),
            (BundleRole::Extensions, Meaning::OpenctiExtension) if is_true(value) => {
                self.note_misplaced(value, meaning)
            }
            (BundleRole::File, Meaning::Data) => self.file(value),
            (BundleRole::File, Meaning::Name) => self.file_name(value),
            (BundleRole::File, Meaning::NoTriggerImport) => self.no_trigger_import(value),
            _ => {}
        }
        match meaning {
            Meaning::MimeType => self.mime_type(value),
            Meaning::PayloadBin => self.file(value),
            Meaning::AdditionalNames => self.additional_name(value),
            Meaning::GrantedRefs | Meaning::GrantedRef if !is_empty(value) => self.note_sharing(),
            Meaning::Name | Meaning::Definition | Meaning::TlpLevel => self.claim_of_tlp(meaning, value),
            _ => {}
        }
        Ok(())
    }

    /// A member of a STIX object that is neither list nor object.
    fn item_scalar(&mut self, meaning: Meaning, value: JsonEvent<'a>) {
        match (meaning, value) {
            (Meaning::Id, JsonEvent::String(id)) => {
                self.item.id = Some(id);
                // Under a key that stands twice a reader may take either.
                if let Some(listed) = &mut self.listed {
                    listed.add(&id.decoded());
                }
            }
            (Meaning::Type, JsonEvent::String(type_)) => self.item.type_ = Some(type_),
            (_, JsonEvent::String(end)) if meaning.is_ref() => self.end(meaning, End::At(end)),
            (_, JsonEvent::Null) if meaning.is_ref() => self.end(meaning, End::Dropped),
            (Meaning::WhereSighted, JsonEvent::Null) => self.item.where_sighted = End::Null,
            (Meaning::Extensions, _) if is_true(value) => self.note_misplaced(value, meaning),
            (Meaning::References, _) if !is_empty(value) => self.note_misplaced(value, meaning),
            _ if meaning.is_refs() && !is_empty(value) => self.note_misplaced(value, meaning),
            _ if meaning.is_ref() => self.note_misplaced(value, meaning),
            _ => {}
        }
    }

    fn end(&mut self, meaning: Meaning, end: End<'a>) {
        match meaning {
            Meaning::SourceRef => self.item.source = end,
            Meaning::TargetRef => self.item.target = end,
            Meaning::SightingOf => self.item.sighting_of = end,
            _ => {}
        }
    }

    /// An element of a `*_refs` of a STIX object.
    fn reference(&mut self, value: JsonEvent<'a>) {
        let JsonEvent::String(target) = value else {
            return self.note_element(value);
        };
        let parent = self.frames.len().checked_sub(2).map_or(Meaning::Nothing, |at| self.frames[at].meaning);
        match parent {
            Meaning::MarkingRefs => self.marking(value),
            Meaning::WhereSighted => self.item.sighted_by(target),
            _ => {}
        }
    }

    fn marking(&mut self, value: JsonEvent<'a>) {
        let JsonEvent::String(marking) = value else {
            return;
        };
        let bytes = marking.raw().len();
        if bytes > limits::ID_LENGTH_MAX {
            self.note(Code::TooLong, || format!("has a marking of {bytes} bytes"));
        }
        let marking = marking.lossy();
        count(&mut self.out.markings, &marking);
        if let Some(tlp) = Tlp::of_marking(&marking) {
            self.out.tlp.entry(tlp).or_insert_with(|| (0, marking.into_owned())).0 += 1;
        }
    }

    /// Words that may say of which level a marking definition is.
    fn claim_of_tlp(&mut self, meaning: Meaning, value: JsonEvent<'a>) {
        let JsonEvent::String(words) = value else { return };
        let words = notes::beginning(words);
        let claimed = match meaning {
            Meaning::TlpLevel => Some(Tlp::of_word(&words).unwrap_or(Tlp::Red)),
            _ => Tlp::of_definition(&words),
        };
        self.item.claimed_tlp = self.item.claimed_tlp.max(claimed);
    }

    /// A value begins: in what, and as what.
    #[inline]
    fn begin_value(&mut self) -> Option<(BundleRole, Meaning)> {
        let frame = self.frames.last_mut()?;
        if !frame.object {
            frame.index = frame.index.wrapping_add(1);
            if matches!(frame.role, BundleRole::Misplaced | BundleRole::UpsertOperations) {
                self.first_inside();
                return Some((BundleRole::Other, Meaning::Nothing));
            }
        }
        Some((frame.role, frame.meaning))
    }

    #[inline]
    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if !frame.object {
            return;
        }
        self.keys.close();
        if frame.data.is_some() {
            self.end_file(&frame);
        }
        if frame.role == BundleRole::Item {
            self.end_item();
        }
    }

    fn begin_item(&mut self) {
        self.count_object();
        self.item = Item::default();
        self.out.acts.begin_object();
        self.item_findings = self.out.findings.len();
    }

    fn count_object(&mut self) {
        self.out.objects += 1;
        if self.out.objects == limits::OBJECTS_MAX + 1 {
            self.note(Code::TooMany, || format!("holds more than {} objects", limits::OBJECTS_MAX));
        }
    }

    fn end_item(&mut self) {
        let item = std::mem::take(&mut self.item);
        match item.type_ {
            Some(type_) => count(&mut self.out.types, &type_.lossy()),
            None => count(&mut self.out.types, "?"),
        }
        if item.is_compatible() {
            self.out.compatible += 1;
        }
        for (code, member, what) in item.findings() {
            self.note_ended(member, code, what);
        }
        if let Some((name, member, what)) = item.internal_type() {
            self.note_internal_type(&name, member, what);
        }
        if let Some(member) = item.vocabulary() {
            self.note_vocabulary(member);
        }
        if let Some(claimed) = item.claimed_tlp.filter(|_| item.is_marking_definition()) {
            self.keep_claim(item.id, claimed);
        }
        self.name_item(item.id);
    }

    /// Keeps what a marking definition claims to be, if its id does not say so too.
    #[cold]
    fn keep_claim(&mut self, id: Option<Text<'a>>, claimed: Tlp) {
        let id = id.map(Text::lossy).unwrap_or_default();
        if Tlp::of_marking(&id) == Some(claimed) {
            return;
        }
        if self.out.claimed_tlp.len() < CLAIMS_MAX || self.out.claimed_tlp.contains_key(&*id) {
            let kept = self.out.claimed_tlp.entry(id.into_owned()).or_insert(claimed);
            *kept = claimed.max(*kept);
        } else {
            self.out.more_claimed_tlp = self.out.more_claimed_tlp.max(Some(claimed));
        }
    }
}

/// What a list or object under this key is, anywhere in a bundle.
fn common_member(object: bool, meaning: Meaning) -> BundleRole {
    match meaning {
        Meaning::MarkingRefs if !object => BundleRole::Markings,
        Meaning::GrantedRefs | Meaning::GrantedRef if !object => BundleRole::Granted,
        Meaning::AdditionalNames if !object => BundleRole::Names,
        Meaning::Files if !object => BundleRole::Files,
        Meaning::UpsertOperations => BundleRole::UpsertOperations,
        _ => BundleRole::Other,
    }
}

fn objects_are(value: JsonEvent<'_>) -> ReadRefusal {
    NotAnEnvelope::WrongType { field: "bundle.objects", found: named(value), expected: "a list" }.into()
}

/// Python's truth of a value that is neither list nor object.
fn is_true(value: JsonEvent<'_>) -> bool {
    match value {
        JsonEvent::String(text) => !text.raw().is_empty(),
        JsonEvent::Number(digits) => {
            digits.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| b.is_ascii_digit() && b != b'0')
        }
        JsonEvent::Bool(flag) => flag,
        _ => false,
    }
}

/// What pycti walks over without harm where a list belongs.
fn is_empty(value: JsonEvent<'_>) -> bool {
    matches!(value, JsonEvent::Null) || matches!(value, JsonEvent::String(text) if text.raw().is_empty())
}
