//! What came from a medium, before and after a trusted key vouched for it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use crate::digest::Digest;
use crate::json;
use crate::text::harmless;
use crate::trust::key::{PublicKey, Signature};

/// One signature file: a signature, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureFile {
    /// The file's name as it was found.
    pub name: String,
    /// The signature.
    pub signature: Signature,
    /// Whether the file bears the manifest's name. Others are only tried, since a scanner may have renamed
    /// everything, and can never be false.
    pub named: bool,
}

/// Bytes that nobody has vouched for yet, with the signatures that may. They cannot be read: the only way
/// on is [`TrustStore::authenticate`](crate::trust::TrustStore::authenticate).
#[derive(Clone)]
pub struct Unverified {
    pub(super) bytes: Vec<u8>,
    pub(super) signatures: Vec<SignatureFile>,
}

impl Unverified {
    /// Joins bytes with the signature files that were found for them.
    pub fn new(bytes: Vec<u8>, signatures: Vec<SignatureFile>) -> Self {
        Self { bytes, signatures }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the bytes are the beginning of JSON and not all of it: cut off on their way, which is not the same as
    /// false. It is asked only of what no trusted key has signed, and nothing else is learnt of it.
    pub fn is_cut(&self) -> bool {
        json::is_cut(&self.bytes)
    }

    /// Whether they are whole JSON with a line end behind it, which no manifest has.
    pub fn has_line_end(&self) -> bool {
        let whole = self.bytes.trim_ascii_end();
        whole.len() < self.bytes.len() && !json::is_cut(whole)
    }

    /// The signature files that were found for them.
    pub fn signatures(&self) -> &[SignatureFile] {
        &self.signatures
    }

    /// The digest of the bytes, to tell two of them apart.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, signatures) = (self.len(), self.signatures.len());
        write!(f, "Unverified({bytes} bytes, {signatures} signatures)")
    }
}

/// Bytes that at least one trusted key has signed. They can be parsed now, and not before.
#[derive(Clone)]
pub struct Authentic {
    bytes: Vec<u8>,
    signers: BTreeSet<PublicKey>,
}

impl Authentic {
    /// Only the trust store says what is authentic.
    pub(super) fn new(bytes: Vec<u8>, signers: BTreeSet<PublicKey>) -> Self {
        Self { bytes, signers }
    }

    /// Parses the bytes and keeps them, with their signers, beside what they say.
    ///
    /// # Errors
    /// What `parse` says: bytes may be signed and still not be in form.
    pub fn into_signed<T, E>(self, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<Signed<T>, E> {
        Ok(Signed { value: parse(&self.bytes)?, sha256: self.sha256(), bytes: self.bytes, signers: self.signers })
    }

    /// The digest of the bytes.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl fmt::Debug for Authentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.len();
        write!(f, "Authentic({bytes} bytes, signed by {:?})", self.signers)
    }
}

/// What trusted keys have signed, parsed; with the very bytes that they signed.
#[derive(Debug, Clone)]
pub struct Signed<T> {
    value: T,
    bytes: Vec<u8>,
    sha256: Digest,
    signers: BTreeSet<PublicKey>,
}

impl<T> Signed<T> {
    /// What the bytes say.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The bytes that were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of these bytes.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The trusted keys whose signatures hold, each once. Whether they may sign this is for
    /// [`TrustStore::allows`](crate::trust::TrustStore::allows) to say.
    pub fn signers(&self) -> &BTreeSet<PublicKey> {
        &self.signers
    }
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Why no trusted key vouches for bytes, as a phrase that goes on from the batch's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAuthentic {
    /// No signature file bears its name, and no other in its folder fits: it is incomplete.
    NoSignature,
    /// There are signature files for it, none by a trusted key and none that claims to be.
    Unknown {
        /// The key ids in the names of these files: hints, written by strangers, each once.
        ids: Vec<String>,
    },
    /// A signature that is named for a trusted key is not one: the bytes or the signature were changed.
    False {
        /// The signature file's name.
        name: String,
        /// The trusted key's id.
        id: String,
    },
}

impl std::error::Error for NotAuthentic {}

impl fmt::Display for NotAuthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature => {
                f.write_str("has no signature file here: incomplete, bring the .sig file that was packed with it")
            }
            Self::Unknown { ids } => {
                f.write_str("signed only by unknown keys")?;
                // A stranger can name any number of keys.
                const TOLD: usize = 3;
                for (i, id) in ids.iter().take(TOLD).enumerate() {
                    let before = if i == 0 { ": key id " } else { ", " };
                    write!(f, "{before}{}", harmless(id))?;
                }
                match ids.len().saturating_sub(TOLD) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::False { name, id } => write!(
                f,
                "{} (key {}) does not match the manifest: one of them was changed",
                harmless(name),
                harmless(id)
            ),
        }
    }
}

/// The key id in a signature file's name `airpouch-<stream, 16 hex>-<sequence, 8 digits>.<key id>.sig`,
/// also when something on the way has upper-cased it, turned `-` and `.` into `_`, or added ` (1)`.
pub fn key_id_in(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| is_key_id(word))?;
    let sequence = words.next()?;
    let id = words.next()?;
    let is_sequence = sequence.len() == 8 && sequence.bytes().all(|b| b.is_ascii_digit());
    (is_sequence && is_key_id(id)).then(|| id.to_owned())
}

/// 16 hex digits, as streams and keys have them in file names.
fn is_key_id(word: &str) -> bool {
    word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "airpouch-c1d0a7e23b444f0e-00000004.a60388a3947577df.sig";

    #[test]
    fn a_renamed_signature_file_still_tells_its_key() {
        let id = Some("a60388a3947577df".to_owned());
        assert_eq!(key_id_in(NAME), id);
        assert_eq!(key_id_in(&NAME.to_uppercase()), id);
        assert_eq!(key_id_in(&NAME.replace('-', "_")), id);
        assert_eq!(key_id_in(&NAME.replace(['-', '.'], "_")), id);
        assert_eq!(key_id_in(&NAME.replace(".sig", " (1).sig")), id);
        assert_eq!(key_id_in(&format!("{NAME} (1)")), id);
    }

    #[test]
    fn a_name_of_another_form_tells_no_key() {
        for name in [
            "",
            "é.sig",
            "a60388a3947577df.sig",
            "airpouch-c1d0a7e23b444f0e-00000004.sig",
            "airpouch-c1d0a7e23b444f0e-0000000x.a60388a3947577df.sig",
            "airpouch-c1d0a7e23b444f0e-00000004.a60388a3947577d.sig",
            "airpouch-c1d0a7e23b444f0e-00000004.a60388a3947577dfa.sig",
        ] {
            assert_eq!(key_id_in(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_would_act_on_a_terminal_is_escaped() {
        let false_one = NotAuthentic::False { name: "a\x1b[2J.sig".to_owned(), id: "\nok".to_owned() };
        let unknown = NotAuthentic::Unknown { ids: vec!["\u{202e}x".to_owned()] };
        for text in [false_one.to_string(), unknown.to_string()] {
            assert!(!text.contains(['\x1b', '\n', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_not_signed_and_what_can_keeps_its_bytes() {
        let authentic = || Authentic::new(b"12".to_vec(), BTreeSet::new());
        let parse = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u8>();
        let signed = authentic().into_signed(parse).unwrap();
        assert_eq!((*signed, *signed.value(), signed.bytes()), (12, 12, &b"12"[..]));
        assert_eq!(signed.sha256(), Digest::of(b"12"));
        assert!(authentic().into_signed(|_| Err::<(), _>("no")).is_err());
    }
}
