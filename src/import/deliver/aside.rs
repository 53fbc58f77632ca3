//! Sets envelopes aside, each with its reason: copied to held/ or quarantine/ as far as the stream's quota goes, else left
//! in the inbox alone.

use super::{Delivering, InHand};
use crate::code::Code;
use crate::error::{Error, Result};
use crate::ledger::importer::Aside;
use crate::policy::Objection;
use crate::report::Finding;
use crate::set_aside::{self, BatchPlace, ConnectorName, Kind, Reason};
use crate::text::{self, count, harmless};

impl Delivering<'_> {
    /// Sets an envelope aside. `false` if it has to stay as it was: it was set aside before, lies there alone, and nothing
    /// can be written where it belongs now.
    pub(super) fn put_aside(&mut self, kind: Kind, of: &InHand, objection: Objection) -> Result<bool> {
        let InHand { origin, bytes, envelope, copied } = of;
        let reason = Reason {
            code: objection.code.word().to_owned(),
            what: objection.what,
            place: objection.place,
            advice: self.options.call.complete(&objection.code.advice(origin.sha256, &origin.connector)),
            batch: BatchPlace { stream: origin.stream, sequence: origin.sequence, ordinal: origin.ordinal },
            connector: ConnectorName { id: origin.connector.clone(), name: origin.connector_name.clone() },
            name: origin.name.clone(),
            sha256: origin.sha256,
        };
        let finding = Finding::new(objection.code, reason.what.clone()).labelled(kind.word());
        self.report.findings.push(
            finding
                .of_batch(origin.stream, origin.sequence)
                .of_envelope(origin.ordinal, harmless(&origin.name))
                .of_connector(harmless(&origin.connector), harmless(&origin.connector_name))
                .advise(reason.advice.clone())
                .ranked(objection.rank),
        );
        self.in_run.insert(origin.sha256);
        let written = match *copied {
            Some(there) if there == kind => set_aside::put_reason(self.site, kind, &reason),
            Some(_) => set_aside::put(self.site, kind, bytes, &reason),
            None => self.copy_within_quota(kind, bytes, &reason),
        };
        let is_copied = written.is_ok() || *copied == Some(kind);
        if let Err(cause) = written {
            let uncopied = self.uncopied.entry((origin.stream, origin.sequence)).or_insert((0, cause.what));
            uncopied.0 += 1;
            if copied.is_some_and(|there| there != kind) {
                return Ok(false);
            }
        }
        let (batch, bytes) = (origin.batch, bytes.len() as u64);
        let applicant = envelope.as_ref().and_then(|e| e.applicant.clone());
        self.group.aside.push(Aside { kind, reason, batch, applicant, mtime: origin.mtime, copied: is_copied, bytes });
        Ok(true)
    }

    /// Copies an envelope of the inbox to held/ or quarantine/. Where that fails it stays in the inbox alone.
    fn copy_within_quota(&mut self, kind: Kind, bytes: &[u8], reason: &Reason) -> Result<()> {
        let of_stream = match &mut self.aside_bytes {
            Some(all) => all,
            none => none.insert(self.ledger.aside_bytes()?),
        };
        let used = of_stream.entry(reason.batch.stream).or_default();
        let (size, quota) = (bytes.len() as u64, self.options.set_aside_quota);
        if *used + size > quota {
            return Err(Error::failed(format!("the stream has used up its {} there", text::size(quota))));
        }
        let put = set_aside::put(self.site, kind, bytes, reason);
        match put {
            Ok(()) => *used += size,
            // What was written of it is of no use.
            Err(_) => set_aside::remove(self.site, kind, reason.sha256).unwrap_or_default(),
        }
        put
    }

    /// Reports what is set aside and lies in the inbox alone, once for each batch.
    pub(super) fn report_uncopied(&mut self) {
        for ((stream, sequence), (number, why)) in std::mem::take(&mut self.uncopied) {
            let envelopes = count(number, "envelope");
            let what = format!("{envelopes} of batch {sequence} could not be copied to held/ or quarantine/: {why}");
            let finding = Finding::new(Code::KeptInInbox, what).of_batch(stream, sequence);
            self.report.findings.push(finding.advise(
                "nothing is lost: they are kept in inbox/, which airpouch does not clear of them; make room, or raise set_aside_quota",
            ));
        }
    }
}
