//! arrived: holds a code that the importer said against the newest batches, and notes what it acknowledges.

use crate::arrival::{ArrivalCode, ArrivedHead, PairingKey};
use crate::clock;
use crate::code::Code;
use crate::deed::{Deed, WhyRefused};
use crate::error::{Error, Result};
use crate::ledger::exporter::{Acknowledgement, ExporterLedger, StreamRow};
use crate::limits::{ARRIVAL_HEADS_MAX, WRONG_CODES_MAX};
use crate::pairing::PairedWith;
use crate::report::{AcknowledgedLine, ArrivedReport, Finding, UnacknowledgedLine};
use crate::site::Site;
use crate::stream::Numbers;
use crate::text::grouped;

/// A code as it was said.
#[derive(Debug)]
pub struct SaidCode<'a> {
    /// The code.
    pub code: ArrivalCode,
    /// The numbers that were said not to have arrived.
    pub without: &'a Numbers,
    /// When, in seconds since 1970.
    pub now: i64,
}

/// Notes what a code acknowledges.
///
/// # Errors
/// The site is not paired; too many codes were wrong; the system or SQLite refused.
pub fn arrived(site: &Site, ledger: &mut ExporterLedger, said: &SaidCode<'_>) -> Result<ArrivedReport> {
    let paired = paired(site, ledger)?;
    if paired.is_empty() {
        return Err(Error::usage("this site is not paired with an importer: no code acknowledges anything")
            .advise("pair it, once: airpouch pair"));
    }
    let wrong = ledger.wrong_codes(said.now)?;
    if wrong >= WRONG_CODES_MAX {
        ledger.notes().add(&Deed::ArrivalRefused { why: WhyRefused::TooManyWrong, wrong })?;
        let until = ledger.wrong_codes_until()?.map_or_else(String::new, |at| format!(" before {}", clock::utc(at)));
        let what = format!("{wrong} codes were wrong within an hour: none is tried{until}, and this one was not");
        return Err(Error::failed(what)
            .advise("find out who typed them (airpouch log --event arrival-refused); then ask the importer again"));
    }
    let Some((row, head)) = find(ledger, &paired, said)? else {
        ledger.note_wrong_code(wrong + 1, said.now)?;
        return Ok(ArrivedReport { findings: vec![wrong_code(wrong + 1)], ..ArrivedReport::default() });
    };
    let ArrivedHead { stream, sequence, without, .. } = head;
    let code = said.code.to_string();
    let acknowledgement = Acknowledgement { stream, sequence, without: without.clone(), code: code.clone() };
    let new = ledger.acknowledge(&row, &acknowledgement, &clock::utc(said.now))?;
    let acknowledged = ledger.acknowledged(&row)?;
    let said = Some(AcknowledgedLine { stream, sequence, code, without, new, acknowledged });
    Ok(ArrivedReport { said, open: open(ledger)?, findings: Vec::new() })
}

/// The streams whose zones have a key.
fn paired(site: &Site, ledger: &ExporterLedger) -> Result<Vec<(StreamRow, PairingKey)>> {
    let mut paired = Vec::new();
    for row in ledger.streams()? {
        if let Some(key) = PairedWith::Zone(&row.zone).key(site)? {
            paired.push((row, key));
        }
    }
    Ok(paired)
}

/// What the code says. If it ever fits two batches of a stream by chance, the lower number counts: that acknowledges less.
fn find(
    ledger: &ExporterLedger,
    paired: &[(StreamRow, PairingKey)],
    said: &SaidCode<'_>,
) -> Result<Option<(StreamRow, ArrivedHead)>> {
    for (row, key) in paired {
        let heads = ledger.heads(row, ARRIVAL_HEADS_MAX)?.into_iter().rev();
        let mut heads = heads.map(|(sequence, sha256)| ArrivedHead {
            zone: row.zone.clone(),
            stream: row.stream,
            sequence,
            sha256,
            without: said.without.clone(),
        });
        if let Some(head) = heads.find(|head| head.code(key) == said.code) {
            return Ok(Some((row.clone(), head)));
        }
    }
    Ok(None)
}

fn wrong_code(wrong: u64) -> Finding {
    let left = WRONG_CODES_MAX.saturating_sub(wrong);
    let heads = grouped(ARRIVAL_HEADS_MAX);
    let what =
        format!("the code is not mistyped, and fits none of the newest {heads} batches; nothing is acknowledged");
    Finding::new(Code::WrongCode, format!("{what} ({left} more may be tried within an hour)")).advise(
        "ask the importer for the code of its status, and for the numbers it has not: airpouch arrived CODE --without NUMBERS",
    )
}

/// What was packed and is not acknowledged: of each stream, but for what was given up and never comes.
fn open(ledger: &ExporterLedger) -> Result<Vec<UnacknowledgedLine>> {
    let mut open = Vec::new();
    for row in ledger.streams()? {
        let packed = ledger.packed_numbers(&row)?.without(&ledger.lost_numbers(&row)?);
        let sequences = packed.without(&ledger.acknowledged(&row)?);
        if !sequences.is_empty() {
            open.push(UnacknowledgedLine { stream: row.stream, sequences });
        }
    }
    Ok(open)
}
