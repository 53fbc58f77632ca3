//! Space in the queues: for which connectors to wait, and which to defer.

use std::time::Duration;

use super::Gate;
use super::blocked::{Obstacle, Until};
use crate::broker::NotTaken;
use crate::clock;
use crate::code::Code;
use crate::error::{Result, unless_stopped};
use crate::text::{count, duration, grouped};

/// How often a blocked connector is checked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Gate<'_> {
    /// Checks whether a connector's queue has space, and blocks the connector if not. For a connector that is `alone`
    /// it waits: no other one could be delivered meanwhile.
    ///
    /// # Errors
    /// The broker is in trouble.
    pub fn check_space(&mut self, connector: &str, is_alone: bool) -> Result<()> {
        let patience = self.reach.patience;
        loop {
            let Some((obstacle, waiting)) = self.obstacle_at(connector, self.reach.queue_limit)? else {
                return Ok(());
            };
            let stalled = self.blocked.stalls(connector, waiting);
            self.report_blocked(connector, &obstacle, is_alone);
            if !is_alone || obstacle.until == Until::Changed || stalled > patience {
                self.blocked.add(connector, obstacle);
                return Ok(());
            }
            self.wait_a_moment()?;
        }
    }

    /// Waits until one of the blocked connectors may be tried again; false if none can within `patience` without any
    /// progress.
    ///
    /// # Errors
    /// The broker is in trouble, or every connector of the run is blocked.
    pub fn wait_for_blocked(&mut self) -> Result<bool> {
        loop {
            if self.hold_failed() {
                return Ok(true);
            }
            let (is_some, is_hopeful) = self.release_retryable()?;
            if is_some {
                return Ok(true);
            }
            if !is_hopeful {
                return self.blocked.error(self.reach.patience).map_or(Ok(false), Err);
            }
            self.wait_a_moment()?;
        }
    }

    /// Until a blocked connector is looked at again.
    fn wait_a_moment(&self) -> Result<()> {
        clock::pause(self.observer, LOOK_AGAIN.min(self.reach.patience));
        unless_stopped(self.observer, || {
            "while it waited for room in a queue; nothing is lost, and the next run sends the rest".to_owned()
        })
    }

    /// Releases the connectors that may be tried again. Returns whether there are any, and whether there may be later.
    fn release_retryable(&mut self) -> Result<(bool, bool)> {
        let patience = self.reach.patience;
        // With several blocked connectors wait until a queue is half empty: one with space for a single group would
        // block again at once, and delay all others.
        let limit = if self.blocked.count() > 1 { self.reach.queue_limit / 2 } else { self.reach.queue_limit };
        let (mut released, mut is_hopeful) = (false, false);
        for (connector, until) in self.blocked.list() {
            if matches!(until, Until::Others | Until::Changed) {
                continue;
            }
            let found = self.obstacle_at(&connector, limit)?;
            let waiting = found.as_ref().map_or(u32::MAX, |(_, waiting)| *waiting);
            let is_late = self.blocked.stalls(&connector, waiting) > patience;
            match found {
                Some((obstacle, _)) => {
                    is_hopeful |= !is_late && obstacle.until != Until::Changed;
                    self.blocked.add(&connector, obstacle);
                }
                None if until == Until::Room => {
                    self.release(&connector)?;
                    released = true;
                }
                // Only sending shows whether the broker accepts its messages now.
                None if !is_late => {
                    self.wait_a_moment()?;
                    self.release(&connector)?;
                    released = true;
                }
                None => {}
            }
        }
        Ok((released, is_hopeful))
    }

    /// Why a connector's queue cannot be used, and how many messages wait there.
    fn obstacle_at(&mut self, connector: &str, limit: u32) -> Result<Option<(Obstacle, u32)>> {
        if self.reach.queue_limit == 0 {
            return Ok(None);
        }
        let queue = self.route(connector)?.queue.clone();
        let found = match self.broker()?.waiting(&queue)? {
            Ok(Some(waiting)) if waiting <= limit => return Ok(None),
            Ok(Some(waiting)) => {
                let (messages, limit) = (count(u64::from(waiting), "message"), grouped(u64::from(limit)));
                let what = format!("{queue} holds {messages} (limit {limit})");
                let advice =
                    "are workers running? nothing is lost: run this again later; --queue-limit N sets the limit";
                (Obstacle { code: Code::QueueFull, what, advice, until: Until::Room }, waiting)
            }
            Ok(None) => (queue_gone(format!("the queue {queue} is gone: it was deleted")), u32::MAX),
            Err(words) => (queue_refused(words), u32::MAX),
        };
        Ok(Some(found))
    }

    fn report_blocked(&mut self, connector: &str, obstacle: &Obstacle, is_alone: bool) {
        if !self.reported.insert(connector.to_owned()) {
            return;
        }
        let limit = duration(self.reach.patience.as_secs());
        let then = if is_alone {
            format!("waiting up to {limit} for the workers")
        } else {
            "the other connectors continue".to_owned()
        };
        self.observer.say(&format!("{}; {then}", obstacle.what));
    }

    /// The broker did not accept messages for a connector.
    pub fn not_taken(&mut self, connector: &str, why: &NotTaken) {
        let Ok(route) = self.route(connector) else { return };
        let queue = &route.queue;
        let obstacle = match why {
            NotTaken::Full => Obstacle {
                code: Code::QueueFull,
                what: format!("the broker does not take messages for {queue} (nack): the queue may be full"),
                advice: "are workers running? nothing is lost: run this again later",
                until: Until::Later,
            },
            NotTaken::Returned => queue_gone(format!(
                "messages for {queue} are returned: the queue was deleted, or is not bound any more"
            )),
            NotTaken::Closed(words) => Obstacle {
                code: Code::ExchangeRefused,
                what: format!("the broker closed a channel over a message for {queue}: {words}"),
                advice: "is that exchange there, and may the broker's user write to it?",
                until: Until::Later,
            },
            NotTaken::Forbidden(words) => Obstacle {
                code: Code::ExchangeRefused,
                what: format!("the broker does not let this user publish: {words}"),
                advice: "give the broker's user write permission for OpenCTI's exchanges",
                until: Until::Changed,
            },
        };
        self.report_blocked(connector, &obstacle, false);
        self.blocked.add(connector, obstacle);
    }

    /// The platform refuses the works of a connector.
    pub(super) fn works_refused(&mut self, connector: &str, words: &str) {
        let obstacle = Obstacle {
            code: Code::WorkRefused,
            what: words.to_owned(),
            advice: "its log says why; nothing is lost. Fix that, then run it again; or import with --works none",
            until: Until::Changed,
        };
        self.blocked.add(connector, obstacle);
    }
}

fn queue_gone(what: String) -> Obstacle {
    let advice = "run this again: the queue is set up again; import --redeliver sends again what was in the old one";
    Obstacle { code: Code::QueueGone, what, advice, until: Until::Later }
}

/// The broker refuses a queue.
pub(super) fn queue_refused(what: String) -> Obstacle {
    Obstacle {
        code: Code::QueueRefused,
        what,
        advice: "look at the permissions of the broker's user",
        until: Until::Changed,
    }
}
