//! Trouble: problems that waiting may solve, and when they have lasted too long.

use std::time::{Duration, Instant};

use super::{End, Service};
use crate::broker::LANES;
use crate::broker::lane::Lane;
use crate::text::{duration, harmless};

/// How long a lane holds only suspects before a probe is sent.
const ALONE: Duration = Duration::from_secs(1);

/// A problem that waiting may solve.
pub(super) struct Trouble {
    pub since: Instant,
    pub what: String,
    /// The lane that has it, if it is not all of them.
    pub lane: Option<usize>,
    /// Whether only the broker ends it, whatever is confirmed meanwhile.
    pub is_alarm: bool,
}

impl Service {
    /// Notes trouble, and reports only the first: what follows from it would only be noise.
    pub(super) fn trouble(&mut self, what: &str, lane: Option<usize>) {
        if self.trouble.is_none() {
            let line = format!("{what}; waiting up to {}", duration(self.patience.as_secs()));
            self.send_line(&line);
            self.trouble = Some(Trouble { since: Instant::now(), what: what.to_owned(), lane, is_alarm: false });
        }
    }

    /// Something was confirmed in a lane: ends its trouble. This does not end an alarm: during an alarm the broker
    /// still confirms what was sent before.
    pub(super) fn end_trouble_in(&mut self, at: usize) {
        self.trouble =
            self.trouble.take().filter(|trouble| trouble.is_alarm || trouble.lane.is_some_and(|lane| lane != at));
    }

    /// Processes an event of the connection: RabbitMQ blocks publishers while it lacks memory or disk.
    pub(super) fn connection_event(&mut self, event: lapin::Event) {
        match event {
            lapin::Event::ConnectionBlocked(reason) => {
                self.trouble(
                    &format!(
                        "the broker blocks publishers, it has raised an alarm: {}",
                        harmless(&self.login.secrets.out_of(&reason))
                    ),
                    None,
                );
                self.trouble.iter_mut().filter(|trouble| trouble.lane.is_none()).for_each(|t| t.is_alarm = true);
            }
            lapin::Event::ConnectionUnblocked => {
                self.trouble = self.trouble.take().filter(|trouble| trouble.lane.is_some());
                self.progress = Instant::now();
                self.send_line("the broker accepts messages again");
            }
            // The confirms show what an error did to messages.
            _ => {}
        }
    }

    /// Checks whether trouble is over, or has lasted too long.
    pub(super) async fn check_trouble(&mut self) -> Result<(), End> {
        if self.link.as_ref().is_some_and(|link| !link.connection.status().connected()) {
            return self.disconnected("it is gone");
        }
        for at in 0..LANES {
            if self.lanes[at].channel.is_none() && self.link.is_some() {
                self.open_lane(at).await?;
            }
            // Other messages may be about to be sent in this lane; they would show more than a probe.
            let is_alone = self.lanes[at].has_only_suspects() && self.link.is_some();
            let since = *self.alone_since[at].get_or_insert_with(Instant::now);
            if !is_alone {
                self.alone_since[at] = None;
            } else if since.elapsed() > ALONE {
                self.probe(at).await?;
            }
        }
        self.give_up()
    }

    /// Ends the service if trouble has lasted too long, or nothing was confirmed for too long.
    pub(super) fn give_up(&self) -> Result<(), End> {
        let advice = "nothing is lost. Fix that, then run it again (for import: without the medium)";
        let waited = duration(self.patience.as_secs());
        match &self.trouble {
            // While there is a connection and nothing to send, trouble has no effect.
            Some(_) if self.is_idle() && self.link.is_some() => Ok(()),
            Some(trouble) if trouble.since.elapsed() > self.patience => {
                Err((format!("{}; gave up after {waited}", trouble.what), advice.into()))
            }
            None if self.lanes.iter().any(Lane::has_unconfirmed) && self.progress.elapsed() > self.patience => {
                Err((format!("the broker has confirmed nothing for {waited}"), advice.into()))
            }
            _ => Ok(()),
        }
    }
}
