//! Takes a bundle apart exactly as pycti does before it publishes one: `OpenCTIStix2Splitter`, in its
//! `split_bundle_with_expectations`, without `cleanup_inconsistent_bundle` and without an event version.
//!
//! Objects come out one by one, dependencies first. What pycti does to them on the way is done here too, with all
//! its oddities, for the platform has only ever seen the outcome: references are dropped that point back, external
//! references and kill chain phases are deduplicated, each object gets its `nb_deps`.

mod count;
mod enlist;
mod identity;
mod index;
mod span;
mod symbols;

use std::fmt::Write;

use super::python;
use crate::json::{JsonEvent, Scanner};
use crate::limits::DEPENDENCY_DIGITS_MAX;
use crate::text::harmless;
pub use count::Count;
use enlist::Enlisted;
use index::{Held, IndexedObject, Member};
use span::Span;
use symbols::SymbolText;

/// What makes pycti raise, or lose a marking: the envelope cannot be delivered in parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unsplittable {
    /// What is wrong, with the object's id; safe to print.
    pub what: String,
    /// Where, as a JSON pointer (RFC 6901) from the envelope's root; safe to print.
    pub place: String,
}

/// An object that pycti passes over, since the platform could not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatible {
    /// Its position in the bundle's `objects`, from 0.
    pub object: usize,
    /// Its id; safe to print.
    pub id: String,
    /// Why.
    pub why: &'static str,
}

/// A bundle taken apart. It holds places in the bundle's text, not the text.
#[derive(Debug)]
pub struct Split {
    /// The bundle's text, where it is not the one that was given: that one has a key twice.
    instead: Option<String>,
    /// The bundle's id, if it has one.
    id: Option<Span>,
    items: Vec<IndexedObject>,
    members: Vec<Member>,
    ids: Vec<SymbolText>,
    lists: Vec<Vec<u32>>,
    references: Vec<Vec<Span>>,
    emitted: Vec<u32>,
    incompatible: Vec<Incompatible>,
}

impl Split {
    /// Takes a bundle apart that is the whole text.
    ///
    /// # Errors
    /// As [`Split::read`].
    pub fn of(bundle: &str) -> Result<Self, Unsplittable> {
        let mut scanner = Scanner::new(bundle);
        let first = scanner.next().map_err(index::IndexFault::from)?;
        let split = Self::read(&mut scanner, first)?;
        scanner.next().map_err(index::IndexFault::from)?;
        Ok(split)
    }

    /// Takes a bundle apart whose first event was the scanner's last one, and leaves the scanner behind it.
    ///
    /// # Errors
    /// Where pycti raises, and where it would take the text of a marking apart into letters.
    pub fn read<'a>(scanner: &mut Scanner<'a>, first: JsonEvent<'a>) -> Result<Self, Unsplittable> {
        let mut ahead = scanner.clone();
        let fault = match index::read(&mut ahead, first) {
            Ok(index) => {
                *scanner = ahead;
                return Self::from_index(scanner.text(), index);
            }
            Err(fault) => fault,
        };
        let text = scanner.value_of(first).map_err(index::IndexFault::from)?.text();
        if matches!(fault, index::IndexFault::Unsplittable(_)) && !index::has_twice(text) {
            return Err(fault.into());
        }
        // What is wrong may stand under a key that comes again: Python reads all of it, and keeps the last.
        index::refuse_long_numbers(text)?;
        let plain = python::without_duplicate_keys(text).map_err(index::IndexFault::from)?;
        let mut again = Scanner::new(&plain);
        let first = again.next().map_err(index::IndexFault::from)?;
        let mut split = Self::from_index(&plain, index::read(&mut again, first)?)?;
        split.instead = Some(plain);
        Ok(split)
    }

    fn from_index(text: &str, index: index::BundleIndex<'_>) -> Result<Self, Unsplittable> {
        let id = index.id;
        let Enlisted { items, members, ids, lists, references, mut emitted, incompatible } =
            enlist::enlist(text, index)?;
        // Python's sort is stable too.
        emitted.sort_by(|a, b| items[*a as usize].deps.cmp(&items[*b as usize].deps));
        if let Some(most) = emitted.last().filter(|at| !items[**at as usize].deps.is_bounded()) {
            let item = Some(&items[*most as usize]);
            let what = format!("depends on others in a number of more than {DEPENDENCY_DIGITS_MAX} digits");
            return Err(fault(text, *most as usize, item, "", &what));
        }
        Ok(Self { instead: None, id, items, members, ids, lists, references, emitted, incompatible })
    }

    /// How many parts there are: what pycti reports as expectations.
    pub fn expectations(&self) -> usize {
        self.emitted.len()
    }

    /// Bytes of the bundle's own id, which every part repeats.
    pub fn id_bytes(&self) -> usize {
        self.id.map_or(0, Span::length)
    }

    /// Digits that all parts have in `nb_deps` and in `x_opencti_seq`: the bundle has none of them.
    pub fn counted_digits(&self) -> u64 {
        self.emitted.iter().map(|at| 2 * self.items[*at as usize].deps.digits() as u64).sum()
    }

    /// The objects that are passed over, in the order in which pycti comes to them.
    pub fn incompatible(&self) -> &[Incompatible] {
        &self.incompatible
    }

    /// The `nb_deps` of a part's object, which is the part's `x_opencti_seq`.
    pub fn dependencies(&self, part: usize) -> &Count {
        &self.items[self.emitted[part] as usize].deps
    }

    /// The position of a part's object in the bundle's `objects`, from 0.
    pub fn object(&self, part: usize) -> usize {
        self.emitted[part] as usize
    }

    /// The id of an object in the text that was read, safe to print; nothing where it is no text.
    pub fn shown_id(&self, text: &str, object: usize) -> String {
        let text = self.instead.as_deref().unwrap_or(text);
        self.items[object].shown_id(text).unwrap_or_default()
    }

    /// Writes a part: a bundle of one object, as pycti's `stix2_create_bundle` makes it. `text` is the whole that was
    /// read; `spare_id` is its id if it has none, for which pycti makes up a random one.
    pub fn write_part(&self, out: &mut String, text: &str, part: usize, spare_id: &str) {
        let text = self.instead.as_deref().unwrap_or(text);
        out.push_str("{\"type\": \"bundle\", \"id\": ");
        match self.id {
            Some(span) => python::write_value(out, span.value(text)),
            None => python::write_str(out, spare_id),
        }
        let _ =
            write!(out, ", \"spec_version\": \"2.1\", \"x_opencti_seq\": {}, \"objects\": [", self.dependencies(part));
        self.write_object(out, text, self.emitted[part]);
        out.push_str("]}");
    }

    fn write_object(&self, out: &mut String, text: &str, at: u32) {
        let item = &self.items[at as usize];
        out.push('{');
        for member in &self.members[item.members()] {
            python::write_text(out, member.key.as_text(text));
            out.push_str(": ");
            match member.held {
                _ if member.is_deps() => {
                    let _ = write!(out, "{}", item.deps);
                }
                Held::Original(span) => python::write_value(out, span.value(text)),
                Held::Null => out.push_str("null"),
                Held::Ids(list) => write_list(out, &self.lists[list as usize], |out, id| self.write_id(out, text, *id)),
                Held::References(kept) => write_list(out, &self.references[kept as usize], |out, span| {
                    python::write_value(out, span.value(text));
                }),
            }
            out.push_str(", ");
        }
        if item.has_deps_key {
            // The last comma is one too many.
            out.truncate(out.len() - 2);
        } else {
            let _ = write!(out, "\"nb_deps\": {}", item.deps);
        }
        out.push('}');
    }

    fn write_id(&self, out: &mut String, text: &str, id: u32) {
        match &self.ids[id as usize] {
            SymbolText::There(span) => python::write_text(out, span.as_text(text)),
            SymbolText::MadeUp(id) => python::write_str(out, id),
            SymbolText::HalfPair(unit) => {
                let _ = write!(out, "\"\\u{unit:04x}\"");
            }
        }
    }
}

fn write_list<T>(out: &mut String, values: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write(out, value);
    }
    out.push(']');
}

/// What is wrong with an object, and where: the words of all faults here.
fn fault(text: &str, at: usize, item: Option<&IndexedObject>, key: &str, what: &str) -> Unsplittable {
    let id = item.and_then(|item| item.shown_id(text));
    let name = id.map_or_else(|| format!("object {at}"), |id| format!("object {at} ({id})"));
    let key = key.replace('~', "~0").replace('/', "~1");
    let key = if key.is_empty() { key } else { format!("/{key}") };
    Unsplittable { what: format!("{name} {what}"), place: harmless(&format!("/bundle/objects/{at}{key}")) }
}
