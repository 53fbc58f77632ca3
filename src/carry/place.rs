//! Copies batches onto the medium: what is there is compared, what is missing is written, nothing is overwritten.

use super::{CarryRun, Load, Placed};
use crate::code::{Code, Severity};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result, unless_stopped};
use crate::lack::Lack;
use crate::report::{BatchLine, Finding};
use crate::shelf::fill::Occupant;
use crate::shelf::kept::NotRead;
use crate::text;

/// Room left free on a medium, for its file system's own needs.
const SPARE_BYTES: u64 = 64 << 10;
/// Blocks that a file may take beyond its size, at most: FAT's and exFAT's largest usual cluster.
const CLUSTER_BYTES: u64 = 4096;

/// Why a batch was not placed.
enum NotPlaced {
    /// The outbox does not hold what was sealed: the batch stays, and the others go.
    Lost(String),
    /// Other bytes lie under a name of it on the medium.
    Differs(Error),
    /// The system refused.
    Stopped(Error),
}

impl From<Error> for NotPlaced {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

impl From<NotRead> for NotPlaced {
    fn from(fault: NotRead) -> Self {
        match fault {
            NotRead::Lost(why) => Self::Lost(why),
            NotRead::Refused(error) => Self::Stopped(error),
        }
    }
}

impl CarryRun<'_> {
    pub(super) fn place_new(&mut self, loads: Vec<Load>) -> Result<()> {
        // What kept the first batch from going that did not go: its size, or what the medium said.
        let mut stopped: Option<(u64, Option<Error>)> = None;
        for load in loads {
            if stopped.is_none() && !self.fits(&load)? {
                stopped = Some((self.missing_bytes(&load), None));
            }
            if stopped.is_none() {
                match self.place(&load) {
                    Ok(written) => {
                        self.placed.push(Placed { load, is_new: written > 0, written });
                        continue;
                    }
                    Err(NotPlaced::Lost(why)) => {
                        self.report.findings.push(load.lost(&why));
                        continue;
                    }
                    Err(NotPlaced::Stopped(e)) if e.does_not_fit() => {
                        stopped = Some((self.missing_bytes(&load), Some(e)));
                    }
                    Err(NotPlaced::Stopped(e) | NotPlaced::Differs(e)) => return Err(e),
                }
            }
            self.report.left.push(BatchLine::of(load.sealed.manifest(), load.sealed.sha256()));
        }
        match stopped {
            // It was to fit by the free space that the system names: what stood against it is said in its own words.
            Some((_, Some(error))) if self.placed.is_empty() => Err(self.refused(error)?),
            Some((_, Some(error))) => {
                let error = self.refused(error)?;
                let finding = Finding::new(Code::DoesNotFit, error.what);
                let finding = finding.at(error.place.unwrap_or_default()).advise(error.advice.unwrap_or_default());
                self.report.findings.push(finding);
                Ok(())
            }
            Some((need, None)) if self.placed.is_empty() => Err(self.no_room(need)?),
            _ => Ok(()),
        }
    }

    /// Less is free than the batch needs.
    fn no_room(&self, need: u64) -> Result<Error> {
        let (need, free) = (text::size(need), text::size(disk::free_space(self.medium)?));
        let what = format!("no room on the medium: the next batch needs {need}, {free} are free");
        Ok(Error { lack: Some(Lack::Room), ..Error::failed(what) }
            .at(self.medium)
            .advise("use a larger medium, or pack smaller batches with --max-batch; nothing of it was lost"))
    }

    /// The medium takes no more, although enough is free by what it says of itself.
    fn refused(&self, error: Error) -> Result<Error> {
        if error.lack != Some(Lack::Room) {
            return Ok(error);
        }
        let free = text::size(disk::free_space(self.medium)?);
        let what = format!("{}, although {free} are free", error.what);
        Ok(Error { what, ..error }.advise(
            "its inodes (names) may have run out: df -i shows it; remove files there, or use another medium; nothing was lost",
        ))
    }

    /// What keeps a repeat from going is said, and keeps the new ones from nothing: they are read back and recorded.
    pub(super) fn place_repeats(&mut self, loads: Vec<Load>) -> Result<()> {
        for load in loads {
            let whole = self.missing_bytes(&load) == 0;
            if !whole && (!self.report.left.is_empty() || !self.fits(&load)?) {
                break;
            }
            match self.place(&load) {
                Ok(written) => self.placed.push(Placed { load, is_new: false, written }),
                Err(NotPlaced::Lost(why)) => self.report.findings.push(load.lost(&why)),
                Err(NotPlaced::Stopped(e)) if e.does_not_fit() => break,
                Err(NotPlaced::Stopped(e)) if e.is_stop() => return Err(e),
                // A write-protected medium is not false; other bytes under a name of ours are.
                Err(NotPlaced::Stopped(e)) => {
                    self.not_repeated(&load, Severity::Incomplete, e);
                    break;
                }
                Err(NotPlaced::Differs(e)) => {
                    self.not_repeated(&load, Severity::Invalid, e);
                    break;
                }
            }
        }
        Ok(())
    }

    fn not_repeated(&mut self, load: &Load, severity: Severity, error: Error) {
        let what = format!("batch {} did not go again: {}", load.sealed.manifest().sequence, error.what);
        let finding = Finding::new(Code::NotRepeated, what).weighing(severity).at(error.place.unwrap_or_default());
        self.report.findings.push(finding.advise(error.advice.unwrap_or_default()));
    }

    fn fits(&self, load: &Load) -> Result<bool> {
        let need = self.missing_bytes(load);
        Ok(need == 0 || need + SPARE_BYTES <= disk::free_space(self.medium)?)
    }

    /// Bytes of the batch's files that are not on the medium yet, in whole clusters.
    pub(super) fn missing_bytes(&self, load: &Load) -> u64 {
        self.missing_sizes(load).map(|size| size.div_ceil(CLUSTER_BYTES) * CLUSTER_BYTES).sum()
    }

    /// Bytes of each of the batch's files that are not on the medium yet.
    pub(super) fn missing_sizes(&self, load: &Load) -> impl Iterator<Item = u64> {
        let missing = load.files.iter().filter(|(name, _)| !self.filled().has_name(name));
        missing.map(|(_, size)| *size)
    }

    /// Copies what is not there; equal files are skipped, other bytes under a final name are an error. Of a batch that
    /// turns out to be lost, what was written now is taken away again.
    fn place(&mut self, load: &Load) -> std::result::Result<u64, NotPlaced> {
        self.observer.begin("writing", load.files.iter().map(|f| f.1).sum());
        let mut written: Vec<&(String, u64)> = Vec::new();
        let mut is_in_doubt = false;
        let mut all = || -> std::result::Result<(), NotPlaced> {
            for file in &load.files {
                unless_stopped(self.observer, || {
                    let sequence = load.sealed.manifest().sequence;
                    format!(
                        "while batch {sequence} was copied; nothing new is SAFE TO REMOVE: the next carry looks at what is there, and copies the rest"
                    )
                })?;
                if self.is_there(load, &file.0)? {
                    self.observer.advance(file.1);
                    is_in_doubt = true;
                } else {
                    // A run that died may have left names that a power cut would take away, and whoever finds the
                    // manifest, the last of the files, relies on all of them.
                    if std::mem::take(&mut is_in_doubt) {
                        self.filled().sync_names()?;
                    }
                    self.copy(load, &file.0)?;
                    written.push(file);
                }
            }
            Ok(())
        };
        let placed = all();
        self.observer.end();
        if let Err(NotPlaced::Lost(_)) = &placed {
            for (name, _) in &written {
                self.filled().take_away(name)?;
            }
        }
        let bytes = written.iter().map(|f| f.1).sum();
        if !matches!(placed, Err(NotPlaced::Lost(_))) {
            self.report.written += bytes;
        }
        placed.map(|()| bytes)
    }

    fn is_there(&self, load: &Load, name: &str) -> std::result::Result<bool, NotPlaced> {
        if !self.filled().has_name(name) {
            return Ok(false);
        }
        let sealed = self.sealed_digest(load, name)?;
        let there = self.filled().path_of(name);
        match self.filled().occupant(name, self.outbox)? {
            Occupant::Nothing => return Ok(false),
            Occupant::File(digest) if digest == sealed => return Ok(true),
            Occupant::OutboxItself => {
                let what = "this file is the outbox's own under another name, and no copy of it";
                return Err(Error::usage(what).at(&there).advise("name a medium, and not a directory of links").into());
            }
            Occupant::File(_) | Occupant::NoFile => {}
        }
        let error = Error::failed("the medium has another file of this name; it was not overwritten").at(&there);
        Err(NotPlaced::Differs(match name.ends_with(".manifest") {
            true => error.advise("if the ledger came from a backup, go on with a new stream: airpouch stream renew; else use another medium"),
            false => error.advise("move it away, or use another medium"),
        }))
    }

    fn copy(&self, load: &Load, name: &str) -> std::result::Result<(), NotPlaced> {
        if name.ends_with(".manifest") {
            return Ok(self.filled().write(name, load.sealed.bytes())?);
        }
        let copied = self.filled().copy(name, self.outbox, |bytes| self.observer.advance(bytes))?;
        check_sealed(load, name, copied.sha256)?;
        Ok(copied.place()?)
    }

    /// The digest of what goes under this name, once the outbox's file was seen to be what was sealed. The manifest is
    /// the ledger's own; a signature is named by no manifest, and was verified when the carry was planned.
    fn sealed_digest(&self, load: &Load, name: &str) -> std::result::Result<Digest, NotPlaced> {
        if name.ends_with(".manifest") {
            return Ok(load.sealed.sha256());
        }
        let read = self.outbox.digest(name)?;
        check_sealed(load, name, read)?;
        Ok(read)
    }
}

/// What the outbox holds must be what was sealed: else the medium would be blamed, or a drop folder get damage.
fn check_sealed(load: &Load, name: &str, sha256: Digest) -> std::result::Result<(), NotPlaced> {
    match load.sealed.manifest().parts().find(|p| p.name == name) {
        Some(part) if part.sha256 != sha256 => {
            Err(NotPlaced::Lost(format!("{name} is damaged in the outbox: it is not what was sealed")))
        }
        _ => Ok(()),
    }
}
