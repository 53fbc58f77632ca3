//! What pycti does, trap by trap (the whole is held against pycti itself in `tests/pycti.rs`).
use super::*;
