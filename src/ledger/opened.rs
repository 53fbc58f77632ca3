//! Opening the file: to work with it, which takes the site's lock, or only to read in it.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::fault::{damaged, said};
use super::schema::{MIGRATIONS, migrate, not_ours, version};
use crate::disk::{self, LockWait};
use crate::error::{Error, Result};
use crate::limits::STATEMENTS_KEPT;
use crate::site::{Lock, Role, Site};

/// Opens the ledger of a site to work with it, and makes it if it is new: the third value is whether the site was made.
pub(super) fn open(site: &Site, role: Role, wait: LockWait<'_>) -> Result<(Connection, Lock, bool)> {
    let path = site.ledger();
    check_is_ours(&path)?;
    let is_new = site.prepare(role)?;
    let lock = site.lock(wait)?;
    make_durable(site)?;
    let mut connection = connect(&path, OpenFlags::default())?;
    set_up(&connection, &path)?;
    version(&connection, &path)?;
    check_whole(&connection, &path)?;
    migrate(&mut connection, &path, role)?;
    only(role, role_of(&connection)?, &path)?;
    site.keep_owner_of_ledger()?;
    Ok((connection, lock, is_new))
}

/// Opens a ledger to read in it, without the lock; the second value is whose it is.
pub(super) fn look(site: &Site) -> Result<(Connection, Role)> {
    let path = site.ledger();
    if !path.exists() {
        return Err(Error::failed("no airpouch site here (no ledger)")
            .at(site.root())
            .advise("name it with --site DIR"));
    }
    check_is_ours(&path)?;
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let version = version(&connection, &path)?;
    if (1..MIGRATIONS.len()).contains(&version) {
        return Err(Error::failed(format!("an older airpouch made this ledger (version {version} of its tables)"))
            .at(&path)
            .advise("run pack, carry or import once with this airpouch: that brings its tables up to date"));
    }
    let role = role_of(&connection)?;
    Ok((connection, role))
}

/// Refuses the ledger of the other side.
pub(super) fn only(wanted: Role, is: Role, path: &Path) -> Result<()> {
    if is == wanted {
        return Ok(());
    }
    let (is, wanted) = (is.word(), wanted.word());
    Err(Error::usage(format!("this site is an {is}'s; it cannot be the {wanted}'s too"))
        .at(path)
        .advise("name another directory with --site DIR"))
}

fn role_of(connection: &Connection) -> Result<Role> {
    let role = connection.query_row("SELECT value FROM meta WHERE key = 'role'", [], |r| r.get::<_, String>(0));
    match role.optional()?.as_deref() {
        Some("exporter") => Ok(Role::Exporter),
        Some("importer") => Ok(Role::Importer),
        _ => Err(Error::failed("the ledger does not say which side it serves")),
    }
}

/// Makes durable what a run that died has left in the site: its commits, which SQLite takes for committed as soon as it
/// reads them, and the names of files. What this run does next rests on them. A run that ended well leaves no log.
fn make_durable(site: &Site) -> Result<()> {
    match site.ledger_log().exists() {
        true => disk::sync_file_system(site.root()),
        false => Ok(()),
    }
}

/// WAL with synchronous FULL: a commit that returned is there after a power cut (measured; NORMAL loses rows).
fn set_up(connection: &Connection, path: &Path) -> Result<()> {
    let fault = |e: rusqlite::Error| said("open the ledger", path, &e);
    connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "cache_size", -65_536).map_err(fault)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(fault)
}

/// Reads a ledger through before it is trusted; a large one only in part, for that takes seconds.
fn check_whole(connection: &Connection, path: &Path) -> Result<()> {
    const READ_THROUGH_BYTES: u64 = 32 << 20;
    if std::fs::metadata(path).is_ok_and(|m| m.len() > READ_THROUGH_BYTES) {
        return Ok(());
    }
    let answer = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get::<_, String>(0));
    match answer.map_err(|e| said("read the ledger", path, &e))?.as_str() {
        "ok" => Ok(()),
        _ => Err(damaged(path)),
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
        return Err(Error::failed("the ledger is not a file").at(path));
    }
    let head = disk::read_bounded_following(path, 15).map_err(|e| Error::io("read the ledger", path, &e))?;
    if head.is_empty() || head.starts_with(b"SQLite format 3") { Ok(()) } else { Err(not_ours(path)) }
}
