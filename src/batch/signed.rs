//! The manifest of a batch that a trusted key has signed.

use super::manifest::{Lie, Manifest};
use crate::trust::{Authentic, Signed};

/// A manifest, read only after a trusted key's signature over its bytes was verified.
pub type SignedBatch = Signed<Manifest>;

impl SignedBatch {
    /// Reads what was signed.
    ///
    /// # Errors
    /// The rule of the format that its signer broke.
    pub fn open(authentic: Authentic) -> Result<Self, Lie> {
        authentic.into_signed(Manifest::parse)
    }
}
