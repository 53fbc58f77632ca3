//! Where batches are kept: outbox and inbox, which are ours, and the medium, which is not.
//!
//! A [`Shelf`] returns the files that a manifest names, after checking their digests; [`check`] decodes a whole batch
//! from it. Only [`medium`] reads a medium, and it trusts nothing that it finds there. [`fill`] writes to one, and
//! [`read_back`] reads what was written; only it can claim that a batch is there.

pub mod check;
pub mod fill;
pub mod inbox;
pub mod indexes;
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
    /// The bytes of this part, read once, if they match the manifest.
    ///
    /// # Errors
    /// [`PartFault`]: missing, cut, invalid, or unreadable. A lack of memory or descriptors is none of these.
    fn fetch(&self, part: &Part<'_>) -> Result<Checked, Unread<PartFault>>;
}

/// Why a file that a manifest names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// No file of this name, and none of this size and digest.
    #[error("is missing")]
    Missing,
    /// A file of this name does not match the manifest.
    #[error("{0}")]
    NotAsNamed(NotAsNamed),
    /// The system refused to read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its digest matches, but its content breaks the format: the signed manifest is wrong.
    #[error("{0}")]
    Lie(String),
}

/// Why the system did not read a part.
fn refused(cause: &io::Error) -> Unread<PartFault> {
    match Lack::of(cause) {
        Some(lack) => Unread::Lack(lack),
        None if cause.kind() == io::ErrorKind::NotFound => Unread::Fault(PartFault::Missing),
        None => Unread::Fault(PartFault::Unreadable(reason(cause))),
    }
}

impl PartFault {
    /// Whether it is invalid, rather than incomplete.
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::Missing | Self::Unreadable(_) | Self::NotAsNamed(NotAsNamed::Short) => false,
            Self::NotAsNamed(NotAsNamed::Long | NotAsNamed::Other { .. }) | Self::Lie(_) => true,
        }
    }
}
