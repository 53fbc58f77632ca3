//! Beside a broker and a platform: what is delivered to them, and what happens when they or the wire fail.
//!
//! Needs what `tests/run` starts; it names it in the environment.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

mod check;
mod drain;
mod equal;
mod faults;
mod feeds;
mod follow;
mod kills;
mod liars;
mod order;
mod platform;
mod poison;
mod rig;
mod scene;
mod support;
