//! The three questions that are put to the ledger. Each statement is compiled once and kept.

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::error::Result;

/// All rows.
pub(super) fn all<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<C> {
    let mut query = connection.prepare_cached(sql)?;
    Ok(query.query_map(values, read)?.collect::<rusqlite::Result<C>>()?)
}

/// The first row, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    Ok(connection.prepare_cached(sql)?.query_row(values, read).optional()?)
}

/// Whether there is a row.
pub(super) fn any(connection: &Connection, sql: &str, values: impl Params) -> Result<bool> {
    Ok(connection.prepare_cached(sql)?.exists(values)?)
}
