//! How values stand in the ledger's columns: digests as bytes, ids and states as words. A word that this airpouch does not
//! know is an error that names it.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::exporter::PackedState;
use super::fault::UnknownWord;
use super::importer::{AsideKind, DecisionKind, PastKind, State};
use crate::code::Code;
use crate::digest::Digest;
use crate::report::Proof;
use crate::stream::StreamId;

fn read<T>(value: ValueRef<'_>, of: &'static str, parse: impl Fn(&str) -> Option<T>) -> FromSqlResult<T> {
    let word = value.as_str()?;
    parse(word).ok_or_else(|| FromSqlError::other(UnknownWord { of, word: word.to_owned() }))
}

/// What an older airpouch called some codes.
fn code(word: &str) -> Option<Code> {
    match word {
        "lying-manifest" => Some(Code::InvalidManifest),
        "lying-batch" => Some(Code::InvalidBatch),
        _ => Code::parse(word),
    }
}

impl FromSql for Digest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let size = FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: bytes.len() };
        Self::from_bytes(bytes).ok_or(size)
    }
}

impl FromSql for StreamId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        read(value, "a stream", Self::parse)
    }
}

macro_rules! words {
    ($($type:ident is $of:literal by $parse:expr,)*) => {
        $(
            impl FromSql for $type {
                fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                    read(value, $of, $parse)
                }
            }

            impl ToSql for $type {
                fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                    Ok(self.word().into())
                }
            }
        )*
    };
}

words! {
    State is "the state of a batch" by Self::parse,
    PackedState is "the state of a packed batch" by Self::parse,
    AsideKind is "an envelope that is set aside" by Self::parse,
    DecisionKind is "a decision about an envelope" by Self::parse,
    PastKind is "an envelope that was set aside" by Self::parse,
    Proof is "the proof of a carry" by Self::parse,
    Code is "a batch or an envelope that waits" by code,
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::error::Error;

    fn read<T: FromSql>(word: &str) -> Result<T, Error> {
        let connection = Connection::open_in_memory().unwrap();
        Ok(connection.query_row("SELECT ?1", [word], |r| r.get(0))?)
    }

    #[test]
    fn word_that_is_unknown_is_named_with_its_ledger() {
        assert_eq!(read::<State>("whole").unwrap(), State::Whole);
        assert_eq!(read::<AsideKind>("released").unwrap(), AsideKind::Released);
        let error = read::<AsideKind>("let\u{1b}go").unwrap_err();
        assert_eq!(
            error.what,
            "the ledger says \"let\\\\u{1b}go\" of an envelope that is set aside, which this airpouch does not know"
        );
        assert_eq!(error.place.unwrap(), std::path::Path::new("ledger.db").display().to_string());
    }

    #[test]
    fn code_of_an_older_airpouch_is_read() {
        assert_eq!(read::<Code>("lying-batch").unwrap(), Code::InvalidBatch);
        assert_eq!(read::<Code>("fork").unwrap(), Code::Fork);
    }
}
