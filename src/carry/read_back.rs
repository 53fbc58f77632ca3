//! Reads everything back after the last byte is written, and decodes it as `verify` would.

use std::io;

use super::{Placed, Run};
use crate::batch::name;
use crate::error::{Error, Result};
use crate::lack::{self, Lack};
use crate::limits::MANIFEST_MAX;
use crate::report::{BatchLine, Head, Proof, head_code};
use crate::shelf::check::check_batch;
use crate::shelf::kept::ReadBack;
use crate::trust::{Signature, SignatureFile, TrustStore, Unverified};

impl Run<'_> {
    pub(super) fn read_back(&mut self, store: &TrustStore) -> Result<()> {
        for placed in &self.placed {
            let proof = if self.options.diode { Proof::Sent } else { self.decode(placed, store)? };
            let line = BatchLine::of(&placed.load.batch.manifest, placed.load.batch.sha256);
            let lines = if placed.is_new { &mut self.report.new } else { &mut self.report.repeated };
            lines.push(line);
            self.report.proof = self.report.proof.map_or(Some(proof), |p| Some(weaker(p, proof)));
        }
        let of_the_zone = self.placed.iter().map(|p| &p.load).filter(|l| l.stream.active);
        self.report.head = of_the_zone.max_by_key(|l| l.batch.manifest.sequence).map(|l| Head {
            stream: l.stream.stream,
            sequence: l.batch.manifest.sequence.get(),
            code: head_code(l.batch.sha256),
            is_last: true,
        });
        Ok(())
    }

    fn decode(&self, placed: &Placed, store: &TrustStore) -> Result<Proof> {
        let load = &placed.load;
        let manifest = &load.batch.manifest;
        let shelf = ReadBack::new(self.medium.to_owned());
        let differs = |name: &str, why: &str| {
            Error::failed(format!("read-back failed: {name} {why}"))
                .at(self.medium)
                .advise("this medium is not to be trusted; carry onto another one, the outbox has everything")
        };
        let name = name::manifest(manifest.stream, manifest.sequence);
        // What the machine lacks to read it back says nothing of the medium.
        let unread = |name: &str, e: &io::Error| match Lack::of(e) {
            Some(lack) => Error::lacking("read the medium back", lack).at(self.medium),
            None => differs(name, &crate::error::reason(e)),
        };
        let bytes = shelf.read(&name, MANIFEST_MAX).map_err(|e| unread(&name, &e))?;
        if bytes != load.batch.bytes {
            return Err(differs(&name, "differs"));
        }
        let mut signatures = Vec::new();
        for (name, _) in load.files.iter().filter(|f| f.0.ends_with(".sig")) {
            let read = shelf.read(name, Signature::LONGEST).map_err(|e| unread(name, &e))?;
            let signature =
                Signature::from_bytes(&read).ok_or_else(|| differs(name, "is not as long as a signature is"))?;
            signatures.push(SignatureFile { name: name.clone(), signature, named: true });
        }
        if let Err(e) = store.authenticate(Unverified::new(bytes, signatures)) {
            return Err(differs(&name, &format!("is signed by no key that this ledger knows: {e}")));
        }
        self.observer.begin("reading back", manifest.totals.bytes);
        let checked = check_batch(&shelf, manifest, self.options.threads, None, self.observer);
        self.observer.end();
        let checked = lack::apart(checked).map_err(|l| Error::lacking("read the medium back", l).at(self.medium))?;
        if let Err(faults) = checked
            && let Some((name, fault)) = faults.first()
        {
            return Err(differs(name, &fault.to_string()));
        }
        let anew = placed.written == 0 && load.carries.last().is_some_and(|c| c.mark != self.mount.mark);
        Ok(match (shelf.was_direct() && self.mount.reaches_a_device(), anew) {
            (true, _) => Proof::Device,
            (false, true) => Proof::Replug,
            (false, false) => Proof::Cache,
        })
    }
}

fn weaker(a: Proof, b: Proof) -> Proof {
    let strength = |p: Proof| match p {
        Proof::Device => 3,
        Proof::Replug => 2,
        Proof::Cache => 1,
        Proof::Sent => 0,
    };
    if strength(a) <= strength(b) { a } else { b }
}
