//! airpouch carries OpenCTI knowledge across an air gap on physical media.
//!
//! The journey, and the rooms it passes through:
//!
//! ```text
//! SOURCE --scan--> envelopes --pack--> OUTBOX (sealed, signed) --carry--> MEDIUM (read back)
//!                                                                            ~ a person, or a diode
//! MEDIUM --take--> INBOX --admit--> --unpack--> --decide--> --deliver--> SINK --settle--> LEDGER
//! ```
//!
//! *Things* are true about bytes and touch nothing. *Places* are the only rooms that open files, look at
//! clocks or ask the system. *Steps* take things from one place to the next. A room uses only rooms that
//! stand above it in this list.

// ── things ──
pub mod batch;
pub mod digest;
pub mod envelope;
pub mod form;
pub mod json;
pub mod limits;
pub mod opencti;
pub mod policy;
pub mod report;
pub mod stream;
pub mod text;
pub mod trust;

// ── places ──
pub mod disk;
pub mod error;
pub mod ledger;
pub mod set_aside;
pub mod shelf;
pub mod sink;
pub mod site;
pub mod source;

// ── steps ──
pub mod carry;
pub mod import;
pub mod pack;
pub mod verify;
