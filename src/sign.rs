//! sign: signs batches of the outbox with a further key, where the old one has ended or another one has to be beside it.

use crate::batch::name;
use crate::error::{Error, Result};
use crate::ledger::exporter::{ExporterLedger, StreamRow};
use crate::report::{SignReport, SignedNumbers};
use crate::shelf::kept::KeptShelf;
use crate::stream::{Asked, Numbers};
use crate::trust::PrivateKey;

/// Which batches to sign, and with what.
pub struct AskedToSign<'a> {
    /// The zone that they are for.
    pub zone: &'a str,
    /// The batches; none: all that were packed for the zone.
    pub batches: &'a [Asked],
    /// The keys.
    pub keys: &'a [PrivateKey],
}

/// Signs the batches that are asked for, and notes it. What these keys have signed is left as it is.
///
/// # Errors
/// Nothing was packed for the zone; a batch that is asked for is not there; the system or SQLite refused.
pub fn sign(ledger: &mut ExporterLedger, outbox: &KeptShelf, asked: &AskedToSign<'_>) -> Result<SignReport> {
    let Some(active) = ledger.active_stream(asked.zone)? else {
        return Err(Error::usage(format!("nothing was packed for zone {}", asked.zone))
            .advise("`airpouch status` shows the zones of this site"));
    };
    let mut lineage = ledger.lineage(&active)?;
    lineage.reverse();
    let is_of_none = |of: &&Asked| !lineage.iter().any(|stream| of.is_of(stream.stream, stream.active));
    if let Some(stream) = asked.batches.iter().find(is_of_none).and_then(|of| of.stream) {
        return Err(Error::usage(format!("no batch of stream {stream} goes to this zone"))
            .advise("`airpouch status` lists the streams, each with its zone"));
    }
    let mut report =
        SignReport { keys: asked.keys.iter().map(|key| key.public().fingerprint()).collect(), ..SignReport::default() };
    for stream in &lineage {
        let numbers = chosen(ledger, stream, asked.batches)?;
        let due = unsigned(ledger, outbox, stream, &numbers, asked.keys)?;
        let before = numbers.without(&due);
        for (numbers, list) in [(due.clone(), &mut report.signed), (before, &mut report.before)] {
            if !numbers.is_empty() {
                list.push(SignedNumbers { stream: stream.stream, sequences: numbers });
            }
        }
        if !due.is_empty() {
            // First: a signature that nobody knows of must not go out. What a crash leaves unsigned, the next run signs.
            ledger.note_signed(stream, &due, &asked.keys.iter().map(PrivateKey::public).collect::<Vec<_>>())?;
            place(ledger, outbox, stream, &due, asked.keys)?;
        }
    }
    Ok(report)
}

/// The batches of a stream that are asked for.
fn chosen(ledger: &ExporterLedger, stream: &StreamRow, batches: &[Asked]) -> Result<Numbers> {
    let there = ledger.packed_numbers(stream)?.without(&ledger.lost_numbers(stream)?);
    if batches.is_empty() {
        return Ok(there);
    }
    let of_it = batches.iter().filter(|of| of.is_of(stream.stream, stream.active));
    let wanted = of_it.fold(Numbers::default(), |all, of| all.with(&of.numbers));
    let unknown = wanted.without(&there);
    if !unknown.is_empty() {
        let verb = if unknown.only().is_some() { "is" } else { "are" };
        return Err(Error::usage(format!("there {verb} no {} to sign", unknown.words()))
            .advise("`airpouch status` lists the numbers that are there; another stream's is STREAM:N"));
    }
    Ok(wanted)
}

/// Those that lack the signature of one of these keys.
fn unsigned(
    ledger: &ExporterLedger,
    outbox: &KeptShelf,
    stream: &StreamRow,
    numbers: &Numbers,
    keys: &[PrivateKey],
) -> Result<Numbers> {
    let known = ledger.signers()?;
    let mut due = Vec::new();
    for number in numbers.iter() {
        let Some(batch) = ledger.batch(stream, number)? else { continue };
        let sequence = batch.sealed.manifest().sequence;
        let has = |key: &PrivateKey| {
            let (public, signature) = (key.public(), key.sign(batch.sealed.bytes()));
            let name = name::signature(stream.stream, sequence, &public.id());
            known.contains(&public) && outbox.has_bytes(&name, signature.bytes()) == Some(true)
        };
        if !keys.iter().all(has) {
            due.push(number..=number);
        }
    }
    Ok(due.into_iter().collect())
}

/// Writes the signatures, over whatever lies damaged under their names.
fn place(
    ledger: &ExporterLedger,
    outbox: &KeptShelf,
    stream: &StreamRow,
    numbers: &Numbers,
    keys: &[PrivateKey],
) -> Result<()> {
    for number in numbers.iter() {
        let Some(batch) = ledger.batch(stream, number)? else { continue };
        for key in keys {
            let (public, signature) = (key.public(), key.sign(batch.sealed.bytes()));
            if !public.verifies(batch.sealed.bytes(), &signature) {
                return Err(Error::failed("a signature made just now does not verify; it was not placed"));
            }
            let name = name::signature(stream.stream, batch.sealed.manifest().sequence, &public.id());
            outbox.place_over(&name, signature.bytes())?;
        }
    }
    Ok(())
}
