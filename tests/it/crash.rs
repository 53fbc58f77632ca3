//! What is left when a run dies, when the system says no, when a disk is full or a stick goes away; and whether the
//! next run heals it. The real program, under strace: `tests/crash` runs the long form.

mod disks;
mod errors;
mod journeys;
mod kills;
mod laws;
mod order;
mod recorded;
mod scene;
mod stops;
mod strace;
mod watched;
