//! Codes of arrival: what the importer says to the exporter once it has batches, and nobody else can say.
//!
//! Whoever has the medium can read and digest all that is on it. So the code is an HMAC, with a key that both sites have
//! and that never travels with batches: 128 random bits, carried on paper once. docs/format.md describes its bytes.

use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::spoken::{Mistyped, Spoken};
use crate::stream::{Numbers, StreamId};

/// A code of arrival: 40 bits of the HMAC in eight symbols, and two that check them.
pub type ArrivalCode = Spoken<10>;

/// What a pairing is on paper: 128 bits in 26 symbols, and two that check them.
type OnPaper = Spoken<28>;

/// Bytes of the key of a pairing.
const KEY_BYTES: usize = 16;

/// The key that an exporter and an importer share. It has no [`std::fmt::Display`], and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingKey(Zeroizing<[u8; KEY_BYTES]>);

/// What a code of arrival says: nothing is missing in a stream up to this batch, but for the numbers that are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedHead {
    /// The zone that the stream is for: the name that both sites have for the importer's side.
    pub zone: String,
    /// The stream.
    pub stream: StreamId,
    /// The number of the batch.
    pub sequence: u64,
    /// The digest of its manifest, which names those of all batches before it.
    pub sha256: Digest,
    /// Lower numbers that have not arrived, and are not waited for any more.
    pub without: Numbers,
}

impl PairingKey {
    /// A key of these random bytes.
    pub fn from_random(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key as it is written on paper. It is the secret itself.
    pub fn on_paper(&self) -> Zeroizing<String> {
        Zeroizing::new(OnPaper::of_bits(&*self.0).to_string())
    }

    /// Reads a key as somebody types it from paper.
    ///
    /// # Errors
    /// It is none, or mistyped.
    pub fn parse(typed: &str) -> Result<Self, Mistyped> {
        let bytes = OnPaper::parse(typed)?.bits().ok_or(Mistyped::Checks)?;
        Ok(Self::from_random(bytes))
    }

    /// By what people see that both sites have the same key; it tells nothing of the key.
    pub fn id(&self) -> String {
        Digest::keyed(&*self.0, b"airpouch pairing/1\n").short()
    }
}

impl std::fmt::Debug for PairingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairingKey")
    }
}

impl ArrivedHead {
    /// The code that says so.
    pub fn code(&self, key: &PairingKey) -> ArrivalCode {
        ArrivalCode::of_bits(Digest::keyed(&*key.0, self.text().as_bytes()).as_bytes())
    }

    /// What the HMAC is over.
    fn text(&self) -> String {
        let Self { zone, stream, sequence, sha256, without } = self;
        format!("airpouch arrived/1\n{zone}\n{stream}\n{sequence}\n{sha256}\n{without}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ArrivedHead {
        ArrivedHead {
            zone: "restricted".to_owned(),
            stream: StreamId::parse("230fef21-9908-4f5a-9773-602f5205811a").unwrap(),
            sequence: 812,
            sha256: Digest::of(b"manifest"),
            without: "57-58,61".parse().unwrap(),
        }
    }

    #[test]
    fn code_differs_for_another_zone_stream_number_digest_list_and_key() {
        let key = PairingKey::from_random([7; 16]);
        let changes: [fn(&mut ArrivedHead); 6] = [
            |head| head.zone.push('2'),
            |head| head.stream = StreamId::from_random([1; 16]),
            |head| head.sequence = 81,
            |head| head.sha256 = Digest::of(b"another"),
            |head| head.without = Numbers::default(),
            |head| head.without = "57-58".parse().unwrap(),
        ];
        let mut codes = vec![head().code(&key), head().code(&PairingKey::from_random([8; 16]))];
        codes.extend(changes.map(|change| {
            let mut other = head();
            change(&mut other);
            other.code(&key)
        }));
        for (at, code) in codes.iter().enumerate() {
            assert!(!codes[..at].contains(code), "{at}");
        }
    }

    #[test]
    fn codes_are_those_of_the_documented_example() {
        let key = PairingKey::parse("M6SC7-N75YR-3HGA9-T9DE6-TZMFJ-0A7").unwrap();
        assert_eq!(key, PairingKey::from_random(*b"\xa1\xb2\xc3\xd4\xe5\xf6\x07\x18\x29\x3a\x4b\x5c\x6d\x7e\x8f\x90"));
        let sha256 = "9abfe59bd15a8e757d84a8df9c1523701ffb0ba34952b8229cf20ccfa8c6858b".parse().unwrap();
        let stream = StreamId::parse("407e5051-6248-42b9-83a0-b38433e03ee9").unwrap();
        let head = ArrivedHead { stream, sequence: 1, sha256, without: Numbers::default(), ..head() };
        assert_eq!((head.code(&key).to_string(), key.id()), ("11K1H-D3VPZ".to_owned(), "aeb4c848".to_owned()));
        let head = ArrivedHead { sequence: 9, without: "7,3,5-6".parse().unwrap(), ..head };
        assert_eq!(head.code(&key).to_string(), "JQAXA-1FFSG");
        let docs = include_str!("../docs/format.md");
        for text in [
            &*key.on_paper(),
            "086618b47bebf6e9008c10223b50cc8e3a535ae0c1579d9dce8a51c4070b5b2d",
            &format!("that is `{}`", "11K1H-D3VPZ"),
        ] {
            assert!(docs.contains(text), "{text}");
        }
    }

    #[test]
    fn key_is_read_again_from_paper_and_shown_nowhere_else() {
        let key = PairingKey::from_random(*b"sixteen bytes ok");
        let paper = key.on_paper();
        assert_eq!(PairingKey::parse(&paper.to_lowercase().replace('-', " ")), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "PairingKey");
        assert_eq!(key.id().len(), 8);
        assert_ne!(key.id(), PairingKey::from_random([0; 16]).id());
    }
}
