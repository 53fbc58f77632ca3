//! quarantine: what was set aside, and what a person releases of it.

use crate::error::{Error, Result};
use crate::ledger::importer::{AsideKind, AsideRow, ImporterLedger, ImporterView};
use crate::report::{NamedConnector, NamedEnvelope, ReleaseReport, SetAside};
use crate::text::harmless;

/// Hands over each envelope that was set aside: there may be more than fits into memory.
///
/// # Errors
/// SQLite refused, or whoever takes them did.
pub fn each(ledger: &ImporterView, mut take: impl FnMut(SetAside) -> Result<()>) -> Result<()> {
    ledger.each_aside(|row| take(set_aside(row)))
}

/// Releases the one envelope that a digest's beginning names, in lower case or upper case.
///
/// # Errors
/// It names none or several, or one that is held or was released; SQLite refused.
pub fn release(ledger: &ImporterLedger, named: &str, reason: &str) -> Result<ReleaseReport> {
    let rows = ledger.aside_by_beginning(&named.to_ascii_lowercase())?;
    let row = to_release(&rows, named)?;
    ledger.release(row, reason)?;
    Ok(ReleaseReport { released: row.sha256, reason: reason.to_owned(), code: row.code, what: row.what.clone() })
}

fn set_aside(row: AsideRow) -> SetAside {
    SetAside {
        advice: row.code.advice(row.sha256, &row.connector),
        sha256: row.sha256,
        kind: row.kind.word(),
        code: row.code,
        what: row.what,
        pointer: row.place,
        stream: row.stream,
        sequence: row.sequence,
        envelope: NamedEnvelope { ordinal: row.ordinal, name: row.name },
        connector: NamedConnector { id: row.connector, name: row.connector_name },
        applicant: row.applicant,
        copied: row.copied,
    }
}

/// The one envelope that a digest's beginning names, if it can be released.
fn to_release<'a>(rows: &'a [AsideRow], named: &str) -> Result<&'a AsideRow> {
    let named = named.to_ascii_lowercase();
    let mut fitting = rows.iter().filter(|row| row.sha256.to_string().starts_with(&named));
    let row = match (fitting.next(), fitting.next()) {
        (Some(row), None) => row,
        (None, _) => {
            return Err(Error::usage(format!(
                "{:?} does not begin the digest of any envelope that is set aside",
                harmless(&named)
            ))
            .advise("see the list: airpouch quarantine list"));
        }
        (Some(_), Some(_)) => {
            return Err(Error::usage(format!("{:?} begins several digests", harmless(&named)))
                .advise("give more digits of it; see the list: airpouch quarantine list"));
        }
    };
    match row.kind {
        AsideKind::Quarantined => Ok(row),
        AsideKind::Released => Err(Error::usage(format!("{} was released already", row.sha256.short()))
            .advise("deliver it, or see what still speaks against it: airpouch import")),
        AsideKind::Held => Err(Error::usage(format!("{} is held, not quarantined: {}", row.sha256.short(), row.what))
            .advise(row.code.advice(row.sha256, &row.connector))),
    }
}
