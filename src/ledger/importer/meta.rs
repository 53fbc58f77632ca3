//! Words under keys: by what the ledger is known again, how far it has come, and short lists.

use rusqlite::Connection;

use super::{ImporterLedger, ImporterView};
use crate::deed::{Deed, in_lines, what_in_a_line};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::form;
use crate::ledger::asking::first;
use crate::ledger::noted::{Change, forget_rules};
use crate::site::Turn;
use crate::trust::{TrustStore, TrustedKey};

/// The rules by which a run works, as the journal is to have them.
#[derive(Debug, Clone, Copy)]
pub struct RulesOfRun<'a> {
    /// Whom it trusts; none in a run that admits nothing.
    pub trust: Option<&'a TrustStore>,
    /// Who may sign releases; none where the policy demands no signatures.
    pub officers: Option<&'a TrustStore>,
    /// The text of its policy; empty where the defaults hold.
    pub policy: &'a str,
}

impl ImporterView {
    /// How far the ledger has come with its site.
    pub fn turn(&self) -> Result<Turn> {
        let identity = self.meta("identity")?.unwrap_or_default();
        let count = self.meta("turns")?.and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok(Turn { identity, count, at: String::new() })
    }

    /// A remembered word.
    pub(super) fn meta(&self, key: &str) -> Result<Option<String>> {
        first(&self.connection, "SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0))
    }

    pub(super) fn list_in_meta<T: Default + serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let Some(text) = self.meta(key)? else { return Ok(T::default()) };
        serde_json::from_str(&text).map_err(|e| Error::failed(format!("the ledger holds a list that is none: {e}")))
    }
}

impl ImporterLedger {
    /// Notes how far it has come.
    pub fn set_turn(&self, count: u64) -> Result<()> {
        self.set_meta("turns", &count.to_string())
    }

    /// A person went on with this ledger, whatever is different about it: from here on it counts as the site's own.
    pub fn accept_as(&self, count: u64, what: &str) -> Result<()> {
        let change = self.change()?;
        put_meta(&change, "turns", &count.to_string())?;
        // The journal may have later ones than this ledger.
        forget_rules(&change)?;
        change.note(&Deed::LedgerAccepted { what: what.to_owned() })?;
        change.commit()
    }

    /// Notes by which rules this run works, where they are other ones than before.
    pub fn note_rules(&self, rules: &RulesOfRun<'_>) -> Result<()> {
        let RulesOfRun { trust, officers, policy } = *rules;
        let change = self.change()?;
        if let Some(trust) = trust {
            let (need, keys) = (trust.need(), trust.described());
            if self.is_other(&change, "trust", &Digest::of(&form::encode(&(need, &keys))).to_string())? {
                noted_in_lines(&change, keys, |keys| Deed::TrustChanged { need, keys })?;
            }
        }
        if let Some(officers) = officers {
            let keys = officers.described();
            if self.is_other(&change, "officers", &Digest::of(&form::encode(&keys)).to_string())? {
                noted_in_lines(&change, keys, |keys| Deed::OfficersChanged { keys })?;
            }
        }
        let sha256 = Digest::of(policy.as_bytes());
        // The defaults of a site that never had a policy are no change.
        let policy_now = if policy.is_empty() { String::new() } else { sha256.to_string() };
        if self.is_other(&change, "policy", &policy_now)? {
            change.note(&Deed::PolicyChanged { sha256, text: what_in_a_line(policy) })?;
        }
        change.commit()
    }

    /// Whether a word is another one than is remembered; then it is remembered.
    fn is_other(&self, change: &Connection, key: &str, now: &str) -> Result<bool> {
        if self.meta(key)?.unwrap_or_default() == now {
            return Ok(false);
        }
        put_meta(change, key, now)?;
        Ok(true)
    }

    /// Does what is no change of the ledger, and notes it. If it fails nothing is noted; only a crash behind it loses the note.
    pub fn note_with(&self, deeds: &[Deed], work: impl FnOnce() -> Result<()>) -> Result<()> {
        let change = self.change()?;
        deeds.iter().try_for_each(|deed| change.note(deed))?;
        work()?;
        change.commit()
    }

    /// Remembers a word.
    pub(super) fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        Ok(put_meta(&self.connection, key, value)?)
    }

    pub(super) fn set_list_in_meta<T: serde::Serialize>(&self, key: &str, list: &T) -> Result<()> {
        let text = serde_json::to_string(list).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))?;
        self.set_meta(key, &text)
    }
}

fn noted_in_lines(change: &Change<'_>, keys: Vec<TrustedKey>, deed: impl Fn(Vec<TrustedKey>) -> Deed) -> Result<()> {
    in_lines(keys, |key| form::encode(key).len() / 6).into_iter().try_for_each(|keys| change.note(&deed(keys)))
}

pub(super) fn put_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(sql, [key, value]).map(drop)
}
