//! Maps applicant ids of the internet zone to ids of users of this platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use uuid::Uuid;

use crate::text::harmless;

/// The id of a user of this platform: a UUID, kept and sent in lower case with its hyphens.
///
/// A worker that gets anything else as applicant fails over each object of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(Uuid);

/// A text that is not the id of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not the id of a user of OpenCTI, which is a UUID such as 0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10", harmless(.0))]
pub struct NotAUserId(String);

impl UserId {
    /// Reads a UUID in the form that OpenCTI shows, in upper or lower case; blanks around it do not count.
    ///
    /// # Errors
    /// [`NotAUserId`] for anything else, other forms of a UUID too.
    pub fn parse(text: &str) -> Result<Self, NotAUserId> {
        /// Characters of the one form that is taken; the others (in braces, without hyphens) are shorter or longer.
        const LENGTH: usize = 36;
        let id = text.trim();
        let uuid = if id.len() == LENGTH { Uuid::try_parse(id).ok() } else { None };
        uuid.map(Self).ok_or_else(|| NotAUserId(text.to_owned()))
    }
}

impl TryFrom<String> for UserId {
    type Error = NotAUserId;

    fn try_from(text: String) -> Result<Self, NotAUserId> {
        Self::parse(&text)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The user for each applicant: for all streams, or for one stream.
#[derive(Debug, Clone, Default)]
pub struct Applicants {
    /// By the applicant's id in lower case.
    everywhere: BTreeMap<String, UserId>,
    /// By stream, then likewise.
    in_stream: BTreeMap<Uuid, BTreeMap<String, UserId>>,
    /// The user for every applicant that is not mapped.
    default: Option<UserId>,
}

impl Applicants {
    /// No mapping, but perhaps one user for all.
    pub fn with_default(default: Option<UserId>) -> Self {
        Self { default, ..Self::default() }
    }

    /// Maps an applicant in the batches of one stream, or of all; gives the user that it was mapped to before.
    pub fn map(&mut self, stream: Option<Uuid>, from: &str, to: UserId) -> Option<UserId> {
        let map = match stream {
            Some(stream) => self.in_stream.entry(stream).or_default(),
            None => &mut self.everywhere,
        };
        map.insert(key(from), to)
    }

    /// The user in whose name an envelope is delivered. `streams` is the stream of its batch and those that this one
    /// succeeds: what is mapped in the nearest of them goes over what is mapped for all streams.
    pub fn user_of(&self, streams: &[Uuid], applicant: Option<&str>) -> Option<UserId> {
        let mapped = applicant.map(key).and_then(|id| {
            let mut near = streams.iter().filter_map(|stream| self.in_stream.get(stream));
            near.find_map(|map| map.get(&id)).or_else(|| self.everywhere.get(&id))
        });
        mapped.copied().or(self.default)
    }

    /// Whether there is a user for an applicant in any stream.
    pub fn knows(&self, applicant: Option<&str>) -> bool {
        let mut maps = self.in_stream.values().chain([&self.everywhere]);
        self.default.is_some() || applicant.map(key).is_some_and(|id| maps.any(|map| map.contains_key(&id)))
    }

    /// Whether the stream of an envelope can make a difference.
    pub fn is_by_stream(&self) -> bool {
        !self.in_stream.is_empty()
    }

    /// Each user in whose name something may be delivered.
    pub fn users(&self) -> BTreeSet<UserId> {
        let maps = self.in_stream.values().chain([&self.everywhere]);
        maps.flat_map(BTreeMap::values).copied().chain(self.default).collect()
    }
}

/// Ids are compared without regard to case, as UUIDs are; blanks around them come from pasting.
fn key(id: &str) -> String {
    id.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: &str = "7C9E6679-7425-40de-944b-e07fc1f90ae7";
    const A: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
    const B: &str = "3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43";

    #[test]
    fn user_id_is_a_uuid_in_the_form_that_opencti_shows() {
        let upper = A.to_uppercase();
        assert_eq!(UserId::parse(&format!(" {upper}\t")).unwrap().to_string(), A);
        let simple = A.replace('-', "");
        for other in ["", "bob", "bob@example.org", &simple, &format!("{{{A}}}"), &format!("urn:uuid:{A}"), &A[..35]] {
            assert!(UserId::parse(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn applicant_id_in_another_case_is_the_same_applicant() {
        let mut map = Applicants::default();
        assert_eq!(map.map(None, &format!(" {THERE} "), UserId::parse(A).unwrap()), None);
        assert_eq!(map.user_of(&[], Some(&THERE.to_lowercase())), UserId::parse(A).ok());
        assert_eq!(map.user_of(&[], Some(&THERE.to_uppercase())), UserId::parse(A).ok());
        assert_eq!(map.user_of(&[], Some("another")), None);
        assert_eq!(map.user_of(&[], None), None);
        let replaced = map.map(None, &THERE.to_lowercase(), UserId::parse(B).unwrap());
        assert_eq!(replaced, UserId::parse(A).ok());
    }

    #[test]
    fn mapping_of_a_stream_applies_there_and_in_streams_that_succeed_it() {
        let [old, new, other] = [1, 2, 3].map(Uuid::from_u128);
        let (a, b) = (UserId::parse(A).unwrap(), UserId::parse(B).unwrap());
        let mut map = Applicants::default();
        map.map(Some(old), THERE, a);
        assert!(map.is_by_stream());
        assert_eq!(map.user_of(&[old], Some(THERE)), Some(a));
        assert_eq!(map.user_of(&[new, old], Some(THERE)), Some(a));
        assert_eq!(map.user_of(&[other], Some(THERE)), None);
        map.map(None, THERE, b);
        assert_eq!((map.user_of(&[old], Some(THERE)), map.user_of(&[other], Some(THERE))), (Some(a), Some(b)));
        assert_eq!(map.users(), BTreeSet::from([a, b]));
    }
}
