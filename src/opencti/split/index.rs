//! The first look at a bundle: where its objects and their members lie, and which ids name them.

use std::ops::Range;

use super::span::Span;
use super::symbols::{Symbols, Unhashable};
use super::{Count, Unsplittable, fault};
use crate::json::keys::{KeySeen, Keys};
use crate::json::{JsonError, JsonEvent, Scanner, Text, Value, ValueKind};
use crate::limits::{KEYS_MAX, OBJECTS_MAX, OPEN_KEYS_MAX};
use crate::opencti::OPENCTI_EXTENSION;
use crate::opencti::python::{self, OddNumber};
use crate::opencti::reference::Reference;
use crate::text::harmless;

/// What a key of a STIX object is to pycti's splitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemRole {
    Type,
    /// Ends in `_refs`.
    Refs,
    WhereSightedRefs,
    MarkingRefs,
    /// Ends in `_ref`.
    Ref,
    SourceRef,
    TargetRef,
    SightingOfRef,
    ExternalReferences,
    KillChainPhases,
    Deps,
    Other,
}

impl ItemRole {
    fn of(key: &[u8]) -> Self {
        match key {
            b"type" => Self::Type,
            b"external_references" => Self::ExternalReferences,
            b"kill_chain_phases" => Self::KillChainPhases,
            b"nb_deps" => Self::Deps,
            _ => match Reference::of(key) {
                Some(Reference::Source) => Self::SourceRef,
                Some(Reference::Target) => Self::TargetRef,
                Some(Reference::SightingOf) => Self::SightingOfRef,
                Some(Reference::WhereSighted) => Self::WhereSightedRefs,
                Some(Reference::Markings) => Self::MarkingRefs,
                Some(Reference::One) => Self::Ref,
                Some(Reference::Many) => Self::Refs,
                None => Self::Other,
            },
        }
    }
}

/// One member of a STIX object.
#[derive(Debug)]
pub struct Member {
    pub key: Span,
    pub role: ItemRole,
    pub held: Held,
}

impl Member {
    /// Whether it is the object's `nb_deps`, which pycti writes over.
    pub fn is_deps(&self) -> bool {
        self.role == ItemRole::Deps
    }
}

/// What a member holds by now.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    Original(Span),
    Null,
    /// A list of ids, by its number.
    Ids(u32),
    /// A list of references or phases, by its number.
    References(u32),
}

/// A STIX object.
#[derive(Debug)]
pub struct IndexedObject {
    first: u32,
    last: u32,
    pub id: u32,
    id_at: Span,
    /// Its `x_opencti_id` and the id in its OpenCTI extension.
    pub internal: [Option<u32>; 2],
    pub deps: Count,
    pub has_deps_key: bool,
}

impl IndexedObject {
    /// Where its members lie among all.
    pub fn members(&self) -> Range<usize> {
        self.first as usize..self.last as usize
    }

    /// Its id for people, if it is a text.
    pub fn shown_id(&self, text: &str) -> Option<String> {
        match self.id_at.value(text).kind() {
            ValueKind::Text(id) => Some(harmless(&id.lossy().chars().take(200).collect::<String>())),
            _ => None,
        }
    }
}

/// A bundle's objects.
pub struct BundleIndex<'a> {
    pub id: Option<Span>,
    pub items: Vec<IndexedObject>,
    pub members: Vec<Member>,
    pub symbols: Symbols<'a>,
}

/// Why a bundle is not indexed.
pub enum IndexFault {
    /// Some object has a key twice.
    Twice,
    Unsplittable(Unsplittable),
}

impl From<JsonError> for IndexFault {
    fn from(error: JsonError) -> Self {
        Self::Unsplittable(Unsplittable { what: format!("is no JSON: {error}"), place: "/bundle".into() })
    }
}

impl From<python::NotPlain> for IndexFault {
    fn from(fault: python::NotPlain) -> Self {
        of_bundle(&format!("the bundle {fault}")).into()
    }
}

impl From<Unsplittable> for IndexFault {
    fn from(fault: Unsplittable) -> Self {
        Self::Unsplittable(fault)
    }
}

impl From<IndexFault> for Unsplittable {
    fn from(fault: IndexFault) -> Self {
        match fault {
            IndexFault::Unsplittable(fault) => fault,
            IndexFault::Twice => Self { what: "has a key twice".into(), place: "/bundle".into() },
        }
    }
}

/// Reads a bundle whose first event was the scanner's last one: pycti's first loop, in which an object without an id
/// raises, and so on. Places count from the beginning of the scanner's text.
pub fn read<'a>(scanner: &mut Scanner<'a>, first: JsonEvent<'a>) -> Result<BundleIndex<'a>, IndexFault> {
    let mut reader = IndexReader { text: scanner.text(), scanner, keys: Keys::default() };
    let mut index = BundleIndex { id: None, items: Vec::new(), members: Vec::new(), symbols: Symbols::default() };
    if first != JsonEvent::ObjectStart {
        return Err(of_bundle("the bundle is no object").into());
    }
    reader.keys.open();
    let mut has_objects = false;
    while let JsonEvent::Key(key) = reader.scanner.next()? {
        reader.key(key)?;
        let first = reader.scanner.next()?;
        match key.decoded().as_ref() {
            b"objects" if first == JsonEvent::ArrayStart => {
                has_objects = true;
                reader.objects(&mut index)?;
            }
            b"objects" => return Err(of_bundle("objects is no list").into()),
            b"id" => index.id = Some(reader.value(first)?),
            _ => drop(reader.value(first)?),
        }
    }
    if has_objects { Ok(index) } else { Err(of_bundle("the bundle has no objects").into()) }
}

fn of_bundle(what: &str) -> Unsplittable {
    Unsplittable { what: what.into(), place: "/bundle".into() }
}

struct IndexReader<'s, 'a> {
    text: &'a str,
    scanner: &'s mut Scanner<'a>,
    keys: Keys<'a>,
}

impl<'a> IndexReader<'_, 'a> {
    fn objects(&mut self, index: &mut BundleIndex<'a>) -> Result<(), IndexFault> {
        loop {
            let at = index.items.len();
            match self.scanner.next()? {
                JsonEvent::ObjectStart if at as u64 == OBJECTS_MAX => {
                    return Err(of_bundle(&format!("the bundle has more than {OBJECTS_MAX} objects")).into());
                }
                JsonEvent::ObjectStart => {
                    let item = self.object(index, at)?;
                    index.items.push(item);
                }
                JsonEvent::ArrayEnd => return Ok(()),
                _ => return Err(fault(self.text, at, None, "", "is no object").into()),
            }
        }
    }

    fn object(&mut self, index: &mut BundleIndex<'a>, at: usize) -> Result<IndexedObject, IndexFault> {
        self.keys.open();
        let first = index.members.len() as u32;
        let (mut id, mut opencti_id, mut extensions, mut has_deps_key) = (None, None, None, false);
        while let JsonEvent::Key(key) = self.scanner.next()? {
            self.key(key)?;
            let begins = self.scanner.next()?;
            let value = self.value(begins)?;
            let name = key.decoded();
            match name.as_ref() {
                b"id" => id = Some(value),
                b"x_opencti_id" => opencti_id = Some(value),
                b"extensions" => extensions = Some(value),
                _ => {}
            }
            let role = ItemRole::of(&name);
            has_deps_key |= role == ItemRole::Deps;
            index.members.push(Member { key: Span::of(self.text, key.raw()), role, held: Held::Original(value) });
        }
        self.keys.close();
        let text = self.text;
        let Some(id_at) = id else { return Err(fault(text, at, None, "", "has no id").into()) };
        let mut symbol = |span: Span, key: &str| {
            let number = index.symbols.of_value(text, span.value(text));
            number.map_err(|Unhashable| {
                fault(text, at, None, key, &format!("has a list or an object in {key}, where an id belongs"))
            })
        };
        let id = symbol(id_at, "id")?;
        let opencti_id = opencti_id.filter(|span| span.value(text).is_true());
        let internal = [
            opencti_id.map(|span| symbol(span, "x_opencti_id")).transpose()?,
            extension_id(text, extensions, at)?.map(|span| symbol(span, "extensions")).transpose()?,
        ];
        let last = index.members.len() as u32;
        Ok(IndexedObject { first, last, id, id_at, internal, deps: Count::NONE, has_deps_key })
    }

    fn key(&mut self, key: Text<'a>) -> Result<(), IndexFault> {
        match self.keys.take(key) {
            KeySeen::New => Ok(()),
            KeySeen::Twice => Err(IndexFault::Twice),
            KeySeen::TooMany => Err(of_bundle(&format!(
                "an object of it has more than {KEYS_MAX} keys, or more than {OPEN_KEYS_MAX} with those around it"
            ))
            .into()),
        }
    }

    /// The rest of a value, in which keys and numbers are looked at.
    fn value(&mut self, first: JsonEvent<'a>) -> Result<Span, IndexFault> {
        let from = self.scanner.start_of(first);
        match first {
            JsonEvent::Number(digits) => self.number(digits)?,
            JsonEvent::ObjectStart | JsonEvent::ArrayStart => {
                let outside = self.scanner.depth() - 1;
                if first == JsonEvent::ObjectStart {
                    self.keys.open();
                }
                while self.scanner.depth() > outside {
                    match self.scanner.next()? {
                        JsonEvent::Key(key) => self.key(key)?,
                        JsonEvent::ObjectStart => self.keys.open(),
                        JsonEvent::ObjectEnd => self.keys.close(),
                        JsonEvent::Number(digits) => self.number(digits)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(Span::between(from, self.scanner.offset()))
    }

    fn number(&self, digits: &str) -> Result<(), IndexFault> {
        check_number(digits, self.scanner.offset()).map_err(IndexFault::from)
    }
}

fn check_number(digits: &str, offset: usize) -> Result<(), Unsplittable> {
    let what = match python::check_number(digits) {
        Ok(()) => return Ok(()),
        Err(OddNumber::TooLong) => format!("a number of {} digits, which Python refuses", digits.len()),
        Err(OddNumber::Infinite) => {
            let shown: String = digits.chars().take(40).collect();
            format!("the number {shown}, which Python takes for Infinity; that is no JSON any more")
        }
    };
    Err(Unsplittable { what: format!("the bundle has {what}"), place: format!("/bundle, before byte {offset}") })
}

/// Refuses what Python does not even read, at any place.
pub fn refuse_long_numbers(text: &str) -> Result<(), Unsplittable> {
    let mut scanner = Scanner::new(text);
    loop {
        match scanner.next().map_err(|error| Unsplittable::from(IndexFault::from(error)))? {
            JsonEvent::Number(digits) if python::check_number(digits) == Err(OddNumber::TooLong) => {
                return check_number(digits, scanner.offset());
            }
            JsonEvent::End => return Ok(()),
            _ => {}
        }
    }
}

/// Whether some object has a key twice.
pub fn has_twice(text: &str) -> bool {
    let (mut scanner, mut keys) = (Scanner::new(text), Keys::default());
    loop {
        match scanner.next() {
            Ok(JsonEvent::ObjectStart) => keys.open(),
            Ok(JsonEvent::ObjectEnd) => keys.close(),
            Ok(JsonEvent::Key(key)) if keys.take(key) == KeySeen::Twice => return true,
            Ok(JsonEvent::End) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// The id in the OpenCTI extension, if there is one that Python takes for true.
fn extension_id(text: &str, extensions: Option<Span>, at: usize) -> Result<Option<Span>, Unsplittable> {
    let is_true = |value: &Value<'_>| value.is_true();
    let raises = |what| fault(text, at, None, "extensions", what);
    let Some(extensions) = extensions.map(|span| span.value(text)).filter(is_true) else { return Ok(None) };
    if extensions.kind() != ValueKind::Object {
        return Err(raises("has extensions that are no object"));
    }
    let Some(extension) = extensions.get(OPENCTI_EXTENSION).filter(is_true) else { return Ok(None) };
    if extension.kind() != ValueKind::Object {
        return Err(raises("has an OpenCTI extension that is no object"));
    }
    Ok(extension.get("id").filter(is_true).map(|id| Span::of(text, id.text())))
}
