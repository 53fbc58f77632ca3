//! quarantine: what was set aside, and what a person decides about it. Each decision is made for all envelopes that are
//! named, or for none.

mod listed;
mod second;
mod signed;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::importer::{AsideKind, AsideRow, ImporterLedger, ImporterView, PastKind, PastRow};
use crate::report::{Decided, RejectReport, ReleaseReport, UnrejectReport, UnreleaseReport};
use crate::set_aside;
use crate::site::Site;
use crate::text::{count, harmless};

pub use listed::{AskedAside, each, groups, show};
pub use second::SecondName;
pub use signed::Signing;

/// Digits of a digest that name an envelope, at the least.
const DIGITS_MIN: usize = 8;

/// What a person decides about, and why.
#[derive(Debug, Clone, Copy)]
pub struct AskedToDecide<'a> {
    /// The beginnings of digests.
    pub named: &'a [String],
    /// Why.
    pub reason: &'a str,
}

/// Releases what was quarantined, named in lower case or upper case.
///
/// # Errors
/// One of them names none or several, or one that is no longer quarantined, or needs a second name or signature; SQLite
/// refused.
pub fn release(
    ledger: &ImporterLedger,
    asked: AskedToDecide<'_>,
    second: &SecondName<'_>,
    signing: &Signing<'_>,
) -> Result<ReleaseReport> {
    second.check()?;
    let rows = asked.all(ledger, "nothing was released", |found| match found.aside {
        // Released before the policy demanded signatures, or before an officer's key ended.
        Some(row) if row.kind == AsideKind::Released && !signing.stands(ledger, &row)? => Ok(row),
        aside => {
            let row = to_release(Found { aside, ..found })?;
            // Who signs needs no claim of a name.
            if signing.need(&row) == 0 { second.check_for(&row).map(|()| row) } else { Ok(row) }
        }
    })?;
    let (to_sign, plain): (Vec<AsideRow>, Vec<AsideRow>) = rows.into_iter().partition(|row| signing.need(row) > 0);
    let reason = Some(asked.reason).filter(|reason| !reason.is_empty());
    if reason.is_none() && !plain.is_empty() {
        return Err(Error::usage("this needs a reason; the ledger keeps it").advise("--reason TEXT"));
    }
    let signed = signing.sign(ledger, &to_sign, reason)?;
    ledger.release(&plain, asked.reason, second.given)?;
    let is_released = |row: &&AsideRow| signed.iter().any(|signed| signed.is_released && signed.sha256 == row.sha256);
    let envelopes: Vec<Decided> = to_sign.iter().filter(is_released).chain(&plain).map(decided).collect();
    let first = signed.first().map(|signed| (signed.sha256, signed.code, signed.what.clone(), signed.reason.clone()));
    let first = first.or_else(|| {
        let row = plain.first()?;
        Some((row.sha256, row.code, row.what.clone(), asked.reason.to_owned()))
    });
    let Some((released, code, what, reason)) = first else { return Err(none_named()) };
    let second = second.given.map(str::to_owned);
    Ok(ReleaseReport { released, reason, code, what, second, envelopes, signed })
}

/// Takes back releases of what was not delivered yet.
///
/// # Errors
/// One of them is not released, or may be delivered; SQLite refused.
pub fn unrelease(ledger: &ImporterLedger, asked: AskedToDecide<'_>) -> Result<UnreleaseReport> {
    let rows = asked.all(ledger, "no release was taken back", |found| match found.aside {
        Some(row) if row.kind == AsideKind::Released => still_here(ledger, row),
        Some(row) => Err(Error::usage(format!("{} is {}, not released", row.sha256.short(), row.kind.word()))
            .advise("see the list: airpouch quarantine list --released")),
        None => Err(settled(&found.past)),
    })?;
    ledger.unrelease(&rows, asked.reason)?;
    let unreleased = rows.iter().map(decided).collect();
    Ok(UnreleaseReport { unreleased, reason: asked.reason.to_owned() })
}

/// Rejects what is held or quarantined: it is never delivered. With `gone` the copies of it go too, which is also for what
/// was rejected before.
///
/// # Errors
/// One of them is released, or was settled; SQLite or the system refused.
pub fn reject(site: &Site, ledger: &ImporterLedger, asked: AskedToDecide<'_>, gone: bool) -> Result<RejectReport> {
    let rows =
        asked.all(ledger, "nothing was rejected", |found| match (found.aside, found.past.into_iter().next()) {
            (Some(row), _) if row.kind == AsideKind::Released => {
                Err(Error::usage(format!("{} was released, and is not delivered yet", row.sha256.short())).advise(
                    format!("first take that back: airpouch quarantine unrelease {} --reason TEXT", row.sha256.short()),
                ))
            }
            (Some(row), _) => still_here(ledger, row),
            (None, Some(past)) if past.outcome == PastKind::Rejected && gone && past.row.copied => Ok(past.row),
            (None, past) => Err(settled(&Vec::from_iter(past))),
        })?;
    ledger.reject(&rows, asked.reason, gone)?;
    // The ledger knows it first: what a crash leaves of them, the next import takes away.
    for row in rows.iter().filter(|row| gone && row.copied) {
        set_aside::remove(site, row.kind.place(), row.sha256)?;
    }
    let copy = |row: &AsideRow| match (row.copied, gone) {
        (false, _) => "none",
        (true, false) => "kept",
        (true, true) => "removed",
    };
    let rejected = rows.iter().map(|row| Decided { copy: Some(copy(row)), ..decided(row) }).collect();
    Ok(RejectReport { rejected, reason: asked.reason.to_owned() })
}

/// Takes back rejections. What has bytes left in the site is set aside as it was; the other is judged anew when it comes.
///
/// # Errors
/// One of them was not rejected; SQLite or the system refused.
pub fn unreject(site: &Site, ledger: &ImporterLedger, asked: AskedToDecide<'_>) -> Result<UnrejectReport> {
    let rows = asked.all(ledger, "no rejection was taken back", |found| match (found.aside, found.past) {
        (Some(row), _) => Err(Error::usage(format!("{} is {}, not rejected", row.sha256.short(), row.kind.word()))
            .advise("see the list: airpouch quarantine list --rejected")),
        (None, past) => match past.into_iter().next() {
            Some(past) if past.outcome == PastKind::Rejected => Ok(past.row),
            past => Err(settled(&Vec::from_iter(past))),
        },
    })?;
    let mut with_bytes = Vec::new();
    for row in rows {
        let is_there = row.copied || ledger.incoming_by_id(row.batch)?.is_some_and(|batch| !batch.pruned);
        with_bytes.push((row, is_there));
    }
    ledger.unreject(&with_bytes, asked.reason)?;
    // A crash may have left a copy of what the ledger knows none of.
    for (row, _) in with_bytes.iter().filter(|(_, is_there)| !is_there) {
        set_aside::remove(site, row.kind.place(), row.sha256)?;
    }
    let stands = |(row, is_there): &(AsideRow, bool)| {
        let kind = Some(if *is_there { row.kind.word() } else { "gone" });
        Decided { kind, ..decided(row) }
    };
    let advice = with_bytes.iter().find(|(_, is_there)| !is_there).map(|(row, _)| {
        format!(
            "at the exporter: airpouch carry MEDIUM --resend {}:{}; then here: airpouch import MEDIUM --redeliver",
            row.stream, row.sequence
        )
    });
    Ok(UnrejectReport { unrejected: with_bytes.iter().map(stands).collect(), reason: asked.reason.to_owned(), advice })
}

/// All that the ledger knows of one envelope that is or was set aside.
struct Found {
    aside: Option<AsideRow>,
    /// The last first.
    past: Vec<PastRow>,
}

impl Found {
    /// The one envelope that a digest's beginning names.
    fn of(ledger: &ImporterView, named: &str) -> Result<Self> {
        if named.len() < DIGITS_MIN {
            return Err(Error::usage("name at least eight digits of the digest")
                .advise("see the list: airpouch quarantine list"));
        }
        let named = named.to_ascii_lowercase();
        let begins = |sha256: Digest| sha256.to_string().starts_with(&named);
        let (mut aside, mut past) = (ledger.aside_by_beginning(&named)?, ledger.past_by_beginning(&named)?);
        aside.retain(|row| begins(row.sha256));
        past.retain(|past| begins(past.row.sha256));
        let mut digests = aside.iter().map(|row| row.sha256).chain(past.iter().map(|past| past.row.sha256));
        let first = digests.next();
        match first {
            None => Err(Error::usage(format!(
                "{:?} does not begin the digest of any envelope that is set aside",
                harmless(&named)
            ))
            .advise("see the list: airpouch quarantine list")),
            Some(first) if digests.any(|digest| digest != first) => {
                Err(Error::usage(format!("{:?} begins several digests", harmless(&named)))
                    .advise("give more digits of it; see the list: airpouch quarantine list"))
            }
            Some(_) => Ok(Self { aside: aside.pop(), past }),
        }
    }
}

impl AskedToDecide<'_> {
    /// The envelope of each name, once, as far as it `fits`; `nothing` is what is said of the others if one does not.
    fn all(
        &self,
        ledger: &ImporterView,
        nothing: &str,
        fits: impl Fn(Found) -> Result<AsideRow>,
    ) -> Result<Vec<AsideRow>> {
        let mut rows: Vec<AsideRow> = Vec::new();
        for named in self.named {
            let row = Found::of(ledger, named).and_then(&fits).map_err(|mut error| {
                if self.named.len() > 1 {
                    let all = count(self.named.len() as u64, "envelope");
                    error.what = format!("{}; {nothing} of the {all}", error.what);
                }
                error
            })?;
            if rows.iter().all(|known| known.sha256 != row.sha256) {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

fn none_named() -> Error {
    Error::usage("no envelope is named").advise("see the list: airpouch quarantine list")
}

/// The envelope, if it can be released.
fn to_release(found: Found) -> Result<AsideRow> {
    let Some(row) = found.aside else { return Err(settled(&found.past)) };
    match row.kind {
        AsideKind::Quarantined => Ok(row),
        AsideKind::Released => Err(Error::usage(format!("{} was released already", row.sha256.short()))
            .advise("deliver it, or see what still speaks against it: airpouch import")),
        AsideKind::Held => Err(Error::usage(format!("{} is held, not quarantined: {}", row.sha256.short(), row.what))
            .advise(row.code.advice(row.sha256, &row.connector))),
    }
}

/// The envelope, unless a run that was cut off may have delivered it.
fn still_here(ledger: &ImporterView, row: AsideRow) -> Result<AsideRow> {
    if row.kind != AsideKind::Quarantined && ledger.may_be_delivered(row.sha256)? {
        let what =
            format!("{} may be delivered: the last import was cut off before that was noted", row.sha256.short());
        return Err(Error::failed(what).advise("let it come to its end first: airpouch import"));
    }
    Ok(row)
}

/// What is said of an envelope about which was decided before.
fn settled(past: &[PastRow]) -> Error {
    let Some(PastRow { row, outcome, settled_at }) = past.first() else { return none_named() };
    let short = row.sha256.short();
    match outcome {
        PastKind::Rejected => Error::usage(format!("{short} was rejected on {settled_at}")).advise(format!(
            "who did it, and why: airpouch quarantine show {short}; to take that back: airpouch quarantine unreject {short} --reason TEXT"
        )),
        PastKind::Delivered | PastKind::Empty => {
            let became = if *outcome == PastKind::Empty { "had nothing to deliver" } else { "was delivered" };
            Error::usage(format!("{short} was released, and {became} on {settled_at}"))
                .advise(format!("who released it, and why: airpouch quarantine show {short}"))
        }
    }
}

fn decided(row: &AsideRow) -> Decided {
    Decided { sha256: row.sha256, code: row.code, what: row.what.clone(), copy: None, kind: None }
}
