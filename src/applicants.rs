//! Maps applicant ids of the internet zone to ids of users of this platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use uuid::Uuid;

use crate::digest::Digest;
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

/// The id of an applicant as mappings know it. Ids are compared without regard to case, as UUIDs are; blanks around them
/// come from pasting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApplicantId(String);

impl ApplicantId {
    /// The applicant that an envelope or a person names so.
    pub fn of(id: &str) -> Self {
        Self(id.trim().to_ascii_lowercase())
    }

    /// The id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The envelopes to which a mapping applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliesTo {
    /// All.
    All,
    /// Those of one stream, and of streams that succeed it.
    Stream(Uuid),
    /// Those of batches that the key with this fingerprint signed and may sign.
    Key(Digest),
}

/// A mapping as a person wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The envelopes to which it applies.
    pub applies_to: AppliesTo,
    /// The applicant of the other side.
    pub from: String,
    /// The user here.
    pub to: UserId,
    /// What the applicant is called here.
    pub name: Option<String>,
}

/// How an envelope came, as far as mappings depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameBy {
    /// The stream of its batch and those that this one succeeds, the nearest first.
    pub streams: Vec<Uuid>,
    /// The fingerprints of the keys that signed its batch and may sign it.
    pub signers: Vec<Digest>,
}

/// Keys that signed one batch map an applicant to different users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Two of the keys, each with its user.
    pub keys: [(Digest, UserId); 2],
}

/// The user for each applicant: for all envelopes, for those of one stream, or for those that one key signed.
#[derive(Debug, Clone, Default)]
pub struct Applicants {
    everywhere: BTreeMap<ApplicantId, UserId>,
    /// By stream.
    in_stream: BTreeMap<Uuid, BTreeMap<ApplicantId, UserId>>,
    /// By the fingerprint of the key.
    under_key: BTreeMap<Digest, BTreeMap<ApplicantId, UserId>>,
    /// The user for every applicant that is not mapped.
    default: Option<UserId>,
}

impl Applicants {
    /// No mapping, but perhaps one user for all.
    pub fn with_default(default: Option<UserId>) -> Self {
        Self { default, ..Self::default() }
    }

    /// Maps an applicant; gives the user that it was mapped to before.
    pub fn map(&mut self, applies_to: AppliesTo, from: &str, to: UserId) -> Option<UserId> {
        let map = match applies_to {
            AppliesTo::All => &mut self.everywhere,
            AppliesTo::Stream(stream) => self.in_stream.entry(stream).or_default(),
            AppliesTo::Key(key) => self.under_key.entry(key).or_default(),
        };
        map.insert(ApplicantId::of(from), to)
    }

    /// The user in whose name an envelope is delivered. The mapping of the nearest stream comes first, then those of the
    /// keys, then the one for all, then the default.
    ///
    /// # Errors
    /// [`Disagreement`]: its signers' mappings name different users, and no stream's mapping decides.
    pub fn user_of(&self, came_by: &CameBy, applicant: Option<&str>) -> Result<Option<UserId>, Disagreement> {
        let Some(id) = applicant.map(ApplicantId::of) else { return Ok(self.default) };
        let mut near = came_by.streams.iter().filter_map(|stream| self.in_stream.get(stream));
        if let Some(user) = near.find_map(|map| map.get(&id)) {
            return Ok(Some(*user));
        }
        let user_under = |signer: &Digest| Some((*signer, *self.under_key.get(signer)?.get(&id)?));
        let mut under_keys = came_by.signers.iter().filter_map(user_under);
        match under_keys.next() {
            Some(first) => match under_keys.find(|other| other.1 != first.1) {
                Some(other) => Err(Disagreement { keys: [first, other] }),
                None => Ok(Some(first.1)),
            },
            None => Ok(self.everywhere.get(&id).copied().or(self.default)),
        }
    }

    /// Whether there is a user for an applicant at all, be it for one stream or one key alone.
    pub fn knows(&self, applicant: Option<&str>) -> bool {
        self.default.is_some()
            || applicant.map(ApplicantId::of).is_some_and(|id| self.maps().any(|map| map.contains_key(&id)))
    }

    /// Whether the stream or the signers of an envelope can make a difference.
    pub fn is_narrowed(&self) -> bool {
        !self.in_stream.is_empty() || !self.under_key.is_empty()
    }

    /// The fingerprints of the keys that have mappings of their own.
    pub fn keys(&self) -> impl Iterator<Item = Digest> {
        self.under_key.keys().copied()
    }

    /// Each user in whose name something may be delivered.
    pub fn users(&self) -> BTreeSet<UserId> {
        self.maps().flat_map(BTreeMap::values).copied().chain(self.default).collect()
    }

    fn maps(&self) -> impl Iterator<Item = &BTreeMap<ApplicantId, UserId>> {
        self.in_stream.values().chain(self.under_key.values()).chain([&self.everywhere])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: &str = "7C9E6679-7425-40de-944b-e07fc1f90ae7";
    const A: &str = "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10";
    const B: &str = "3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43";
    const C: &str = "9b1f4a72-0c35-4e8d-8a61-52d7e90c3b14";
    const D: &str = "e27c80d5-61fa-4b93-9d08-7f3a15c64e20";

    #[test]
    fn user_id_is_a_uuid_in_the_form_that_opencti_shows() {
        let upper = A.to_uppercase();
        assert_eq!(UserId::parse(&format!(" {upper}\t")).unwrap().to_string(), A);
        let simple = A.replace('-', "");
        for other in ["", "bob", "bob@example.org", &simple, &format!("{{{A}}}"), &format!("urn:uuid:{A}"), &A[..35]] {
            assert!(UserId::parse(other).is_err(), "{other:?}");
        }
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn came_by(streams: &[Uuid], signers: &[Digest]) -> CameBy {
        CameBy { streams: streams.to_vec(), signers: signers.to_vec() }
    }

    #[test]
    fn applicant_id_in_another_case_is_the_same_applicant() {
        let mut map = Applicants::default();
        let user_of = |map: &Applicants, id: Option<&str>| map.user_of(&CameBy::default(), id).unwrap();
        assert_eq!(map.map(AppliesTo::All, &format!(" {THERE} "), user(A)), None);
        assert_eq!(user_of(&map, Some(&THERE.to_lowercase())), Some(user(A)));
        assert_eq!(user_of(&map, Some(&THERE.to_uppercase())), Some(user(A)));
        assert_eq!(user_of(&map, Some("another")), None);
        assert_eq!(user_of(&map, None), None);
        assert_eq!(map.map(AppliesTo::All, &THERE.to_lowercase(), user(B)), Some(user(A)));
    }

    #[test]
    fn mapping_of_a_stream_applies_there_and_in_streams_that_succeed_it() {
        let [old, new, other] = [1, 2, 3].map(Uuid::from_u128);
        let mut map = Applicants::default();
        let user_of = |map: &Applicants, streams: &[Uuid]| map.user_of(&came_by(streams, &[]), Some(THERE)).unwrap();
        map.map(AppliesTo::Stream(old), THERE, user(A));
        assert!(map.is_narrowed());
        assert_eq!(user_of(&map, &[old]), Some(user(A)));
        assert_eq!(user_of(&map, &[new, old]), Some(user(A)));
        assert_eq!(user_of(&map, &[other]), None);
        map.map(AppliesTo::All, THERE, user(B));
        assert_eq!((user_of(&map, &[old]), user_of(&map, &[other])), (Some(user(A)), Some(user(B))));
        assert_eq!(map.users(), BTreeSet::from([user(A), user(B)]));
    }

    #[test]
    fn mapping_of_a_stream_precedes_that_of_a_key_which_precedes_the_one_for_all() {
        let (stream, [key, other]) = (Uuid::from_u128(1), [b"one", b"two"].map(|b| Digest::of(b)));
        let mut map = Applicants::with_default(Some(user(D)));
        map.map(AppliesTo::All, THERE, user(A));
        map.map(AppliesTo::Key(key), &THERE.to_lowercase(), user(B));
        map.map(AppliesTo::Stream(stream), THERE, user(C));
        let user_of = |streams: &[Uuid], signers: &[Digest]| map.user_of(&came_by(streams, signers), Some(THERE));
        assert_eq!(user_of(&[stream], &[key]), Ok(Some(user(C))));
        assert_eq!(user_of(&[], &[key]), Ok(Some(user(B))));
        assert_eq!(user_of(&[], &[other]), Ok(Some(user(A))));
        assert_eq!(map.user_of(&came_by(&[], &[key]), Some("another")), Ok(Some(user(D))));
        assert_eq!(map.user_of(&came_by(&[], &[key]), None), Ok(Some(user(D))));
        assert!(map.is_narrowed() && map.knows(Some(THERE)));
        assert_eq!(map.users().len(), 4);
    }

    #[test]
    fn signers_whose_mappings_differ_decide_nothing() {
        let (stream, [one, two, three]) = (Uuid::from_u128(1), [b"1", b"2", b"3"].map(|b| Digest::of(b)));
        let mut map = Applicants::default();
        map.map(AppliesTo::Key(one), THERE, user(A));
        map.map(AppliesTo::Key(two), THERE, user(A));
        let user_of =
            |map: &Applicants, streams: &[Uuid]| map.user_of(&came_by(streams, &[three, one, two]), Some(THERE));
        assert_eq!(user_of(&map, &[]), Ok(Some(user(A))));
        map.map(AppliesTo::Key(two), THERE, user(B));
        assert_eq!(user_of(&map, &[]), Err(Disagreement { keys: [(one, user(A)), (two, user(B))] }));
        map.map(AppliesTo::Stream(stream), THERE, user(C));
        assert_eq!(user_of(&map, &[stream]), Ok(Some(user(C))));
    }
}
