//! Envelopes of connectors on a medium, an importer's site, and what it delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{
    APPLICANT, Broker, Message, Platform, Unjudged, World, connector, envelope_with, fresh_id, push_queue,
};

/// A world with envelopes of connectors on the medium, each envelope with so many objects.
pub struct Scene {
    pub world: World,
    pub ids: Vec<String>,
    /// Names of all objects, by connector.
    pub names: BTreeMap<String, BTreeSet<String>>,
}

impl Scene {
    pub fn new(connectors: usize, envelopes: usize, objects: usize) -> Self {
        Self::with(connectors, envelopes, objects, json!({}))
    }

    /// Envelopes of one connector, each of so many MiB in messages of 1 MiB.
    pub fn of_large_envelopes(envelopes: usize, mib: usize) -> Self {
        let mut scene = Self { world: World::new(), ids: vec![fresh_id()], names: BTreeMap::new() };
        for number in 0..envelopes {
            let name = format!("e{number}");
            let mut objects = scene.tools(0, &name, mib);
            objects.iter_mut().for_each(|object| object["description"] = "a".repeat(1 << 20).into());
            scene.put_objects(0, &name, objects, &json!({}));
        }
        scene.world.send(&[]).exits(0);
        scene
    }

    /// The same, with fields of each envelope's `connector` replaced.
    pub fn with(connectors: usize, envelopes: usize, objects: usize, fields: Value) -> Self {
        let ids: Vec<String> = (0..connectors).map(|_| fresh_id()).collect();
        let mut scene = Self { world: World::new(), ids, names: BTreeMap::new() };
        for number in 0..envelopes {
            scene.put(number % connectors, &format!("e{number}"), objects, &fields);
        }
        scene.world.send(&[]).exits(0);
        scene
    }

    pub fn put(&mut self, of: usize, name: &str, objects: usize, fields: &Value) {
        let objects = self.tools(of, name, objects);
        self.put_objects(of, name, objects, fields);
    }

    fn tools(&self, of: usize, name: &str, objects: usize) -> Vec<Value> {
        (0..objects).map(|at| tool(&format!("{}-{name}-{at}", self.ids[of]))).collect()
    }

    fn put_objects(&mut self, of: usize, name: &str, objects: Vec<Value>, fields: &Value) {
        let id = self.ids[of].clone();
        let mut who = connector(&id);
        fields.as_object().unwrap().iter().for_each(|(key, value)| who[key] = value.clone());
        let names = objects.iter().map(|o| o["name"].as_str().unwrap().to_owned());
        self.names.entry(id).or_default().extend(names);
        let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": objects});
        self.world.put(&format!("{name}.json"), &envelope_with(name, json!({"connector": who, "bundle": bundle})));
    }

    /// The import of what lies on the medium, with no token yet.
    pub fn command(&self, to: &str) -> Command {
        let (mut command, mapped) = (self.world.command(), format!("{APPLICANT}={APPLICANT}"));
        command.args([
            "import",
            "medium",
            "--to",
            to,
            "--trust",
            "trust",
            "--site",
            "importer",
            "--applicant",
            &mapped,
        ]);
        command
    }

    /// The same in the background, unheard.
    pub fn start(&self, platform: &Platform) -> Child {
        let mut command = self.command(&platform.destination());
        command.arg("--token-file").arg(platform.token_file());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn import(&self, platform: &Platform, more: &[&str]) -> Unjudged {
        let token = platform.token_file();
        let to = platform.destination();
        let usual = ["--to", &to, "--token-file", token.to_str().unwrap()];
        self.world.import(&[&usual, more].concat())
    }

    pub fn again(&self, platform: &Platform, more: &[&str]) -> Unjudged {
        let token = platform.token_file();
        let to = platform.destination();
        let usual = ["--to", &to, "--token-file", token.to_str().unwrap()];
        self.world.import_inbox(&[&usual, more].concat())
    }

    pub fn take(&self, broker: &Broker) -> Vec<Message> {
        self.ids.iter().flat_map(|id| broker.take(&push_queue(id))).collect()
    }

    /// Each object's message is there under a work that is alive, or under none.
    #[track_caller]
    pub fn all_are_there(&self, messages: &[Message], platform: &Platform) {
        let alive: BTreeSet<String> = platform.works().into_iter().map(|w| w.id).collect();
        let counts = |m: &&Message| m.json()["work_id"].as_str().is_none_or(|id| alive.contains(id));
        let there: BTreeSet<String> = messages.iter().filter(counts).map(name_in).collect();
        let wanted: BTreeSet<String> = self.names.values().flatten().cloned().collect();
        assert_eq!(wanted.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "lost");
    }

    pub fn quarantined(&self) -> usize {
        fs::read_dir(self.world.path("importer/quarantine")).map_or(0, Iterator::count)
    }
}

pub fn tool(name: &str) -> Value {
    let digest = airpouch::digest::Digest::of(name.as_bytes()).to_string();
    let (a, b, c, d, e) = (&digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..32]);
    json!({"type": "tool", "id": format!("tool--{a}-{b}-4{c}-8{d}-{e}"), "name": name})
}

pub fn name_in(message: &Message) -> String {
    let bundle: Value = serde_json::from_str(&message.bundle()).unwrap();
    bundle["objects"][0]["name"].as_str().unwrap().to_owned()
}
