//! One program with all tests of the built binary and of what it leaves on disk.

mod splitting;
mod spool;
mod support;

mod attack;
mod builder;
mod by_hand;
mod conformance;
mod crash;
mod exporter;
mod importer;
mod journey;
mod lack;
mod openssl_keys;
mod pack;
mod carry;
mod verify;
mod import;
mod talk;
