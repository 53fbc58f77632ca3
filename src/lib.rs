//! airpouch carries OpenCTI knowledge across an air gap on physical media.
//!
//! The journey, and the rooms it passes through:
//!
//! ```text
//! SOURCE --scan--> envelopes --pack--> OUTBOX (sealed, signed) --carry--> MEDIUM (read back)
//!                                                                            ~ a person, or a diode
//! MEDIUM --take--> INBOX --admit--> --unpack--> --decide--> --deliver--> SINK --settle--> LEDGER
//!                                                     SPOOL --drain--> QUEUES
//! ```
//!
//! A *sink* is a directory, a spool, or the queues of a broker: `sink/open.rs` alone knows which. Queues are reached
//! through the *gate*, by the sink and by a drain; below it are the *broker* and the *platform*, which know nothing of
//! sinks. *Works* are theirs too, whoever remembers them.
//!
//! *Things* are true about bytes and touch nothing. *Places* are the only rooms that open files, look at
//! clocks or ask the system. *Steps* take things from one place to the next. A room uses only rooms that
//! stand above it in this list.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests open what they have made themselves"))]

// ── things ──
pub mod digest;
pub mod limits;
pub mod lack;
pub mod lock;
pub mod text;
pub mod spoken;
pub mod html;
pub mod code;
pub mod json;
pub mod mtime;
pub mod opencti;
pub mod objects;
pub mod envelope;
pub mod fit;
pub mod policy;
pub mod applicants;
pub mod form;
pub mod stream;
pub mod arrival;
pub mod trust;
pub mod batch;
pub mod report;
pub mod deed;

// ── machine ──
pub mod error;
pub mod ahead;
pub mod clock;
pub mod random;
pub mod disk;

// ── places ──
pub mod source;
pub mod site;
pub mod examining;
pub mod journal;
pub mod shelf;
pub mod destination;
pub mod broker;
pub mod platform;
pub mod gate;
pub mod works;
pub mod sink;
pub mod set_aside;
pub mod ledger;
pub mod record;
pub mod pairing;
pub mod findings;
pub mod issued;

// ── steps ──
pub mod pack;
pub mod carry;
pub mod verify;
pub mod import;
pub mod drain;
pub mod check;
pub mod came;
pub mod follow;
pub mod renew;
pub mod sign;
pub mod show;
pub mod accept;
pub mod quarantine;
pub mod status;
pub mod audit;
pub mod witness;
pub mod pair;
pub mod arrived;
pub mod log;
pub mod dossier;
pub mod slip;
