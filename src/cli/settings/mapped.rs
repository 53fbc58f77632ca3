//! `[applicants]` in airpouch.toml: entries, and tables of entries for one stream or one key alone.

use std::collections::BTreeMap;
use std::fmt;

use airpouch::applicants::{AppliesTo, Mapping, UserId};
use airpouch::digest::Digest;
use airpouch::error::{Error, Result};
use airpouch::limits::APPLICANT_NAME_MAX;
use airpouch::stream::StreamId;
use airpouch::text::harmless;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Settings;

/// The keys of an entry that is a table.
const TO: &str = "to";
const NAME: &str = "name";

/// The value of a key of `[applicants]`.
#[derive(Debug, Clone)]
pub(super) enum MapsTo {
    /// The key is an applicant.
    User(MappedEntry),
    /// The key is a stream or the fingerprint of a key that signs, with applicants of its own.
    Narrowed(BTreeMap<String, MappedEntry>),
    /// It can be read in two ways, or in none: why.
    Neither(String),
}

/// The user for an applicant, and what a person here calls that applicant.
#[derive(Debug, Clone)]
pub(super) struct MappedEntry {
    to: UserId,
    name: Option<String>,
}

impl MapsTo {
    /// Refuses what can be read in two ways: whether the key is an applicant, or a stream or key with applicants of its own.
    pub(super) fn check(&self, key: &str) -> Result<()> {
        let key = harmless(key);
        let why = match self {
            Self::Neither(why) => why.clone(),
            Self::User(_) if key.trim().parse::<Digest>().is_ok() => {
                format!("it has the key {TO:?} of an applicant's entry, and it is named like the fingerprint of a key")
            }
            Self::User(_) | Self::Narrowed(_) => return Ok(()),
        };
        Err(Error::usage(format!("[applicants.\"{key}\"]: {why}")).advise(format!(
            "an applicant is {key:?} = {{ to = \"ID OF THE USER HERE\", name = \"NAME\" }}; the table of a stream or key has neither {TO} nor {NAME}"
        )))
    }
}

/// Whether a key of a table is one of an entry. One in another case is neither that nor an applicant's id.
fn is_of_entry(key: &str) -> bool {
    [TO, NAME].contains(&key.trim().to_ascii_lowercase().as_str())
}

/// What a table below `[applicants]` holds, key by key. All of it is read, so that a value that is none is reported where
/// it stands.
#[derive(Default)]
struct EntryTable {
    to: Option<UserId>,
    name: Option<String>,
    others: BTreeMap<String, MappedEntry>,
    mistyped: Option<String>,
}

impl EntryTable {
    fn read<'de, A: MapAccess<'de>>(mut map: A) -> std::result::Result<Self, A::Error> {
        let mut table = Self::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                TO => table.to = Some(map.next_value()?),
                NAME => table.name = Some(map.next_value::<GivenName>()?.0),
                _ if is_of_entry(&key) => {
                    map.next_value::<IgnoredAny>()?;
                    table.mistyped = Some(key);
                }
                _ => drop(table.others.insert(key, map.next_value()?)),
            }
        }
        Ok(table)
    }

    /// Why it is no entry, though it has a key of one.
    fn is_no_entry(&self) -> Option<String> {
        let harmless = |key: &String| harmless(key);
        match (&self.mistyped, self.others.keys().next(), &self.to) {
            (Some(key), _, _) => Some(format!("{:?} is neither {TO:?} nor {NAME:?}", harmless(key))),
            (None, Some(key), _) => {
                let has = if self.to.is_some() { TO } else { NAME };
                Some(format!("it has both {has:?} and {:?}", harmless(key)))
            }
            (None, None, None) => Some(format!("it has no {TO:?}")),
            (None, None, Some(_)) => None,
        }
    }
}

impl<'de> Deserialize<'de> for MapsTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct EntryOrTable;
        impl<'de> Visitor<'de> for EntryOrTable {
            type Value = MapsTo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a string with the id of a user, a table with `to` and `name`, or a table with the applicants of one stream or key",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<MapsTo, E> {
                let to = UserId::parse(text).map_err(E::custom)?;
                Ok(MapsTo::User(MappedEntry { to, name: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<MapsTo, A::Error> {
                let table = EntryTable::read(map)?;
                if table.to.is_none() && table.name.is_none() && table.mistyped.is_none() {
                    return Ok(MapsTo::Narrowed(table.others));
                }
                Ok(match (table.is_no_entry(), table.to) {
                    (None, Some(to)) => MapsTo::User(MappedEntry { to, name: table.name }),
                    (why, _) => MapsTo::Neither(why.unwrap_or_default()),
                })
            }
        }
        deserializer.deserialize_any(EntryOrTable)
    }
}

impl<'de> Deserialize<'de> for MappedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct EntryAlone;
        impl<'de> Visitor<'de> for EntryAlone {
            type Value = MappedEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string with the id of a user, or a table with `to` and `name`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<MappedEntry, E> {
                Ok(MappedEntry { to: UserId::parse(text).map_err(E::custom)?, name: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<MappedEntry, A::Error> {
                let table = EntryTable::read(map)?;
                match (table.is_no_entry(), table.to) {
                    (None, Some(to)) => Ok(MappedEntry { to, name: table.name }),
                    (why, _) => Err(serde::de::Error::custom(format!(
                        "this is no applicant's entry: {}",
                        why.unwrap_or_default()
                    ))),
                }
            }
        }
        deserializer.deserialize_any(EntryAlone)
    }
}

/// The name of an applicant, as a person wrote it.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct GivenName(String);

impl TryFrom<String> for GivenName {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        name(&text).map(Self)
    }
}

/// The name of an applicant, without blanks at its ends.
pub fn name(text: &str) -> std::result::Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("the name of an applicant is empty".to_owned()),
        length if length > APPLICANT_NAME_MAX => {
            Err(format!("the name of an applicant has {length} characters, more than {APPLICANT_NAME_MAX}"))
        }
        _ => Ok(name.to_owned()),
    }
}

impl Settings {
    /// Each line of `[applicants]`.
    pub fn mappings(&self) -> Result<Vec<Mapping>> {
        let mut out = Vec::new();
        let mapping = |applies_to, from: &String, MappedEntry { to, name }: &MappedEntry| Mapping {
            applies_to,
            from: from.clone(),
            to: *to,
            name: name.clone(),
        };
        for (key, to) in &self.applicants {
            match to {
                MapsTo::User(entry) => out.push(mapping(AppliesTo::All, key, entry)),
                MapsTo::Narrowed(map) => {
                    let applies_to = narrowed_to(key)?;
                    out.extend(map.iter().map(|(from, entry)| mapping(applies_to, from, entry)));
                }
                // The text of such a file is refused.
                MapsTo::Neither(_) => to.check(key)?,
            }
        }
        match out.iter().find(|mapping| mapping.from.trim().is_empty()) {
            Some(_) => Err(Error::usage("an empty applicant is mapped, below [applicants] in airpouch.toml")
                .advise("for envelopes that name no applicant: unmapped = \"default=ID\"")),
            None => Ok(out),
        }
    }
}

/// The stream or the key to which a table below `[applicants]` is narrowed. A key is named by its whole fingerprint: the
/// 16 digits of a key id can be made to fit another key.
fn narrowed_to(name: &str) -> Result<AppliesTo> {
    let lower = name.trim().to_ascii_lowercase();
    let stream = StreamId::parse(&lower).map(|stream| AppliesTo::Stream(stream.uuid()));
    stream.or_else(|| lower.parse::<Digest>().ok().map(AppliesTo::Key)).ok_or_else(|| {
        let name = harmless(name);
        Error::usage(format!(
            "[applicants.\"{name}\"] in airpouch.toml is neither the id of a stream nor the fingerprint of a key"
        ))
        .advise(
            "airpouch status shows the UUID of each stream, airpouch keygen the fingerprint of its key: 64 digits, all of them count",
        )
    })
}
