//! The order of a stream: what is to become of each of its batches. What is judged is a value; so is the answer.

use crate::batch::manifest::Manifest;
use crate::code::Code;
use crate::digest::Digest;
use crate::import::OnGap;
use crate::report::Finding;
use crate::stream::{Link, Position, Standing};
use crate::text::{count, size};

/// What is to become of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamAdmission {
    /// Deliver it.
    Admit {
        /// Later numbers were delivered before it.
        late: bool,
    },
    /// Keep it in the inbox.
    Keep(Kept),
}

/// Why a batch is kept and not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It waits for the batches before it.
    Waiting,
    /// Another history under one number.
    Fork {
        /// The number.
        at: u64,
        /// The digest that was admitted, or named.
        known: Digest,
        /// The other.
        other: Digest,
    },
    /// No admitted batch names it.
    Unlinked,
}

impl Kept {
    /// For the ledger and for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::Waiting => Code::Waiting,
            Self::Fork { .. } => Code::Fork,
            Self::Unlinked => Code::Unlinked,
        }
    }

    /// What is said of it, once.
    pub fn finding(&self, manifest: &Manifest, sha256: Digest) -> Finding {
        let (stream, sequence) = (manifest.stream, manifest.sequence);
        let what = format!(
            "batch {sequence}, {}, {}",
            count(manifest.totals.envelopes, "envelope"),
            size(manifest.totals.bytes)
        );
        match self {
            Self::Waiting => Finding::new(self.code(), format!("{what}: waits in the inbox for the batches before it"))
                .of_batch(stream, sequence.get())
                .advise("the medium may leave"),
            Self::Fork { at, known, other } => Finding::new(
                self.code(),
                format!(
                    "fork: {what}: number {at} is {} here and {} there; held, not delivered",
                    known.short(),
                    other.short()
                ),
            )
            .of_batch(stream, sequence.get())
            .advise(format!(
                "ask the exporter; to take it too: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"
            )),
            Self::Unlinked => Finding::new(
                self.code(),
                format!("{what}: no delivered batch names its digest; kept, not delivered"),
            )
            .of_batch(stream, sequence.get())
            .advise(format!(
                "ask the exporter; to take it: airpouch stream accept {stream} {sequence} {sha256} --reason TEXT"
            )),
        }
    }
}

/// Says of each batch of one stream, given by number, what is to become of it.
///
/// Links are followed down first, so that a batch which a later one names counts as named even if that later
/// one came along with it; then everything goes up in order.
pub fn admit(mut position: Position, batches: &[Link], on_gap: OnGap) -> Vec<StreamAdmission> {
    let mut late = vec![false; batches.len()];
    let mut down = position.clone();
    for (at, link) in batches.iter().enumerate().rev() {
        if down.last().is_some_and(|last| link.sequence < last) && down.standing(link) == Standing::Late {
            late[at] = true;
            down.admit(link.clone());
        }
    }
    let mut out = Vec::new();
    for (at, link) in batches.iter().enumerate() {
        let admission = if late[at] { StreamAdmission::Admit { late: true } } else { judge(&position, link, on_gap) };
        if matches!(admission, StreamAdmission::Admit { .. }) {
            position.admit(link.clone());
        }
        out.push(admission);
    }
    out
}

fn judge(position: &Position, link: &Link, on_gap: OnGap) -> StreamAdmission {
    match position.standing(link) {
        Standing::Next => StreamAdmission::Admit { late: false },
        Standing::Late => StreamAdmission::Admit { late: true },
        // The same digest cannot be a second row of the ledger; if it could, once would be enough.
        Standing::Replay => StreamAdmission::Keep(Kept::Unlinked),
        Standing::Gap(missing) | Standing::UnknownStart(missing) => {
            let hold = on_gap == OnGap::Hold && !position.is_settled(&missing.numbers);
            if hold { StreamAdmission::Keep(Kept::Waiting) } else { StreamAdmission::Admit { late: false } }
        }
        Standing::Fork { at, known, other } => StreamAdmission::Keep(Kept::Fork { at, known, other }),
        Standing::Unlinked => StreamAdmission::Keep(Kept::Unlinked),
    }
}
