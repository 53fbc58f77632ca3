//! The tables, and how those of an older airpouch become those of this one.

use std::path::Path;

use rusqlite::Connection;

use super::fault::said;
use crate::error::{Error, Result};
use crate::site::Role;

/// The `application_id` by which SQLite files of airpouch are known: "APch".
pub(super) const APPLICATION_ID: i32 = 0x4150_6368;

/// Migrations, by the role's word; a list that only grows. `user_version` counts how many were made.
pub(super) const MIGRATIONS: [&str; 19] = [
    concat!(include_str!("packed.sql"), include_str!("delivered.sql")),
    include_str!("queues.sql"),
    include_str!("growth.sql"),
    include_str!("lost.sql"),
    include_str!("custody.sql"),
    include_str!("owners.sql"),
    include_str!("counts.sql"),
    include_str!("signers.sql"),
    include_str!("journal.sql"),
    include_str!("ages.sql"),
    include_str!("decisions.sql"),
    include_str!("peer.sql"),
    include_str!("pairs.sql"),
    include_str!("followed.sql"),
    include_str!("signed.sql"),
    include_str!("promise.sql"),
    include_str!("lookup.sql"),
    include_str!("quiet.sql"),
    include_str!("arrival.sql"),
];

/// Brings the tables up to date; a new ledger is the one of this role from then on.
pub(super) fn migrate(connection: &mut Connection, path: &Path, role: Role) -> Result<()> {
    let version = version(connection, path)?;
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    let fault = |e: rusqlite::Error| said("open the ledger", path, &e);
    let change = connection.transaction().map_err(fault)?;
    for migration in &MIGRATIONS[version..] {
        change.execute_batch(migration).map_err(fault)?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
    change.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(fault)?;
    change.execute("INSERT OR IGNORE INTO meta VALUES ('role', ?1)", [role.word()]).map_err(fault)?;
    change.commit().map_err(fault)
}

/// How many of the migrations were made.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<usize> {
    let number = |name: &str| connection.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
    let version = number("user_version").map_err(|e| said("read the ledger", path, &e))?;
    if version > MIGRATIONS.len() as i64 {
        return Err(Error::failed(format!(
            "this ledger was made by a newer airpouch (version {version} of its tables)"
        ))
        .at(path)
        .advise("use that airpouch, or a newer one"));
    }
    let application_id = number("application_id").map_err(|e| said("read the ledger", path, &e))?;
    if version > 0 && application_id != i64::from(APPLICATION_ID) {
        return Err(not_ours(path));
    }
    Ok(version as usize)
}

pub(super) fn not_ours(path: &Path) -> Error {
    Error::failed("this file is not an airpouch ledger; it was left as it is")
        .at(path)
        .advise("name another site with --site DIR")
}
