//! What travels: a batch's manifest, index and volumes, and their names.
//!
//! ```text
//! manifest --digest of--> index --digest of each--> envelopes
//!     \----digest of----> volumes, which hold these envelopes in the index's order
//! ```

pub mod draft;
pub mod entry;
pub mod frame;
pub mod index;
pub mod manifest;
pub mod name;
pub mod signed;
pub mod volume;

use crate::digest::Digest;

/// Bytes whose digest is the one that something trusted named. Only these are ever decompressed.
pub struct Checked(Vec<u8>);

impl Checked {
    /// Holds bytes against the size and the digest that a manifest names.
    ///
    /// # Errors
    /// [`NotAsNamed`]: too few bytes are not called false, for they may still come.
    pub fn new(bytes: Vec<u8>, size: u64, sha256: Digest) -> Result<Self, NotAsNamed> {
        match (bytes.len() as u64).cmp(&size) {
            std::cmp::Ordering::Less => return Err(NotAsNamed::Short),
            std::cmp::Ordering::Greater => return Err(NotAsNamed::Long),
            std::cmp::Ordering::Equal => {}
        }
        let found = Digest::of(&bytes);
        if found != sha256 {
            return Err(NotAsNamed::Other { found });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that are not what the manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsNamed {
    /// Fewer bytes: cut off, or still on its way.
    #[error("is shorter than the manifest says")]
    Short,
    /// More bytes.
    #[error("is longer than the manifest says")]
    Long,
    /// As many bytes, with another digest.
    #[error("does not match its digest in the signed manifest")]
    Other {
        /// The digest that it has.
        found: Digest,
    },
}
