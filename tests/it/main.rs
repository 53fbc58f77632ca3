//! One program with all tests of the built binary and of what it leaves on disk.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

mod splitting;
mod spool;
mod status;
mod stopping;
mod support;

mod applicants;
mod attack;
mod audit;
mod builder;
mod by_hand;
mod conformance;
mod crash;
mod destination;
mod custody;
mod hidden;
mod journal;
mod journey;
mod lack;
mod look_up;
mod openssl_keys;
mod advice;
mod pack;
mod quarantine;
mod apart;
mod arrival;
mod manual;
mod names;
mod officers;
mod older;
mod readme;
mod record_page;
mod settings;
mod silence;
mod show;
mod sign;
mod snapshots;
mod carry;
mod growth;
mod lost;
mod root;
mod runbooks;
mod verify;
mod waiting;
mod witness;
mod import;
mod install;
mod talk;
