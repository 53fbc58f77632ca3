//! Who may sign what: keys, signatures, and the trust store that joins them.
//!
//! What came from a medium is [`Unverified`]. Only [`TrustStore::authenticate`] makes it [`Authentic`], and
//! only what is authentic can be parsed, into [`Signed`]. So no parser ever sees bytes that no trusted key
//! has signed, and that is held by types and not by care.

pub mod key;
pub mod release;
pub mod signature;
pub mod store;

pub use key::{KeyError, PrivateKey, PublicKey, Signature};
pub use release::{ReleaseSignature, ReleaseStatement};
pub use signature::{Authentic, NotAuthentic, SignatureFile, Signed, Unverified};
pub use store::{NotAllowed, TrustError, TrustStore, TrustedKey};
