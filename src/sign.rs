//! sign: signs batches of the outbox with a further key, where the old one has ended or another one has to be beside it.

use crate::batch::name;
use crate::error::{Error, Result};
use crate::issued::streams_of_zone;
use crate::ledger::exporter::{BatchRow, ExporterLedger, StreamRow};
use crate::report::{SignReport, SignedNumbers};
use crate::shelf::kept::KeptShelf;
use crate::stream::{Asked, Numbers};
use crate::trust::{PrivateKey, Signature};

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
    let streams = streams_of_zone(ledger, &active, asked.batches)?;
    let mut report =
        SignReport { keys: asked.keys.iter().map(|key| key.public().fingerprint()).collect(), ..SignReport::default() };
    for stream in &streams {
        let numbers = chosen(ledger, stream, asked.batches)?;
        let (due, signatures) = unsigned(ledger, outbox, stream, &numbers, asked.keys)?;
        let before = numbers.without(&due);
        for (numbers, list) in [(&due, &mut report.signed), (&before, &mut report.before)] {
            if !numbers.is_empty() {
                list.push(SignedNumbers { stream: stream.stream, sequences: numbers.clone() });
            }
        }
        if !due.is_empty() {
            // First: a signature that nobody knows of must not go out. What a crash leaves unsigned, the next run signs.
            ledger.note_signed(stream, &due, &asked.keys.iter().map(PrivateKey::public).collect::<Vec<_>>())?;
        }
        for (name, signature) in signatures {
            // Over whatever lies damaged there.
            outbox.place_over(&name, signature.bytes())?;
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

/// Those that lack the signature of one of these keys, and the signatures that they lack, by the names of their files.
fn unsigned(
    ledger: &ExporterLedger,
    outbox: &KeptShelf,
    stream: &StreamRow,
    numbers: &Numbers,
    keys: &[PrivateKey],
) -> Result<(Numbers, Vec<(String, Signature)>)> {
    let known = ledger.signers()?;
    let (mut due, mut signatures) = (Vec::new(), Vec::new());
    for number in numbers.iter() {
        let Some(BatchRow { sealed, .. }) = ledger.batch(stream, number)? else { continue };
        let had = signatures.len();
        for key in keys {
            let (public, signature) = (key.public(), key.sign(sealed.bytes()));
            if !public.verifies(sealed.bytes(), &signature) {
                return Err(Error::failed("a signature made just now does not verify; nothing was placed"));
            }
            let name = name::signature(stream.stream, sealed.manifest().sequence, &public.id());
            if !known.contains(&public) || outbox.has_bytes(&name, signature.bytes()) != Some(true) {
                signatures.push((name, signature));
            }
        }
        if signatures.len() > had {
            due.push(number..=number);
        }
    }
    Ok((due.into_iter().collect(), signatures))
}
