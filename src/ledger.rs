//! What a side remembers: a SQLite file that any person can open with `sqlite3`.
//!
//! Each side has a type of its own, so that no step can ask the other one's questions. A view only reads; a ledger is a view
//! that also writes, and holds the site's lock as long as it is open.

mod asking;
mod columns;
pub mod exporter;
mod fault;
pub mod importer;
pub mod noted;
mod opened;
mod schema;

use exporter::ExporterView;
use importer::ImporterView;

use crate::error::Result;
use crate::site::{Role, Site};

/// A ledger to read in, of whichever side.
#[derive(Debug)]
pub enum View {
    /// The exporter's.
    Exporter(ExporterView),
    /// The importer's.
    Importer(ImporterView),
}

impl View {
    /// Whose it is.
    pub fn role(&self) -> Role {
        match self {
            Self::Exporter(_) => Role::Exporter,
            Self::Importer(_) => Role::Importer,
        }
    }
}

/// Opens the ledger of a site to read in it, without the lock.
///
/// # Errors
/// There is none, or it is not one of ours.
pub fn look(site: &Site) -> Result<View> {
    let (connection, role) = opened::look(site)?;
    Ok(match role {
        Role::Exporter => View::Exporter(ExporterView::over(connection)),
        Role::Importer => View::Importer(ImporterView::over(connection)),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::exporter::ExporterLedger;
    use super::importer::ImporterLedger;
    use super::schema::{APPLICATION_ID, MIGRATIONS};
    use super::*;
    use crate::site::Role;

    #[test]
    fn site_of_one_role_refuses_the_other_role() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let (ledger, made) = ExporterLedger::open(&site).unwrap();
        assert!(made);
        drop(ledger);
        let refused = ImporterLedger::open(&site).unwrap_err();
        assert_eq!(refused.stop, crate::error::Stop::Usage);
        assert!(!ExporterLedger::open(&site).unwrap().1);
    }

    #[test]
    fn second_run_on_a_ledger_in_use_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let held = ExporterLedger::open(&site).unwrap();
        assert_eq!(ExporterLedger::open(&site).unwrap_err().stop, crate::error::Stop::Locked);
        drop(held);
        assert!(ExporterLedger::open(&site).is_ok());
    }

    #[test]
    fn ledger_of_an_older_airpouch_is_migrated_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        site.prepare(Role::Exporter).unwrap();
        let older = Connection::open(site.ledger()).unwrap();
        older.execute_batch(MIGRATIONS[0]).unwrap();
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", 1).unwrap();
        older.execute("INSERT INTO meta VALUES ('role', 'exporter')", []).unwrap();
        let refused = look(&site).unwrap_err();
        assert_eq!(refused.what, "an older airpouch made this ledger (version 1 of its tables)");
        drop(ExporterLedger::open(&site).unwrap());
        assert!(matches!(look(&site).unwrap(), View::Exporter(_)));
    }

    #[test]
    fn connectors_of_an_older_ledger_are_those_of_the_streams_that_brought_them() {
        let at = MIGRATIONS.iter().position(|m| m.contains("CREATE TABLE connector_stream")).unwrap();
        let connection = Connection::open_in_memory().unwrap();
        MIGRATIONS[..at].iter().for_each(|migration| connection.execute_batch(migration).unwrap());
        let manifest = r#"{"connectors":[{"id":"feed"}]}"#.as_bytes();
        let batches = [("b", "delivered", 1), ("a", "admitted", 2), ("b", "delivered", 3), ("c", "whole", 4)];
        for (stream, state, id) in batches {
            let sql = "INSERT INTO batch (id, stream, sequence, sha256, manifest, state, succeeds_stream) VALUES (?1, ?2, ?1, ?3, ?4, ?5, 'x')";
            connection.execute(sql, rusqlite::params![id, stream, vec![id as u8], manifest, state]).unwrap();
        }
        connection.execute_batch(MIGRATIONS[at]).unwrap();
        let asked = |sql: &str| -> Vec<String> {
            let mut query = connection.prepare(sql).unwrap();
            query.query_map([], |r| r.get(0)).unwrap().map(|row| row.unwrap()).collect()
        };
        assert_eq!(asked("SELECT stream FROM connector_stream WHERE connector = 'feed' ORDER BY id"), ["b", "a"]);
        assert_eq!(asked("SELECT stream FROM stream_heir WHERE before = 'x' ORDER BY stream"), ["a", "b"]);
    }
}
