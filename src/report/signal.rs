//! The signals that ask a run to stop.

use std::fmt;

/// A signal that asks a run to stop: it ends at the next point at which everything that is done is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Control-C on a terminal.
    Interrupt,
    /// What `kill` and systemd send.
    Terminate,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    /// Its number, which is the same on every Linux.
    pub fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}
