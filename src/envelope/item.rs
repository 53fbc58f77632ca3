//! The few facts of one STIX object that decide whether pycti's splitter takes it.

use crate::code::Code;
use crate::json::Text;
use crate::limits;
use crate::opencti::{self, Tlp};
use crate::text::harmless;

/// What is known of the STIX object that is being read. Under duplicate keys the last one holds, as in Python.
#[derive(Default)]
pub(super) struct Item<'a> {
    /// Its id, if that is a text.
    pub(super) id: Option<Text<'a>>,
    /// Its type, if that is a text.
    pub(super) type_: Option<Text<'a>>,
    has_type: bool,
    /// Where it points, if it is a relationship or a sighting.
    pub(super) source: End<'a>,
    pub(super) target: End<'a>,
    pub(super) sighting_of: End<'a>,
    pub(super) where_sighted: End<'a>,
    /// The level of the traffic light protocol that its words claim, if it defines a marking.
    pub(super) claimed_tlp: Option<Tlp>,
    /// Whether one of its additional names is that of a bundle or a feed: a `payload_bin` is a file of that name.
    pub(super) has_feed_name: bool,
}

/// An end of a relationship or a sighting.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum End<'a> {
    /// No such key.
    #[default]
    Absent,
    /// Null where pycti takes a length.
    Null,
    /// Null, or no element that the splitter would keep.
    Dropped,
    /// The id of something.
    At(Text<'a>),
}

impl End<'_> {
    /// Whether it is still an end after splitting: not if it points at its own object, or at a type that the
    /// splitter does not know.
    fn holds(self, own: &str) -> bool {
        let Self::At(id) = self else { return false };
        let id = id.lossy();
        id != own && opencti::is_supported_id(&id)
    }
}

impl<'a> Item<'a> {
    /// Its key `type` was seen; the value follows.
    pub(super) fn type_begins(&mut self) {
        (self.has_type, self.type_) = (true, None);
    }

    /// Takes an element of `where_sighted_refs`: the first that the splitter keeps is enough.
    pub(super) fn sighted_by(&mut self, id: Text<'a>) {
        if opencti::is_supported_id(&id.lossy()) && !matches!(self.where_sighted, End::At(_)) {
            self.where_sighted = End::At(id);
        }
    }

    /// Whether the splitter would emit it (the end of pycti's `enlist_element`), as far as the object alone tells.
    pub(super) fn is_compatible(&self) -> bool {
        let Some(id) = self.id.map(Text::lossy) else {
            return false;
        };
        match self.type_.map(Text::lossy).as_deref() {
            Some("relationship") => self.source.holds(&id) && self.target.holds(&id),
            Some("sighting") => self.sighting_of.holds(&id) && matches!(self.where_sighted, End::At(_)),
            _ => self.has_type && opencti::is_supported_id(&id),
        }
    }

    /// What is wrong with the object as a whole: code, the member meant, what.
    pub(super) fn findings(&self) -> Vec<(Code, &'static str, String)> {
        let mut findings = Vec::new();
        let mut add = |code, member, what: &str| findings.push((code, member, what.to_owned()));
        let id = self.id.map(Text::lossy);
        let type_ = self.type_.map(Text::lossy);
        match id.as_deref() {
            None => add(Code::Unsplittable, "", "has no id that is a text"),
            Some(id) if id.len() > limits::ID_LENGTH_MAX => add(Code::TooLong, "id", "has an id that is too long"),
            Some(_) => {}
        }
        match type_.as_deref() {
            Some(type_) if type_.len() > limits::ID_LENGTH_MAX => {
                add(Code::TooLong, "type", "has a type that is too long");
            }
            Some("relationship") => {
                for (end, key) in [(self.source, "source_ref"), (self.target, "target_ref")] {
                    if end == End::Absent {
                        add(Code::Unsplittable, key, &format!("is a relationship without {key}"));
                    }
                }
            }
            Some("sighting") if self.where_sighted == End::Null => {
                add(Code::Unsplittable, "where_sighted_refs", "is a sighting whose where_sighted_refs is null");
            }
            None if !self.has_type => add(Code::Unsplittable, "", "has no type"),
            _ => {}
        }
        findings
    }

    /// The internal type that the object is of: the type, the member that says so, and what that is in words.
    pub(super) fn internal_type(&self) -> Option<(String, &'static str, String)> {
        self.type_or_prefix(opencti::is_internal).map(|(name, member)| {
            let says = if member == "type" { "is of the internal type" } else { "has the id of the internal type" };
            let what = format!("{says} {}", harmless(&name));
            (name, member, what)
        })
    }

    /// Whether it is a word of one of the platform's lists; and the member that says so.
    pub(super) fn vocabulary(&self) -> Option<&'static str> {
        self.type_or_prefix(|name| name == "vocabulary").map(|(_, member)| member)
    }

    /// Whether it defines a marking.
    pub(super) fn is_marking_definition(&self) -> bool {
        self.type_or_prefix(|name| name == "marking-definition").is_some()
    }

    /// Its type, or the type that its id names, if that is one of these; and the member that says so.
    fn type_or_prefix(&self, is_one: impl Fn(&str) -> bool) -> Option<(String, &'static str)> {
        let type_ = self.type_.map(Text::lossy);
        if let Some(type_) = type_.filter(|type_| is_one(type_)) {
            return Some((type_.into_owned(), "type"));
        }
        let id = self.id.map(Text::lossy)?;
        let prefix = opencti::type_of_id(&id).filter(|prefix| is_one(prefix))?;
        Some((prefix.to_owned(), "id"))
    }
}
