//! What officers sign when they let an envelope through in spite of the reason against it.

use super::{PublicKey, Signature, TrustStore};
use crate::digest::Digest;

/// The release of one envelope at one site. Each officer signs the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseStatement {
    /// The envelope's digest.
    pub sha256: Digest,
    /// Why it was quarantined, in one word.
    pub code: String,
    /// Why it may go all the same, as the first officer says.
    pub reason: String,
    /// A number for this release alone, so that the signatures of one that was taken back serve no other.
    pub number: u64,
    /// The fingerprint of the key that signs the site's journal, so that they serve at no other site.
    pub site: Digest,
}

/// A signature over a release, and the key that is said to have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSignature {
    /// The key.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl ReleaseStatement {
    /// The text that is signed. It begins as no manifest and no head of a journal does, so that no signature of the one can
    /// be taken for that of the other.
    pub fn text(&self) -> String {
        let Self { sha256, code, reason, number, site } = self;
        let mut text = format!("airpouch release\nenvelope {sha256}\nagainst {code}\nreason ");
        for c in reason.chars() {
            // One line, whatever it holds.
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => text += &format!("\\u{{{:x}}}", c as u32),
                c => text.push(c),
            }
        }
        text + &format!("\nsite {site}\nnumber {number:016x}\n")
    }

    /// Whose signatures hold: each officer once, by the names in the store. A key with an end (`until` in trust.toml) signs
    /// no more.
    pub fn signers<'a>(&self, signatures: &[ReleaseSignature], officers: &'a TrustStore) -> Vec<&'a str> {
        let text = self.text();
        let holds = |key: &PublicKey| {
            signatures.iter().any(|of| of.key == *key && key.verifies(text.as_bytes(), &of.signature))
        };
        officers.unended().filter(|(key, _)| holds(key)).map(|(_, who)| who).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::PrivateKey;

    fn statement() -> ReleaseStatement {
        ReleaseStatement {
            sha256: Digest::of(b"envelope"),
            code: "command".to_owned(),
            reason: "asked for by CERT\nsite x".to_owned(),
            number: 7,
            site: Digest::of(b"site"),
        }
    }

    fn signed(statement: &ReleaseStatement, seeds: &[u8]) -> Vec<ReleaseSignature> {
        let sign = |seed: &u8| {
            let key = PrivateKey::from_seed([*seed; 32]);
            ReleaseSignature { key: key.public(), signature: key.sign(statement.text().as_bytes()) }
        };
        seeds.iter().map(sign).collect()
    }

    fn officers(seeds: &[u8]) -> TrustStore {
        TrustStore::of_keys(&seeds.iter().map(|seed| PrivateKey::from_seed([*seed; 32]).public()).collect::<Vec<_>>())
    }

    #[test]
    fn text_has_one_line_for_each_thing_whatever_the_reason_is() {
        let text = statement().text();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains("reason asked for by CERT\\u{a}site x\n"), "{text}");
    }

    #[test]
    fn each_officer_counts_once_and_nobody_else_does() {
        let statement = statement();
        let mut signatures = signed(&statement, &[1, 1, 9]);
        assert_eq!(statement.signers(&signatures, &officers(&[1, 2])).len(), 1);
        signatures.extend(signed(&statement, &[2]));
        assert_eq!(statement.signers(&signatures, &officers(&[1, 2])).len(), 2);
    }

    #[test]
    fn signature_over_another_release_does_not_hold() {
        let others = [
            ReleaseStatement { sha256: Digest::of(b"another"), ..statement() },
            ReleaseStatement { code: "held".to_owned(), ..statement() },
            ReleaseStatement { reason: "another".to_owned(), ..statement() },
            ReleaseStatement { number: 8, ..statement() },
            ReleaseStatement { site: Digest::of(b"other site"), ..statement() },
        ];
        for other in others {
            assert!(statement().signers(&signed(&other, &[1]), &officers(&[1])).is_empty(), "{other:?}");
        }
        let mut wrong_key = signed(&statement(), &[1]);
        wrong_key[0].key = PrivateKey::from_seed([2; 32]).public();
        assert!(statement().signers(&wrong_key, &officers(&[1, 2])).is_empty());
    }
}
