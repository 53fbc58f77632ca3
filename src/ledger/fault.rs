//! What SQLite says, in words of the ledger.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;
use crate::lack::Lack;
use crate::text::harmless;

/// A word of the ledger that this airpouch does not know.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is unknown of {of}")]
pub(super) struct UnknownWord {
    /// Of what it is said.
    pub(super) of: &'static str,
    /// The word.
    pub(super) word: String,
}

/// In the middle of work: the path of the ledger was said when it was opened.
impl From<rusqlite::Error> for Error {
    fn from(cause: rusqlite::Error) -> Self {
        said("read or write the ledger", Path::new("ledger.db"), &cause)
    }
}

/// An error of SQLite, with what was being done.
pub(super) fn said(doing: &str, path: &Path, cause: &rusqlite::Error) -> Error {
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

pub(super) fn damaged(path: &Path) -> Error {
    Error::failed("the ledger is damaged")
        .at(path)
        .advise("bring it back from a backup; `sqlite3 ledger.db .recover` shows what is left")
}
