//! The manifest of a batch that is to be sealed.

use super::manifest::{Lie, Manifest};

/// A manifest with the bytes of it that will be sealed and signed: written once, and read back, for what this program
/// would refuse to read it must not sign.
#[derive(Debug)]
pub struct Draft {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl Draft {
    /// Writes a manifest.
    ///
    /// # Errors
    /// The rule of the format that it breaks.
    pub fn of(manifest: &Manifest) -> Result<Self, Lie> {
        let bytes = manifest.encode();
        Ok(Self { manifest: Manifest::parse(&bytes)?, bytes })
    }

    /// What it says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Both, for whoever seals it.
    pub fn into_parts(self) -> (Manifest, Vec<u8>) {
        (self.manifest, self.bytes)
    }

    /// One that may break a rule.
    #[cfg(test)]
    pub fn unchecked(manifest: &Manifest) -> Self {
        Self { manifest: manifest.clone(), bytes: manifest.encode() }
    }
}
