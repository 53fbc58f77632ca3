//! Releases that officers sign: what they sign, and their signatures.

use rusqlite::params;

use super::decided::decision_deed;
use super::{AsideRow, ImporterLedger, ImporterView};
use crate::clock;
use crate::deed::Deed;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, first};
use crate::trust::{PublicKey, ReleaseSignature, ReleaseStatement, Signature, TrustStore};

/// A signature that an officer gives now.
#[derive(Debug)]
pub struct OfficersSignature<'a> {
    /// The envelope.
    pub row: &'a AsideRow,
    /// What is signed.
    pub statement: ReleaseStatement,
    /// The signature.
    pub signature: ReleaseSignature,
    /// Whose it is.
    pub who: &'a str,
    /// The officers whose signatures hold with this one.
    pub signers: Vec<String>,
    /// How many must sign.
    pub need: usize,
}

impl ImporterView {
    /// What officers have signed about an envelope at this site, with their signatures; none if nobody has.
    pub fn signed_release(
        &self,
        sha256: Digest,
        site: Digest,
    ) -> Result<Option<(ReleaseStatement, Vec<ReleaseSignature>)>> {
        let sql = "SELECT code, reason, number FROM release_statement WHERE sha256 = ?1";
        let statement = first(&self.connection, sql, [sha256.as_bytes()], |r| {
            let number = u64::from_str_radix(r.get_ref(2)?.as_str()?, 16).unwrap_or_default();
            Ok(ReleaseStatement { sha256, code: r.get(0)?, reason: r.get(1)?, number, site })
        })?;
        let Some(statement) = statement else { return Ok(None) };
        let sql = "SELECT key, signature FROM release_signature WHERE sha256 = ?1 ORDER BY at, key";
        let signatures: Vec<Option<ReleaseSignature>> = all(&self.connection, sql, [sha256.as_bytes()], |r| {
            let key = PublicKey::from_pem(r.get_ref(0)?.as_str()?.as_bytes()).ok();
            let signature = Signature::from_bytes(r.get_ref(1)?.as_blob()?);
            Ok(key.zip(signature).map(|(key, signature)| ReleaseSignature { key, signature }))
        })?;
        Ok(Some((statement, signatures.into_iter().flatten().collect())))
    }

    /// The officers whose signatures over the release of an envelope hold.
    pub fn release_signers(&self, sha256: Digest, site: Digest, officers: Option<&TrustStore>) -> Result<Vec<String>> {
        let Some((officers, (statement, signatures))) = officers.zip(self.signed_release(sha256, site)?) else {
            return Ok(Vec::new());
        };
        Ok(statement.signers(&signatures, officers).into_iter().map(str::to_owned).collect())
    }
}

impl ImporterLedger {
    /// Officers sign releases: all that are given or none. With as many as are needed an envelope is released.
    pub fn sign_releases(&self, signed: &[OfficersSignature<'_>]) -> Result<()> {
        let change = self.change()?;
        for OfficersSignature { row, statement, signature, who, signers, need } in signed {
            let (sha256, reason) = (row.sha256.as_bytes(), &statement.reason);
            let sql = "INSERT OR IGNORE INTO release_statement VALUES (?1, ?2, ?3, ?4)";
            change.execute(sql, params![sha256, statement.code, reason, format!("{:016x}", statement.number)])?;
            let (key, bytes) = (signature.key.to_pem(), signature.signature.bytes());
            let sql = "INSERT OR REPLACE INTO release_signature VALUES (?1, ?2, ?3, ?4)";
            change.execute(sql, params![sha256, key, bytes, clock::utc_now()])?;
            change.note(&Deed::ReleaseSigned {
                decision: decision_deed(row, reason),
                who: (*who).to_owned(),
                key,
                statement: statement.text(),
                signature: hex(bytes),
                have: signers.len(),
                need: *need,
            })?;
            if signers.len() >= *need {
                super::decided::release(&change, row, reason, None, signers)?;
            }
        }
        change.commit()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
