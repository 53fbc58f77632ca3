//! What people are told of a destination, until it is settled.

use std::collections::BTreeSet;

use super::super::Ledger;
use crate::error::{Error, Result};
use crate::limits::{GONE_WORKS_MAX, SHOWN_MAX};
use crate::sink::GoneWork;

impl Ledger {
    /// Connectors of which people were told that they exist at a destination.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn shown(&self, destination: i64) -> Result<BTreeSet<String>> {
        self.list_in_meta(&format!("shown_{destination}"))
    }

    /// Notes that people are told of these.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_shown(&self, destination: i64, connectors: Vec<String>) -> Result<()> {
        if connectors.is_empty() {
            return Ok(());
        }
        let mut shown = self.shown(destination)?;
        shown.extend(connectors.into_iter().take(SHOWN_MAX.saturating_sub(shown.len())));
        self.set_list_in_meta(&format!("shown_{destination}"), &shown)
    }

    /// Works that are gone at a destination with what was delivered under them, until that is settled.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn gone_works(&self, destination: i64) -> Result<Vec<GoneWork>> {
        self.list_in_meta(&format!("gone_works_{destination}"))
    }

    /// Notes works that are gone.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn note_gone(&self, destination: i64, works: Vec<GoneWork>) -> Result<()> {
        if works.is_empty() {
            return Ok(());
        }
        let mut gone = self.gone_works(destination)?;
        gone.extend(works.into_iter().take(GONE_WORKS_MAX.saturating_sub(gone.len())));
        self.set_list_in_meta(&format!("gone_works_{destination}"), &gone)
    }

    /// What was lost with the works of a batch was delivered again, or a person accepts the loss; how many works it were.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn settle_gone(&self, destination: i64, batch: i64) -> Result<usize> {
        let gone = self.gone_works(destination)?;
        let left: Vec<GoneWork> = gone.iter().filter(|work| work.batch != batch).cloned().collect();
        if left.len() < gone.len() {
            self.set_list_in_meta(&format!("gone_works_{destination}"), &left)?;
        }
        Ok(gone.len() - left.len())
    }

    fn list_in_meta<T: Default + serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let Some(text) = self.meta(key)? else { return Ok(T::default()) };
        serde_json::from_str(&text).map_err(|e| Error::failed(format!("the ledger holds a list that is none: {e}")))
    }

    fn set_list_in_meta<T: serde::Serialize>(&self, key: &str, list: &T) -> Result<()> {
        let text = serde_json::to_string(list).map_err(|e| Error::failed(format!("cannot be written as JSON: {e}")))?;
        self.set_meta(key, &text)
    }
}
