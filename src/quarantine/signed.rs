//! Releases that officers sign. Unlike names, signatures prove who let an envelope through.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::importer::{AsideKind, AsideRow, ImporterLedger, ImporterView, OfficersSignature};
use crate::policy::RecordRules;
use crate::report::SignedRelease;
use crate::text::{count, harmless};
use crate::trust::{PrivateKey, ReleaseSignature, ReleaseStatement, TrustStore};

/// Who signs, and which signatures count.
pub struct Signing<'a> {
    /// What the policy demands.
    pub rules: &'a RecordRules,
    /// The officers; none where the policy demands no signatures.
    pub officers: Option<&'a TrustStore>,
    /// The key of the officer who signs now.
    pub key: Option<&'a PrivateKey>,
    /// The fingerprint of the key that signs the site's journal.
    pub site: Digest,
    /// A new release gets this number, and the next one the next.
    pub number: u64,
}

impl Signing<'_> {
    /// How many officers must sign the release of an envelope.
    pub(super) fn need(&self, row: &AsideRow) -> usize {
        self.rules.signatures_for(row.code)
    }

    /// Whether an envelope is released, and enough officers have signed that.
    pub(super) fn stands(&self, ledger: &ImporterView, row: &AsideRow) -> Result<bool> {
        Ok(row.kind == AsideKind::Released
            && ledger.release_signers(row.sha256, self.site, self.officers)?.len() >= self.need(row))
    }

    /// Signs the release of each of these envelopes; `reason` may be left to the officer who has signed first. All of them
    /// are signed or none.
    pub(super) fn sign(
        &self,
        ledger: &ImporterLedger,
        rows: &[AsideRow],
        reason: Option<&str>,
    ) -> Result<Vec<SignedRelease>> {
        let mut signed = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            signed.push(self.signature(ledger, row, reason, self.number.wrapping_add(at as u64))?);
        }
        ledger.sign_releases(&signed)?;
        Ok(signed.into_iter().map(report).collect())
    }

    fn signature<'r>(
        &'r self,
        ledger: &ImporterView,
        row: &'r AsideRow,
        reason: Option<&str>,
        number: u64,
    ) -> Result<OfficersSignature<'r>> {
        let (short, need) = (row.sha256.short(), self.need(row));
        let known = ledger.signed_release(row.sha256, self.site)?;
        let (Some(key), Some(officers)) = (self.key, self.officers) else {
            let have = ledger.release_signers(row.sha256, self.site, self.officers)?.len();
            let what = format!(
                "the policy demands the signatures of {} for the release of {short} ({}), and {have} {} signed",
                count(need as u64, "officer"),
                row.code,
                if have == 1 { "has" } else { "have" }
            );
            return Err(
                Error::usage(what).advise("nothing was released; sign it: --key FILE, with the key of an officer")
            );
        };
        let (statement, mut signatures) = match (known, reason) {
            (Some((statement, _)), Some(reason)) if statement.reason != reason => {
                let what = format!("another reason was signed for {short}: {}", harmless(&statement.reason));
                return Err(Error::usage(what).advise(format!(
                    "leave --reason out to sign that one too; or begin anew: airpouch quarantine unrelease {short} --reason TEXT"
                )));
            }
            (Some(known), _) => known,
            (None, Some(reason)) => {
                let (code, reason) = (row.code.to_string(), reason.to_owned());
                (ReleaseStatement { sha256: row.sha256, code, reason, number, site: self.site }, Vec::new())
            }
            (None, None) => {
                return Err(Error::usage("this needs a reason; who signs first gives it").advise("--reason TEXT"));
            }
        };
        let public = key.public();
        let before = statement.signers(&signatures, officers).len();
        signatures.retain(|signature| signature.key != public);
        let signature = ReleaseSignature { signature: key.sign(statement.text().as_bytes()), key: public };
        signatures.push(signature.clone());
        let signers: Vec<String> = statement.signers(&signatures, officers).into_iter().map(str::to_owned).collect();
        let who = officers.keys().find(|(key, _)| **key == signature.key).map(|(_, who)| who);
        match who {
            Some(who) if signers.len() > before => {
                Ok(OfficersSignature { row, statement, signature, who, signers, need })
            }
            Some(who) if signers.iter().any(|signer| signer == who) => {
                Err(Error::usage(format!("{} has signed the release of {short} already", harmless(who)))
                    .advise("it needs another officer: --key FILE"))
            }
            _ => Err(Error::usage("the key of --key is no officer's, or its officer has an end (until in trust.toml)")
                .advise("the officers' public keys lie in the directory officers/ of the site, or where officers in policy.toml says")),
        }
    }
}

fn report(signed: OfficersSignature<'_>) -> SignedRelease {
    let OfficersSignature { row, statement, signers, need, .. } = signed;
    let is_released = signers.len() >= need;
    SignedRelease {
        sha256: row.sha256,
        code: row.code,
        what: row.what.clone(),
        reason: statement.reason,
        signers,
        need,
        is_released,
    }
}
