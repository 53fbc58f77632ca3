//! What `keygen` made.

use serde::Serialize;

use super::{Page, Report};

/// A pair of keys.
#[derive(Debug, Serialize)]
pub struct KeygenReport {
    /// The file of the private half.
    pub private_key: String,
    /// The file of the public half.
    pub public_key: String,
    /// The key id.
    pub id: String,
    /// What two people compare.
    pub fingerprint: String,
}

impl Report for KeygenReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        page.result(format!("private key   {}   keep it here, at the exporter", self.private_key));
        page.result(format!("public key    {}   for the importer's trust store", self.public_key));
        page.result(format!("fingerprint   {}   compare it by another way", self.fingerprint));
    }
}
