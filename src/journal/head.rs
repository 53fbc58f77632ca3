//! The signed head: how many lines the journal has, and the digest of the last one, as a signed note (C2SP
//! signed-note, v1.0.0), which opens with `sed`, `base64` and `openssl pkeyutl -verify -rawin`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::spoken::SpokenCode;
use crate::trust::{PrivateKey, PublicKey, Signature};

/// The first line of a head.
const TAG: &str = "airpouch journal/1";

/// What a head states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalHead {
    /// How many lines the journal has.
    pub lines: u64,
    /// The digest of the last one, in hex.
    pub last: String,
}

/// Why a text is no head of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHead {
    /// It is not laid out as one.
    #[error("it is not a signed head of a journal")]
    Malformed,
    /// The journal's key has not signed it.
    #[error("the key of the journal has not signed it")]
    BadSignature,
}

impl JournalHead {
    /// The note, signed with the journal's key. The name of the key is its fingerprint.
    pub fn signed(&self, key: &PrivateKey) -> String {
        let public = key.public();
        let text = self.text(&public);
        let mut signature = key_hash(&public).to_vec();
        signature.extend_from_slice(key.sign(text.as_bytes()).bytes());
        format!("{text}\n\u{2014} {} {}\n", public.fingerprint(), STANDARD.encode(signature))
    }

    /// Reads a note, and holds its signature against the key of the journal.
    ///
    /// # Errors
    /// It is not laid out as a head; this key has not signed it.
    pub fn verified(note: &str, key: &PublicKey) -> Result<Self, NotAHead> {
        let (text, signatures) = note.split_once("\n\n").ok_or(NotAHead::Malformed)?;
        let text = format!("{text}\n");
        let mut lines = text.lines();
        let (tag, _, count, last) = (lines.next(), lines.next(), lines.next(), lines.next());
        let lines =
            count.and_then(|count| count.parse().ok()).filter(|_| tag == Some(TAG)).ok_or(NotAHead::Malformed)?;
        let last = last.and_then(|last| STANDARD.decode(last).ok()).and_then(|bytes| Digest::from_bytes(&bytes));
        let head = Self { lines, last: last.ok_or(NotAHead::Malformed)?.to_string() };
        if text != head.text(key) {
            return Err(NotAHead::BadSignature);
        }
        let of_key = format!("\u{2014} {} ", key.fingerprint());
        let signature = signatures.lines().find_map(|line| STANDARD.decode(line.strip_prefix(&of_key)?).ok());
        let signature = signature.ok_or(NotAHead::BadSignature)?;
        let signature = signature.strip_prefix(&key_hash(key)[..]).and_then(Signature::from_bytes);
        match signature {
            Some(signature) if key.verifies(text.as_bytes(), &signature) => Ok(head),
            _ => Err(NotAHead::BadSignature),
        }
    }

    /// The head as a code that people say: 100 bits of a digest over what is signed.
    pub fn code(&self, key: &PublicKey) -> SpokenCode {
        SpokenCode::of(format!("airpouch head code/1\n{}", self.text(key)).as_bytes())
    }

    /// What is signed: the tag, the fingerprint of the journal's key, the number of lines, the digest in base64.
    fn text(&self, key: &PublicKey) -> String {
        let last = self.last.parse::<Digest>().map(|digest| STANDARD.encode(digest.as_bytes())).unwrap_or_default();
        format!("{TAG}\n{}\n{}\n{last}\n", key.fingerprint(), self.lines)
    }
}

/// The head of another site's journal, as it travels beside that site's batches: the note, and behind it the public key
/// that signed it. That it holds says only that whoever has that key wrote it; whose key it is, nobody has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHead {
    /// The head.
    pub head: JournalHead,
    /// The key of that journal.
    pub key: PublicKey,
}

/// Where the public key begins behind a note.
const KEY_BEGINS: &str = "\n-----BEGIN PUBLIC KEY-----";

impl PeerHead {
    /// The text that travels.
    pub fn text(note: &str, key: &PublicKey) -> String {
        format!("{note}\n{}", key.to_pem())
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// It is not laid out as one; its own key has not signed it.
    pub fn parse(text: &str) -> Result<Self, NotAHead> {
        let at = text.find(KEY_BEGINS).ok_or(NotAHead::Malformed)?;
        let key = PublicKey::from_pem(&text.as_bytes()[at + 1..]).map_err(|_| NotAHead::Malformed)?;
        Ok(Self { head: JournalHead::verified(&text[..at], &key)?, key })
    }
}

/// The four bytes before a signature (signed-note: the first of SHA-256 over name, line feed, 1 for Ed25519, public key).
fn key_hash(key: &PublicKey) -> [u8; 4] {
    let mut text = format!("{}\n\u{1}", key.fingerprint()).into_bytes();
    text.extend_from_slice(key.bytes());
    let digest = Digest::of(&text);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}
