//! Batches whose number is used: committed with their bytes, and never changed again.

use crate::batch::manifest::Manifest;
use crate::digest::Digest;

/// A batch that is committed under its number. Only the ledger makes one, and nothing else is signed.
#[derive(Debug, Clone)]
pub struct Sealed {
    manifest: Manifest,
    bytes: Vec<u8>,
    sha256: Digest,
}

impl Sealed {
    pub(super) fn new(manifest: Manifest, bytes: Vec<u8>, sha256: Digest) -> Self {
        Self { manifest, bytes, sha256 }
    }

    /// What its manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of its manifest, which are signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }
}
