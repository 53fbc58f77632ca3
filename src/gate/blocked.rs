//! Connectors that cannot be delivered to at the moment. Each of them stops alone; the others are delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::code::Code;
use crate::error::Error;
use crate::text::duration;

/// What has to happen before a connector is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Its queue has space.
    Room,
    /// Some time passes: the broker may accept its messages then.
    Later,
    /// Another connector passes, which shows that this one alone is to blame.
    Others,
    /// Somebody changes something; not in this run.
    Changed,
}

/// Why a connector cannot be delivered to at the moment.
#[derive(Debug, Clone)]
pub struct Obstacle {
    /// The code, for programs.
    pub code: Code,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
    /// What has to happen.
    pub until: Until,
}

/// How long a connector has made no progress.
#[derive(Debug)]
struct Stalled {
    since: Instant,
    /// The fewest messages that its queue has held.
    least: u32,
}

/// The connectors that are blocked, and those that are not.
#[derive(Debug, Default)]
pub struct Blocked {
    obstacles: BTreeMap<String, Obstacle>,
    stalled: BTreeMap<String, Stalled>,
    /// Connectors of which something was delivered in this run.
    moved: BTreeSet<String>,
}

impl Blocked {
    /// Blocks a connector; of two obstacles it keeps the one that lasts longer.
    pub fn add(&mut self, connector: &str, obstacle: Obstacle) {
        self.stalls(connector, u32::MAX);
        if self.obstacles.get(connector).is_none_or(|before| before.until != Until::Changed) {
            self.obstacles.insert(connector.to_owned(), obstacle);
        }
    }

    /// Why a connector is blocked, if it is.
    pub fn obstacle(&self, connector: &str) -> Option<&Obstacle> {
        self.obstacles.get(connector)
    }

    /// Something of a connector was delivered.
    pub fn moved(&mut self, connector: &str) {
        if !self.moved.contains(connector) {
            self.moved.insert(connector.to_owned());
        }
        self.stalled.remove(connector);
    }

    /// How long a connector has made no progress, now that so many messages wait in its queue.
    pub fn stalls(&mut self, connector: &str, waiting: u32) -> Duration {
        let now = Instant::now();
        let stalled = self.stalled.entry(connector.to_owned()).or_insert(Stalled { since: now, least: u32::MAX });
        // As long as workers make the queue shorter, keep waiting.
        if waiting < stalled.least {
            (stalled.since, stalled.least) = (now, waiting);
        }
        stalled.since.elapsed()
    }

    /// The blocked connectors, with what has to happen.
    pub fn list(&self) -> Vec<(String, Until)> {
        self.obstacles.iter().map(|(connector, obstacle)| (connector.clone(), obstacle.until)).collect()
    }

    /// How many connectors are blocked.
    pub fn count(&self) -> usize {
        self.obstacles.len()
    }

    /// A connector may be tried again.
    pub fn release(&mut self, connector: &str) {
        self.obstacles.remove(connector);
    }

    /// The error of a run all of whose connectors are blocked.
    pub fn error(&self, patience: Duration) -> Option<Error> {
        let (connector, obstacle) = self.obstacles.first_key_value()?;
        if self.moved.iter().any(|moved| !self.obstacles.contains_key(moved)) {
            return None;
        }
        let what = match obstacle.until {
            Until::Room | Until::Later => format!("{}; gave up after {}", obstacle.what, duration(patience.as_secs())),
            Until::Others | Until::Changed => obstacle.what.clone(),
        };
        Some(Error::failed(what).at_place(connector).advise(obstacle.advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(until: Until) -> Obstacle {
        Obstacle { code: Code::QueueFull, what: "9 messages wait".into(), advice: "start workers", until }
    }

    #[test]
    fn run_of_which_every_connector_is_blocked_fails_with_the_first_obstacle() {
        let mut blocked = Blocked::default();
        assert!(blocked.error(Duration::ZERO).is_none());
        blocked.moved("b");
        blocked.add("a", obstacle(Until::Room));
        assert!(blocked.error(Duration::ZERO).is_none(), "b goes on");
        blocked.add("b", obstacle(Until::Later));
        let error = blocked.error(Duration::from_secs(3)).unwrap();
        assert_eq!(error.what, "9 messages wait; gave up after 3 s");
        assert_eq!(error.place.as_deref(), Some("a"));
        blocked.release("a");
        blocked.release("b");
        assert!(blocked.error(Duration::ZERO).is_none());
    }

    #[test]
    fn stalled_connector_waits_anew_when_its_queue_gets_shorter() {
        let mut blocked = Blocked::default();
        blocked.stalls("a", 100);
        let before = blocked.stalled["a"].since;
        blocked.stalls("a", 100);
        assert_eq!(blocked.stalled["a"].since, before);
        blocked.stalls("a", 99);
        assert!(blocked.stalled["a"].since >= before && blocked.stalled["a"].least == 99);
        blocked.moved("a");
        assert!(blocked.stalled.is_empty());
    }

    #[test]
    fn obstacle_that_somebody_has_to_remove_is_not_replaced() {
        let mut blocked = Blocked::default();
        blocked.add("a", obstacle(Until::Changed));
        blocked.add("a", obstacle(Until::Later));
        assert_eq!(blocked.list(), [("a".to_owned(), Until::Changed)]);
    }
}
