//! How long a run waits for another one that holds the lock.

use std::time::Duration;

use airpouch::error::Result;
use airpouch::site::Site;
use clap::builder::{Resettable, Str};

use super::settings;

/// What verbs that take a lock have in common.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// How long to wait for another run that holds the lock, such as 15m; it is named [default: not at all]
    // Not below the heading of the options that it is flattened among.
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_WAIT", help_heading = Resettable::<Str>::Reset)]
    wait: Option<String>,
}

impl Args {
    /// The longest time, as it is given, else as the site sets it.
    pub fn time_in(&self, site: &Site) -> Result<Duration> {
        match &self.wait {
            Some(time) => settings::duration(time).map(Duration::from_secs),
            None => settings::wait(site).map(Option::unwrap_or_default),
        }
    }
}
