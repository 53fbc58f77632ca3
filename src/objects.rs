//! The objects of a batch by their ids: which of its envelopes had which. A list of them is kept when the envelopes are gone.
//!
//! ```text
//! airpouch objects/1 LF
//! for each object of each envelope, sorted, none twice: 8 bytes of its key, 4 bytes of the envelope's ordinal, both big-endian
//! ```

use std::fmt;

use uuid::Uuid;

use crate::digest::Digest;
use crate::limits::{LIST_RECORDS_MAX, OBJECTS_MAX};

/// How a list begins: which form it has.
const FORM: &[u8] = b"airpouch objects/1\n";
const KEY_BYTES: usize = 8;
const RECORD_BYTES: usize = KEY_BYTES + 4;

/// The id of a STIX object as a person types it: a type, two hyphens and a UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StixId(String);

impl StixId {
    /// The id that this text is; none if it does not look like one. Capitals stay: ids are compared as they are written.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, uuid) = text.split_once("--")?;
        let is_kind = !kind.is_empty() && kind.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        let is_uuid = uuid.len() == 36 && Uuid::try_parse(uuid).is_ok();
        (is_kind && is_uuid).then(|| Self(text.to_owned()))
    }

    /// What it is found by.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(self.0.as_bytes())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an id is found by: the first eight bytes of its SHA-256. Two of ten million ids share one with a chance of three in a
/// million; whoever makes two ids that do, which takes four billion digests, makes an envelope be named that has not this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey(u64);

impl ObjectKey {
    /// The key of an id.
    pub fn of(id: &[u8]) -> Self {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&Digest::of(id).as_bytes()[..KEY_BYTES]);
        Self(u64::from_be_bytes(key))
    }
}

/// The keys of the objects of one envelope, as far as they were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ObjectKeys {
    keys: Vec<ObjectKey>,
    /// Whether there are, or may be, objects that are not among them.
    is_cut: bool,
    /// The id that is looked for, and whether it is among them.
    wanted: Option<(StixId, bool)>,
}

impl ObjectKeys {
    /// Those of an envelope that nobody read.
    pub fn unread() -> Self {
        Self { is_cut: true, ..Self::default() }
    }

    /// Those of an envelope in which an id is looked for.
    pub fn looking_for(id: &StixId) -> Self {
        Self { wanted: Some((id.clone(), false)), ..Self::default() }
    }

    /// Whether the id that is looked for is among them.
    pub fn has_wanted(&self) -> bool {
        self.wanted.as_ref().is_some_and(|(_, is_there)| *is_there)
    }

    /// Adds the object of this id.
    pub fn add(&mut self, id: &[u8]) {
        if let Some((wanted, is_there)) = &mut self.wanted {
            *is_there |= wanted.0.as_bytes() == id;
            return;
        }
        if self.keys.len() as u64 >= OBJECTS_MAX {
            return self.cut();
        }
        self.keys.push(ObjectKey::of(id));
    }

    /// Says that there may be more.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }
}

/// The records of a batch whose list is being made.
#[derive(Debug, Default)]
pub struct ListDraft {
    records: Vec<(ObjectKey, u32)>,
    unread: u64,
    is_full: bool,
}

/// A list that was made, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum MadeList {
    /// Its bytes, which are none where there is no record; and how many envelopes were not read, or not to their end.
    List {
        /// The bytes.
        bytes: Vec<u8>,
        /// Its records.
        records: u64,
        /// The envelopes.
        unread: u64,
    },
    /// The batch has more objects than a list takes.
    TooMany,
}

impl ListDraft {
    /// Adds the objects of the envelope of this ordinal.
    pub fn add(&mut self, ordinal: usize, objects: ObjectKeys) {
        self.unread += u64::from(objects.is_cut);
        let more = objects.keys.len();
        // Nothing that is delivered depends on the list: where it has no room, there is none.
        self.is_full |= self.records.len() + more > LIST_RECORDS_MAX || self.records.try_reserve(more).is_err();
        if self.is_full {
            self.records = Vec::new();
            return;
        }
        // A batch has far fewer envelopes than that.
        let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
        self.records.extend(objects.keys.into_iter().map(|key| (key, ordinal)));
    }

    /// The list.
    pub fn finish(mut self) -> MadeList {
        if self.is_full {
            return MadeList::TooMany;
        }
        self.records.sort_unstable();
        self.records.dedup();
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            bytes.reserve_exact(FORM.len() + self.records.len() * RECORD_BYTES);
            bytes.extend_from_slice(FORM);
        }
        for (ObjectKey(key), ordinal) in &self.records {
            bytes.extend_from_slice(&key.to_be_bytes());
            bytes.extend_from_slice(&ordinal.to_be_bytes());
        }
        MadeList::List { bytes, records: self.records.len() as u64, unread: self.unread }
    }
}

/// The size of the list with so many records.
pub fn list_bytes(records: u64) -> u64 {
    if records == 0 { 0 } else { FORM.len() as u64 + records * RECORD_BYTES as u64 }
}

/// The ordinals of the envelopes that have an object of this key, in order; none if the bytes are no list. They are those
/// whose digest the ledger has.
pub fn envelopes_with(list: &[u8], key: ObjectKey) -> Option<Vec<usize>> {
    let records = list.strip_prefix(FORM)?;
    let records = records.chunks_exact(RECORD_BYTES);
    if !records.remainder().is_empty() {
        return None;
    }
    let records: Vec<&[u8]> = records.collect();
    let wanted = key.0.to_be_bytes();
    let first = records.partition_point(|record| record[..KEY_BYTES] < wanted[..]);
    let with = records[first..].iter().take_while(|record| record[..KEY_BYTES] == wanted[..]);
    Some(with.map(|record| record[KEY_BYTES..].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f";

    fn keys(ids: &[&str]) -> ObjectKeys {
        let mut keys = ObjectKeys::default();
        ids.iter().for_each(|id| keys.add(id.as_bytes()));
        keys
    }

    #[test]
    fn id_is_a_type_and_a_uuid() {
        for id in [ID, "x-mitre-tactic--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", &ID.replace("8e2e", "8E2E")] {
            assert_eq!(StixId::parse(id).unwrap().as_str(), id);
        }
        let uuid = &ID[11..];
        for none in ["", "indicator", "indicator--1", uuid, "--", &format!("--{uuid}"), &format!("Indicator--{uuid}")] {
            assert_eq!(StixId::parse(none), None, "{none}");
        }
        assert_eq!(StixId::parse(&ID.replace('-', "")), None);
        assert_eq!(StixId::parse(&format!("{ID} ")), None);
        assert_eq!(StixId::parse("indicator--8e2e2d2b17d44cbf938f98ee46b3cd3f"), None);
    }

    #[test]
    fn each_envelope_with_an_object_is_found_by_its_id_and_no_other() {
        let mut draft = ListDraft::default();
        draft.add(7, keys(&["a", ID, ID]));
        draft.add(200_000, keys(&[ID]));
        draft.add(3, keys(&["b"]));
        draft.add(4, ObjectKeys::unread());
        let MadeList::List { bytes, records, unread } = draft.finish() else { panic!("it fits") };
        assert_eq!((bytes.len() as u64, records, unread), (list_bytes(4), 4, 1));
        let with = |id: &str| envelopes_with(&bytes, ObjectKey::of(id.as_bytes())).unwrap();
        assert_eq!((with(ID), with("a"), with("b"), with("c")), (vec![7, 200_000], vec![7], vec![3], vec![]));
        assert_eq!(envelopes_with(&bytes[1..], ObjectKey::of(b"a")), None);
        assert_eq!(envelopes_with(&bytes[..bytes.len() - 1], ObjectKey::of(b"a")), None);
    }

    #[test]
    fn batch_with_more_objects_than_a_list_takes_has_none() {
        let mut draft = ListDraft::default();
        let many: Vec<ObjectKey> = (0..OBJECTS_MAX).map(ObjectKey).collect();
        for ordinal in 0..=LIST_RECORDS_MAX / OBJECTS_MAX as usize {
            draft.add(ordinal, ObjectKeys { keys: many.clone(), ..ObjectKeys::default() });
        }
        draft.add(100, keys(&["a"]));
        assert_eq!(draft.finish(), MadeList::TooMany);
    }

    #[test]
    fn envelope_without_end_is_not_read_to_its_end() {
        let mut keys = ObjectKeys { keys: vec![ObjectKey(0); OBJECTS_MAX as usize - 1], ..ObjectKeys::default() };
        keys.add(b"a");
        assert!(!keys.is_cut);
        keys.add(b"b");
        assert!(keys.is_cut && keys.keys.len() as u64 == OBJECTS_MAX);
    }

    #[test]
    fn batch_without_objects_needs_no_file() {
        let mut draft = ListDraft::default();
        draft.add(1, keys(&[]));
        assert_eq!(draft.finish(), MadeList::List { bytes: Vec::new(), records: 0, unread: 0 });
        assert_eq!(list_bytes(0), 0);
    }
}
