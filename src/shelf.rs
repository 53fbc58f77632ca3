//! Where batches lie: outbox and inbox, which are ours, and the medium, which is not.
//!
//! A [`Shelf`] hands out the files that a manifest names, held against their digests; [`check`] decodes a
//! whole batch from it. Reading a medium is [`medium`]'s alone, and it trusts nothing that it finds there; what was
//! written to one is read back by [`read_back`], which alone can say that it lies there.

pub mod check;
pub mod inbox;
pub mod kept;
pub mod medium;
pub mod read_back;

use std::io;

use crate::batch::manifest::Part;
use crate::batch::{Checked, NotAsNamed};
use crate::error::reason;
use crate::lack::{Lack, Unread};

/// Something that may have the files of a batch.
pub trait Shelf: Sync {
    /// The bytes of this part, read once, if they are what the manifest names.
    ///
    /// # Errors
    /// [`PartFault`]: not there, cut, false, or unreadable. What the machine lacks is none of these.
    fn fetch(&self, part: &Part<'_>) -> Result<Checked, Unread<PartFault>>;
}

/// Why a file that a manifest names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// No file of this name, and none of this size and digest.
    #[error("is missing")]
    Missing,
    /// There, and not what the manifest names.
    #[error("{0}")]
    NotAsNamed(NotAsNamed),
    /// The system refused to read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its digest holds, and still it is not what the format asks for: the signer contradicts himself.
    #[error("{0}")]
    Lie(String),
}

/// Why the system did not let a part be read.
fn refused(cause: &io::Error) -> Unread<PartFault> {
    match Lack::of(cause) {
        Some(lack) => Unread::Lack(lack),
        None if cause.kind() == io::ErrorKind::NotFound => Unread::Fault(PartFault::Missing),
        None => Unread::Fault(PartFault::Unreadable(reason(cause))),
    }
}

impl PartFault {
    /// Whether it is false, rather than not yet whole.
    pub fn is_false(&self) -> bool {
        match self {
            Self::Missing | Self::Unreadable(_) | Self::NotAsNamed(NotAsNamed::Short) => false,
            Self::NotAsNamed(NotAsNamed::Long | NotAsNamed::Other { .. }) | Self::Lie(_) => true,
        }
    }
}
