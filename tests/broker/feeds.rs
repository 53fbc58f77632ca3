//! Connectors with envelopes that cross, what lies in their queues, and what a spool says should lie there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use airpouch::digest::Digest;
use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::types::ShortString;
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::support::{
    APPLICANT, Broker, Unjudged, World, connector, envelope_with, files, finish, fresh_id, push_queue,
};

/// Messages that one failure may repeat: those on their way, and one group.
pub const REPEATS_MAX: usize = 8_000 + 2_000;

/// A message, as far as it can be known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub id: String,
    pub body: String,
}

/// A world with connectors of its own, so that no other test uses their queues.
pub struct Feeds {
    pub world: World,
    pub ids: Vec<String>,
    put: std::cell::RefCell<Vec<(usize, Digest, usize)>>,
}

impl Feeds {
    pub fn new(count: usize) -> Self {
        Self::in_world(World::new(), count)
    }

    pub fn in_world(world: World, count: usize) -> Self {
        Self { world, ids: (0..count).map(|_| fresh_id()).collect(), put: Vec::new().into() }
    }

    pub fn queue(&self, feed: usize) -> String {
        push_queue(&self.ids[feed])
    }

    /// An envelope of a connector with so many indicators, each of which is one message.
    pub fn put(&self, feed: usize, indicators: usize) -> Digest {
        self.put_objects(feed, (0..indicators).map(|_| indicator("plain")).collect())
    }

    pub fn put_objects(&self, feed: usize, objects: Vec<Value>) -> Digest {
        let at = self.put.borrow().len();
        let count = objects.len();
        let bundle = json!({"type": "bundle", "id": format!("bundle--{}", fresh_id()), "objects": objects});
        let bytes = envelope_with("x", json!({"bundle": bundle, "connector": connector(&self.ids[feed])}));
        self.world.put(&format!("{at:05}.json"), &bytes);
        self.put.borrow_mut().push((feed, Digest::of(&bytes), count));
        Digest::of(&bytes)
    }

    pub fn send(&self) {
        self.world.send(&["--no-overlap"]).exits(0);
    }

    /// The import of what lies on the medium. All go by the broker's own address, so that it is one destination: a
    /// proxy is named by `--amqp-port`.
    pub fn command(&self, broker: &Broker, more: &[&str]) -> Command {
        self.import_to(&broker.url(None), more)
    }

    pub fn import_to(&self, to: &str, more: &[&str]) -> Command {
        let mapped = format!("{APPLICANT}={APPLICANT}");
        let mut command = self.world.command();
        command.args(["import", "medium", "--trust", "trust", "--applicant", &mapped, "--to", to]);
        if !more.contains(&"--site") {
            command.args(["--site", "importer"]);
        }
        command.args(more);
        command
    }

    pub fn import(&self, broker: &Broker, more: &[&str]) -> Unjudged {
        finish(&mut self.command(broker, more))
    }

    /// What is to lie in the queues of each connector, in order: the ids by our own count, the bodies by what `spool:`
    /// writes for the same batch.
    #[track_caller]
    pub fn wanted(&self) -> Vec<Vec<Got>> {
        finish(&mut self.import_to("spool:beside", &["--site", "beside-site"])).exits(0);
        (0..self.ids.len()).map(|feed| self.wanted_of(feed)).collect()
    }

    #[track_caller]
    fn wanted_of(&self, feed: usize) -> Vec<Got> {
        let spool = files(&self.world.path("beside").join(&self.ids[feed]));
        let bodies: Vec<String> = spool
            .into_iter()
            .filter(|(name, _)| name != "connector.json")
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .collect();
        let ids = self.message_ids(feed);
        assert_eq!(ids.len(), bodies.len(), "the spool holds each message");
        ids.into_iter().zip(bodies).map(|(id, body)| Got { id, body }).collect()
    }

    /// The ids of a connector's messages, in order.
    pub fn message_ids(&self, feed: usize) -> Vec<String> {
        let put = self.put.borrow();
        let of_it = put.iter().filter(|(of, _, _)| *of == feed);
        of_it.flat_map(|(_, digest, count)| (1..=*count).map(move |n| format!("airpouch-{digest}-{n}"))).collect()
    }
}

pub fn indicator(name: &str) -> Value {
    json!({"type": "indicator", "spec_version": "2.1", "id": format!("indicator--{}", fresh_id()), "name": name,
        "created": "2025-06-15T12:00:00.000Z", "modified": "2025-06-15T12:00:00.000Z", "pattern_type": "stix",
        "pattern": "[domain-name:value = 'a.example']", "valid_from": "2025-06-15T12:00:00.000Z"})
}

/// One with a description of so many bytes; its message is a third longer.
pub fn long_indicator(bytes: usize) -> Value {
    let mut object = indicator("long");
    object["description"] = json!("x".repeat(bytes));
    object
}

/// Says that all that is wanted lies there, nothing else, and in order once repeats are taken away; counts those.
#[track_caller]
pub fn repeats(got: &[Got], wanted: &[Got]) -> usize {
    let bodies: BTreeMap<&str, &str> = wanted.iter().map(|m| (m.id.as_str(), m.body.as_str())).collect();
    for message in got {
        assert_eq!(bodies.get(message.id.as_str()), Some(&message.body.as_str()), "{} is strange", message.id);
    }
    let ids: Vec<&str> = got.iter().map(|m| m.id.as_str()).collect();
    let (first, mut last) = (without_repeats(ids.iter()), without_repeats(ids.iter().rev()));
    last.reverse();
    let wanted_ids: Vec<&str> = wanted.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(first.len(), wanted.len(), "lost {}", wanted.len() - first.len());
    assert!(first == wanted_ids || last == wanted_ids, "out of order: {ids:#?}");
    got.len() - wanted.len()
}

fn without_repeats<'a>(ids: impl Iterator<Item = &'a &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    ids.copied().filter(|id| seen.insert(*id)).collect()
}

/// A connection of the tests' own to the broker: quick, for what is asked thousands of times.
pub struct Tap {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    channel: Channel,
}

impl Tap {
    pub fn open(broker: &Broker) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // No heartbeat: the runtime runs only while something is asked.
        let uri = format!("amqp://guest:{}@127.0.0.1:{}/%2f?heartbeat=0", Broker::PASSWORD, broker.port());
        let (connection, channel) = runtime.block_on(async {
            let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            (connection, channel)
        });
        Self { runtime, connection, channel }
    }

    /// All messages of a queue, in their order; they are gone from it then.
    #[track_caller]
    pub fn take(&self, queue: &str) -> Vec<Got> {
        self.take_some(queue, usize::MAX)
    }

    #[track_caller]
    pub fn take_some(&self, queue: &str, most: usize) -> Vec<Got> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            while all.len() < most {
                let options = BasicGetOptions { no_ack: true };
                let Some(got) = self.channel.basic_get(ShortString::from(queue), options).await.unwrap() else { break };
                let id = got.delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
                all.push(Got { id, body: String::from_utf8(got.delivery.data.clone()).unwrap() });
            }
            all
        })
    }

    /// How many wait in a queue; none if there is no such queue.
    pub fn count(&self, queue: &str) -> u32 {
        use lapin::options::QueueDeclareOptions;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.runtime.block_on(async {
            let channel = self.connection.create_channel().await.unwrap();
            let found =
                channel.queue_declare(ShortString::from(queue), options, lapin::types::FieldTable::default()).await;
            let count = found.map_or(0, |queue| queue.message_count());
            if channel.status().connected() {
                let _ = channel.close(200, "OK".into()).await;
            }
            count
        })
    }

    #[track_caller]
    pub fn delete(&self, queue: &str) {
        let options = QueueDeleteOptions::default();
        self.runtime.block_on(self.channel.queue_delete(ShortString::from(queue), options)).unwrap();
    }
}
