//! What a side remembers: a SQLite file that any person can open with `sqlite3`.
//!
//! Opening it to write takes the site's lock. WAL with synchronous FULL: a commit that returned is there
//! after a power cut (measured; NORMAL loses rows).

pub mod delivered;
pub mod packed;
mod words;

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result};
use crate::lack::Lack;
use crate::limits::STATEMENTS_KEPT;
use crate::site::{Lock, Role, Site, Turn};
use crate::text::harmless;
use words::UnknownWord;

/// Marks a SQLite file as an airpouch ledger: "APch".
const APPLICATION_ID: i32 = 0x4150_6368;

/// Migrations, by the role's word; a list that only grows. `user_version` counts how many were made.
const MIGRATIONS: [&str; 8] = [
    concat!(include_str!("ledger/packed.sql"), include_str!("ledger/delivered.sql")),
    include_str!("ledger/queues.sql"),
    include_str!("ledger/growth.sql"),
    include_str!("ledger/lost.sql"),
    include_str!("ledger/custody.sql"),
    include_str!("ledger/owners.sql"),
    include_str!("ledger/counts.sql"),
    include_str!("ledger/signers.sql"),
];

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    _lock: Option<Lock>,
}

/// Makes durable what a run that died has left in the site: its commits, which SQLite takes for committed as soon as it
/// reads them, and the names of files. What this run does next rests on them. A run that ended well leaves no log.
fn make_durable(site: &Site) -> Result<()> {
    match site.ledger_log().exists() {
        true => disk::sync_file_system(site.root()),
        false => Ok(()),
    }
}

impl Ledger {
    /// Opens the ledger of a site to work with it, makes it if it is new, and holds the site's lock.
    /// The second value is whether the site was made.
    ///
    /// # Errors
    /// Another run holds the lock; the file is no ledger, another role's, or a newer airpouch's; SQLite refused.
    pub fn open(site: &Site, role: Role) -> Result<(Self, bool)> {
        let path = site.ledger();
        check_is_ours(&path)?;
        let made = site.prepare(role)?;
        let lock = site.lock()?;
        make_durable(site)?;
        let connection = connect(&path, OpenFlags::default())?;
        let mut ledger = Self { connection, _lock: Some(lock) };
        ledger.set_up(&path, role)?;
        site.keep_owner_of_ledger()?;
        Ok((ledger, made))
    }

    /// Opens a ledger to look at it, without the lock.
    ///
    /// # Errors
    /// There is none, or it is not one of ours, or SQLite refused.
    pub fn look(site: &Site) -> Result<Self> {
        let path = site.ledger();
        if !path.exists() {
            return Err(Error::failed("no airpouch site here (no ledger)")
                .at(site.root())
                .advise("name it with --site DIR"));
        }
        check_is_ours(&path)?;
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let ledger = Self { connection, _lock: None };
        let version = ledger.check_version(&path)?;
        if (1..MIGRATIONS.len()).contains(&version) {
            return Err(Error::failed(format!("an older airpouch made this ledger (version {version} of its tables)"))
                .at(&path)
                .advise("run pack, carry or import once with this airpouch: that brings its tables up to date"));
        }
        Ok(ledger)
    }

    /// The role that this ledger was made for.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn role(&self) -> Result<Role> {
        match self.meta("role")?.as_deref() {
            Some("exporter") => Ok(Role::Exporter),
            Some("importer") => Ok(Role::Importer),
            _ => Err(Error::failed("the ledger does not say which side it serves")),
        }
    }

    /// A remembered word.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        let value = self.connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional();
        value.map_err(|e| lost(&e))
    }

    /// Remembers a word.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        put_meta(&self.connection, key, value).map_err(|e| lost(&e))
    }

    /// How far the ledger has come with its site.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn turn(&self) -> Result<Turn> {
        let identity = self.meta("identity")?.unwrap_or_default();
        let count = self.meta("turns")?.and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok(Turn { identity, count, at: String::new() })
    }

    /// Notes how far it has come.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn set_turn(&self, count: u64) -> Result<()> {
        self.set_meta("turns", &count.to_string())
    }

    fn set_up(&mut self, path: &Path, role: Role) -> Result<()> {
        let fault = |e: rusqlite::Error| said("open the ledger", path, &e);
        self.connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
        self.connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
        self.connection.pragma_update(None, "cache_size", -65_536).map_err(fault)?;
        self.connection.pragma_update(None, "foreign_keys", "ON").map_err(fault)?;
        let version = self.check_version(path)?;
        self.check_whole(path)?;
        if version < MIGRATIONS.len() {
            let change = self.connection.transaction().map_err(fault)?;
            for migration in &MIGRATIONS[version..] {
                change.execute_batch(migration).map_err(fault)?;
            }
            change.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
            change.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(fault)?;
            change.execute("INSERT OR IGNORE INTO meta VALUES ('role', ?1)", [role.word()]).map_err(fault)?;
            change.commit().map_err(fault)?;
        }
        let is = self.role()?;
        if is != role {
            let (is, wanted) = (is.word(), role.word());
            return Err(Error::usage(format!("this site is an {is}'s; it cannot be the {wanted}'s too"))
                .at(path)
                .advise("name another directory with --site DIR"));
        }
        Ok(())
    }

    /// Reads a ledger through before it is trusted; a large one only in part, for that takes seconds.
    fn check_whole(&self, path: &Path) -> Result<()> {
        const READ_THROUGH_BYTES: u64 = 32 << 20;
        if std::fs::metadata(path).is_ok_and(|m| m.len() > READ_THROUGH_BYTES) {
            return Ok(());
        }
        let said: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |r| r.get(0))
            .map_err(|e| said("read the ledger", path, &e))?;
        if said == "ok" { Ok(()) } else { Err(damaged(path)) }
    }

    fn check_version(&self, path: &Path) -> Result<usize> {
        let number = |name: &str| self.connection.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
        let version = number("user_version").map_err(|e| said("read the ledger", path, &e))?;
        if version > MIGRATIONS.len() as i64 {
            return Err(Error::failed(format!(
                "this ledger was made by a newer airpouch (version {version} of its tables)"
            ))
            .at(path)
            .advise("use that airpouch, or a newer one"));
        }
        let mark = number("application_id").map_err(|e| said("read the ledger", path, &e))?;
        if version > 0 && mark != i64::from(APPLICATION_ID) {
            return Err(not_ours(path));
        }
        Ok(version as usize)
    }
}

/// Opens the file so that each statement is compiled once and used again. Without the "query planner stability guarantee"
/// SQLite compiles a statement anew whenever another value is bound to it that could have led to another plan, and rusqlite
/// unbinds all values between two uses.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(connection)
    };
    open().map_err(|e| said("open the ledger", path, &e))
}

/// Looks at the file before SQLite does, which would take over an empty one and complain of others in its own words.
fn check_is_ours(path: &Path) -> Result<()> {
    let metadata = match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("look at the ledger", path, &e)),
        Ok(metadata) => metadata,
    };
    if !metadata.is_file() {
        return Err(Error::failed("something that is no file lies in the ledger's place").at(path));
    }
    let head = crate::disk::read_bounded_following(path, 15).map_err(|e| Error::io("read the ledger", path, &e))?;
    if head.is_empty() || head.starts_with(b"SQLite format 3") { Ok(()) } else { Err(not_ours(path)) }
}

fn not_ours(path: &Path) -> Error {
    Error::failed("this file is not an airpouch ledger; it was left as it is")
        .at(path)
        .advise("name another site with --site DIR")
}

/// An error of SQLite, with what was being done.
fn said(doing: &str, path: &Path, cause: &rusqlite::Error) -> Error {
    if let Some(lack) = lack_of(path, cause) {
        return Error::lacking(doing, lack).at(path);
    }
    if let rusqlite::Error::FromSqlConversionFailure(_, _, inner) = cause
        && let Some(UnknownWord { of, word }) = inner.downcast_ref()
    {
        let what = format!("the ledger says {:?} of {of}, which this airpouch does not know", harmless(word));
        return Error::failed(what).at(path).advise("use the airpouch that wrote it, or a newer one");
    }
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::failed("another program holds the ledger locked")
                .at(path)
                .advise("close that program, then run this again")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::failed(format!("cannot {doing}: this user may not write it")).at(path)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path),
        _ => Error::failed(format!("cannot {doing}: {cause}")).at(path),
    }
}

/// What the machine lacks, as far as SQLite says it: of a file that cannot be opened only the system says why, and where
/// the index beside the log cannot grow, SQLite speaks of the disk and not of its room.
#[expect(clippy::disallowed_methods, reason = "nothing is read: only the answer counts")]
fn lack_of(path: &Path, cause: &rusqlite::Error) -> Option<Lack> {
    match (cause.sqlite_error_code()?, cause.sqlite_extended_error_code()?) {
        (_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE) | (ErrorCode::DiskFull, _) => Some(Lack::Room),
        (_, rusqlite::ffi::SQLITE_IOERR_NOMEM) | (ErrorCode::OutOfMemory, _) => Some(Lack::Memory),
        (ErrorCode::CannotOpen, _) => std::fs::File::open(path).err().and_then(|e| Lack::of(&e)),
        _ => None,
    }
}

fn damaged(path: &Path) -> Error {
    Error::failed("the ledger is damaged")
        .at(path)
        .advise("bring it back from a backup; `sqlite3 ledger.db .recover` shows what is left")
}

/// An error of SQLite in the middle of work.
fn put_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(sql, [key, value]).map(drop)
}

fn lost(cause: &rusqlite::Error) -> Error {
    said("read or write the ledger", Path::new("ledger.db"), cause)
}

fn digest_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes: Vec<u8> = row.get(column)?;
    Digest::from_bytes(&bytes).ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(column, bytes.len() as i64))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_site_keeps_its_role() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let (ledger, made) = Ledger::open(&site, Role::Exporter).unwrap();
        assert!(made);
        drop(ledger);
        let refused = Ledger::open(&site, Role::Importer).unwrap_err();
        assert_eq!(refused.stop, crate::error::Stop::Usage);
        assert!(!Ledger::open(&site, Role::Exporter).unwrap().1);
    }

    #[test]
    fn a_second_run_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let held = Ledger::open(&site, Role::Exporter).unwrap();
        assert_eq!(Ledger::open(&site, Role::Exporter).unwrap_err().stop, crate::error::Stop::Locked);
        drop(held);
        assert!(Ledger::open(&site, Role::Exporter).is_ok());
    }

    #[test]
    fn ledger_of_an_older_airpouch_is_not_looked_at_before_it_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        site.prepare(Role::Exporter).unwrap();
        let older = Connection::open(site.ledger()).unwrap();
        older.execute_batch(MIGRATIONS[0]).unwrap();
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", 1).unwrap();
        older.execute("INSERT INTO meta VALUES ('role', 'exporter')", []).unwrap();
        let refused = Ledger::look(&site).unwrap_err();
        assert_eq!(refused.what, "an older airpouch made this ledger (version 1 of its tables)");
        drop(Ledger::open(&site, Role::Exporter).unwrap());
        assert_eq!(Ledger::look(&site).unwrap().role().unwrap(), Role::Exporter);
    }

    #[test]
    fn statement_used_for_many_streams_is_compiled_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let (mut ledger, _) = Ledger::open(&site, Role::Exporter).unwrap();
        let streams: Vec<_> = (1..=4)
            .map(|n| ledger.begin_stream(crate::stream::StreamId::from_random([n; 16]), "zone", None).unwrap())
            .collect();
        for ledger in [&ledger, &Ledger::look(&site).unwrap()] {
            for stream in &streams {
                assert!(ledger.lost_numbers(stream).unwrap().is_empty());
                assert!(ledger.active_stream(&stream.zone).unwrap().is_some());
                assert!(ledger.proofs(stream).unwrap().is_empty());
                assert!(ledger.packed_among(stream, &"1-7".parse().unwrap()).unwrap().is_empty());
            }
            for sql in [
                "SELECT sequence FROM lost_batch WHERE stream = ?1",
                "SELECT DISTINCT sequence, proof FROM carried WHERE stream = ?1",
            ] {
                let query = ledger.connection.prepare_cached(sql).unwrap();
                let status = |of| query.get_status(of);
                assert_eq!((status(StatementStatus::Run), status(StatementStatus::RePrepare)), (4, 0), "{sql}");
            }
        }
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
