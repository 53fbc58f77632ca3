//! The verbs that change something, each with what may be there after a fault and what must be there after the next run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use airpouch::digest::Digest;
use airpouch::trust::{PrivateKey, PublicKey};

use super::scene::*;
use crate::support::{Run, Unjudged, envelope_with, files};
use serde_json::{Value, json};

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A few envelopes in two batches.
    Short,
    /// Two volumes a batch, and several batches.
    Long,
}

impl Extent {
    pub fn asked_for() -> Self {
        if std::env::var_os("AIRPOUCH_CRASH").is_some_and(|v| v == "long") { Self::Long } else { Self::Short }
    }

    fn envelopes(self) -> usize {
        if self == Self::Long { 120 } else { 6 }
    }

    /// Long: envelopes of 30 KB, two in a volume, four in a batch of two volumes.
    fn padding(self) -> usize {
        if self == Self::Long { 30_000 } else { 0 }
    }

    fn pack(self) -> Vec<&'static str> {
        let mut words = vec!["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "--threads", "1"];
        if self == Self::Long {
            words.extend(["--volume-size", "66K", "--max-batch", "123K"]);
        }
        words
    }
}

/// One verb, in a scene that it can be tried in again and again.
pub trait Journey {
    /// What a test remembers between the fault and the end.
    type Memory: Default + Clone;

    fn scene(&self) -> &Scene;

    /// The run that meets the fault.
    fn first(&self) -> Command;

    /// Looks at what it left; only what holds at every moment is asserted here.
    fn stopped(&self, memory: &mut Self::Memory);

    /// The run that heals.
    fn again(&self, memory: &mut Self::Memory) -> Command;

    /// What must be true at the end, whatever came before.
    fn healed(&self, memory: Self::Memory, run: Unjudged);

    /// Whether a run that went on in spite of an error said that something was left undone.
    fn owns_up(&self, run: &Run) -> bool;

    /// Everything is done: what a run has to have reached that ends without a word about it.
    fn done(&self, memory: &Self::Memory);
}

/// keygen, under a umask that gives everything away.
pub struct Keygen {
    scene: Scene,
}

#[derive(Debug, Default, Clone)]
pub struct Pair {
    private: Option<Vec<u8>>,
    public: Option<Vec<u8>>,
}

impl Keygen {
    pub fn new() -> Self {
        let scene = Scene::new();
        scene.save();
        Self { scene }
    }

    fn pair(&self) -> Pair {
        let read = |name: &str| fs::read(self.scene.path("keys").join(name)).ok();
        Pair { private: read("new.key.pem"), public: read("new.pub.pem") }
    }

    /// Nobody else may read a private key, finished or not.
    fn nobody_reads(&self) {
        for (name, _) in files(&self.scene.path("keys")) {
            if name.starts_with("new.key.pem") {
                assert_eq!(mode(&self.scene.path("keys").join(&name)), 0o600, "{name}");
            }
        }
    }
}

impl Journey for Keygen {
    type Memory = Pair;

    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn first(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(self.scene.command(&[]).get_program());
        command
            .env_remove("LD_LIBRARY_PATH")
            .args(["keygen", "--out", "keys/new"])
            .current_dir(self.scene.world.dir.path());
        command
    }

    fn stopped(&self, memory: &mut Pair) {
        self.nobody_reads();
        let pair = self.pair();
        if let Some(private) = &pair.private {
            let key = PrivateKey::from_pem(private, None).expect("a key under its final name is whole");
            if let Some(public) = &pair.public {
                assert_eq!(PublicKey::from_pem(public).expect("a whole public key"), key.public());
            }
        } else {
            assert_eq!(pair.public, None, "a public key without its private half");
        }
        *memory = pair;
    }

    fn again(&self, _: &mut Pair) -> Command {
        self.first()
    }

    fn healed(&self, memory: Pair, run: Unjudged) {
        if memory.private.is_some() && memory.public.is_some() {
            let run = run.exits(2).says("a key is there already");
            assert!(run.stderr.lines().count() <= 3, "{run:#?}");
        } else {
            run.exits(0).prints("fingerprint");
        }
        let mut now = Pair::default();
        self.stopped(&mut now);
        assert!(now.private.is_some() && now.public.is_some());
        assert!(memory.private.is_none() || memory.private == now.private, "the key was overwritten");
        assert!(memory.public.is_none() || memory.public == now.public, "the public key was overwritten");
        no_partials(&self.scene.path("keys"));
    }

    fn owns_up(&self, _: &Run) -> bool {
        false
    }

    fn done(&self, _: &Pair) {
        let pair = self.pair();
        assert!(pair.private.is_some() && pair.public.is_some());
    }
}

/// pack, of envelopes and one file that is none.
pub struct Pack {
    scene: Scene,
    extent: Extent,
    fates: BTreeMap<String, Fate>,
}

impl Pack {
    /// The first pack of a site, or one whose batch links to that of an earlier one.
    pub fn new(extent: Extent, is_first: bool) -> Self {
        let scene = Scene::new();
        let mut fates = BTreeMap::new();
        if !is_first {
            fates.extend(put_envelopes(&scene.world, 1, extent.padding()));
            scene.run(&extent.pack()).exits(0);
        }
        let count = if extent == Extent::Short { 2 } else { extent.envelopes() };
        fates.extend(put_envelopes(&scene.world, count, extent.padding()));
        scene.world.put("broken.json", b"{\"bundle_type\": \"DIRECTORY_BUN");
        scene.save();
        Self { scene, extent, fates }
    }

    fn outbox(&self) -> PathBuf {
        self.scene.path("exporter/outbox")
    }

    fn site_holds_nothing_else(&self) {
        const KNOWN: [&str; 8] = [
            "ledger.db",
            "ledger.db-shm",
            "ledger.db-wal",
            "lock",
            "outbox",
            "journal.head",
            "journal.jsonl",
            "journal.key",
        ];
        for entry in fs::read_dir(self.scene.path("exporter")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(KNOWN.contains(&name.as_str()), "{name} lies in the site");
        }
    }
}

impl Journey for Pack {
    type Memory = Issued;

    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn first(&self) -> Command {
        self.scene.command(&self.extent.pack())
    }

    fn stopped(&self, memory: &mut Issued) {
        memory.look(&self.scene.path("exporter"), &[&self.outbox()]);
        memory.each_number_has_one_digest();
    }

    fn again(&self, _: &mut Issued) -> Command {
        self.first()
    }

    fn healed(&self, mut memory: Issued, run: Unjudged) {
        // Three for the broken file if it is told now, zero if the run that was stopped had noted it.
        run.exits_one_of(&[0, 3]);
        self.done(&memory);
        memory.look(&self.scene.path("exporter"), &[&self.outbox()]);
        memory.each_number_has_one_digest();
        let numbers = memory.numbers();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "a number is missing");
        assert_eq!(names_ending(&self.outbox(), ".manifest").len(), numbers.len());
        no_partials(&self.scene.path("exporter"));
        self.site_holds_nothing_else();
        let states = ledger_rows::<String>(&self.scene.path("exporter"), "SELECT DISTINCT state FROM packed_batch");
        assert_eq!(states, [["packed"]]);
        self.scene.run(&["verify", "exporter/outbox", "--trust", "trust", "--threads", "1"]).exits(0);
        let before = files(&self.outbox());
        let third = self.scene.run(&self.extent.pack()).exits(0);
        assert_eq!(third.stdout, "");
        assert!(before == files(&self.outbox()), "a run with nothing to do changed the outbox");
        let packed = "SELECT sequence FROM packed_batch ORDER BY sequence";
        self.scene.each_deed_is_in_the_journal("exporter", "packed", packed);
    }

    fn owns_up(&self, run: &Run) -> bool {
        run.said().contains("unreadable") || run.said().contains("cannot be read")
    }

    /// Every envelope in exactly one batch.
    fn done(&self, _: &Issued) {
        let mut packed = envelopes_on(&self.outbox());
        packed.sort();
        let expected: Vec<String> = self.fates.keys().cloned().collect();
        assert_eq!(packed, expected, "what is packed is not what was written");
    }
}

/// carry, of all that was packed.
pub struct Carry {
    scene: Scene,
}

impl Carry {
    pub fn new(extent: Extent) -> Self {
        let scene = Scene::new();
        pack_for(&scene, extent);
        scene.save();
        Self { scene }
    }

    fn outbox(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.scene.path("exporter/outbox")).into_iter().collect()
    }
}

/// Packs in two runs, the second with something of every fate in it.
fn pack_for(scene: &Scene, extent: Extent) -> BTreeMap<String, Fate> {
    let mut fates = put_envelopes(&scene.world, 1, extent.padding());
    scene.run(&extent.pack()).exits(0);
    fates.extend(put_envelopes(&scene.world, extent.envelopes(), extent.padding()));
    scene.run(&extent.pack()).exits(0);
    fates
}

impl Journey for Carry {
    type Memory = ();

    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn first(&self) -> Command {
        self.scene.command(&["carry", "medium", "--site", "exporter", "--threads", "1"])
    }

    /// What has its final name is whole, and whoever sees a manifest finds the rest.
    fn stopped(&self, (): &mut ()) {
        let outbox = self.outbox();
        let medium = files(&self.scene.path("medium"));
        for (name, bytes) in medium.iter().filter(|(name, _)| !name.ends_with(".partial")) {
            assert!(outbox.get(name) == Some(bytes), "{name} on the medium differs");
        }
        for (name, _) in medium.iter().filter(|(name, _)| name.ends_with(".manifest")) {
            let base = name.strip_suffix("manifest").unwrap();
            for part in outbox.keys().filter(|n| n.starts_with(base)) {
                assert!(medium.iter().any(|(n, _)| n == part), "{name} is there before {part}");
            }
        }
    }

    fn again(&self, (): &mut ()) -> Command {
        self.first()
    }

    fn healed(&self, (): (), run: Unjudged) {
        run.exits(0).prints("SAFE TO REMOVE");
        self.done(&());
        self.scene.run(&["verify", "medium", "--trust", "trust", "--threads", "1"]).exits(0);
        let sql = "SELECT b.sequence, sum(d.is_new) FROM packed_batch b JOIN carried d ON d.stream = b.stream \
                   AND d.sequence = b.sequence GROUP BY 1";
        let carried = ledger_rows::<i64>(&self.scene.path("exporter"), sql);
        assert_eq!(carried.len(), names_ending(&self.scene.path("exporter/outbox"), ".manifest").len());
        // A carry that was cut off at its very end had written everything: for the next one the batch goes again.
        assert!(carried.iter().all(|row| row[1] <= 1), "each is new on one carry at most: {carried:?}");
        self.scene.each_deed_is_in_the_journal(
            "exporter",
            "carried",
            "SELECT sequence FROM carried ORDER BY carry, sequence",
        );
    }

    fn owns_up(&self, run: &Run) -> bool {
        run.said().contains("the next medium takes what is left")
    }

    /// The medium holds the outbox's bytes, and nothing else.
    fn done(&self, (): &()) {
        let medium: BTreeMap<String, Vec<u8>> = files(&self.scene.path("medium")).into_iter().collect();
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&medium), names(&self.outbox()));
        assert!(medium == self.outbox(), "the medium's bytes differ from the outbox's");
    }
}

/// import, from a medium to a directory that the stock connector eats from.
pub struct Import {
    scene: Scene,
    to: &'static str,
    threads: &'static str,
    fates: BTreeMap<String, Fate>,
}

impl Import {
    pub fn new(extent: Extent) -> Self {
        let scene = Scene::new();
        let fates = pack_for(&scene, extent);
        Self::carried(scene, fates)
    }

    /// Of so many small envelopes in one batch.
    pub fn many(count: usize) -> Self {
        let scene = Scene::new();
        let fates = put_envelopes(&scene.world, count, 0);
        scene.run(&Extent::Short.pack()).exits(0);
        Self::carried(scene, fates)
    }

    /// The same with several threads, which nothing can stop in one order.
    pub fn with_threads(self, threads: &'static str) -> Self {
        Self { threads, ..self }
    }

    fn carried(scene: Scene, fates: BTreeMap<String, Fate>) -> Self {
        scene.run(&["carry", "medium", "--site", "exporter"]).exits(0);
        fs::remove_dir_all(scene.path("exporter")).unwrap();
        fs::write(scene.path("record.toml"), "[record]\nobjects = true\n").unwrap();
        scene.save();
        Self { scene, to: "dir:out", threads: "1", fates }
    }

    fn of(&self, fate: Fate) -> Vec<String> {
        self.fates.iter().filter(|(_, f)| **f == fate).map(|(digest, _)| digest.clone()).collect()
    }

    fn import(&self, medium: Option<&str>) -> Command {
        let mapped = mapped();
        let mut words = vec!["import"];
        words.extend(medium);
        words.extend(["--to", self.to, "--trust", "trust", "--site", "importer", "--threads", self.threads]);
        words.extend(["--applicant", &mapped, "--policy", "record.toml"]);
        self.scene.command(&words)
    }

    /// Whether the importer has said of each batch on the medium that it has it whole: then the stick may leave.
    fn custody_is_complete(&self) -> bool {
        let sql = "SELECT lower(hex(sha256)) FROM batch WHERE state <> 'incomplete'";
        let taken: Vec<String> =
            ledger_rows::<String>(&self.scene.path("importer"), sql).into_iter().flatten().collect();
        let medium = files(&self.scene.path("medium"));
        let mut manifests = medium.iter().filter(|(name, _)| name.ends_with(".manifest"));
        manifests.all(|(_, bytes)| taken.contains(&Digest::of(bytes).to_string()))
    }
}

impl Journey for Import {
    type Memory = Eaten;

    fn scene(&self) -> &Scene {
        &self.scene
    }

    fn first(&self) -> Command {
        self.import(Some("medium"))
    }

    fn stopped(&self, memory: &mut Eaten) {
        memory.eat(&self.scene.path("out"));
        memory.is_in_order();
    }

    fn again(&self, _: &mut Eaten) -> Command {
        if !self.custody_is_complete() {
            return self.import(Some("medium"));
        }
        // It left. Only what the importer has in its custody is there now.
        if self.scene.path("medium").is_dir() {
            fs::rename(self.scene.path("medium"), self.scene.path("gone")).unwrap();
        }
        self.import(None)
    }

    fn healed(&self, mut memory: Eaten, run: Unjudged) {
        run.exits_one_of(&[0, 3]);
        memory.eat(&self.scene.path("out"));
        self.done(&memory);
        no_partials(&self.scene.path("importer"));
        no_partials(&self.scene.path("out"));
        if self.scene.path("gone").is_dir() {
            fs::rename(self.scene.path("gone"), self.scene.path("medium")).unwrap();
        }
        let third = crate::support::finish(&mut self.first()).exits(0);
        assert_eq!(third.said(), "", "a run with nothing to do");
        memory.eat(&self.scene.path("out"));
        self.done(&memory);
        no_partials(&self.scene.path("importer"));
        for event in ["taken", "admitted", "delivered"] {
            let sql = "SELECT sequence FROM batch ORDER BY sequence";
            self.scene.each_deed_is_in_the_journal("importer", event, sql);
        }
        let first: Value = serde_json::from_slice(&fs::read(self.scene.path("src/0000.json")).unwrap()).unwrap();
        let id = first["bundle"]["objects"][0]["id"].as_str().unwrap();
        let log = self.scene.run(&["log", "--object", id, "--json", "--site", "importer"]).exits(0).json();
        let report = &log["report"];
        assert_eq!(report["envelopes"][0]["name"], "0000.json", "{report}");
        assert_eq!((&report["searched"]["without_list"], &report["findings"]), (&json!(0), &json!([])));
    }

    fn owns_up(&self, run: &Run) -> bool {
        run.said().contains("not taken") || run.said().contains("cannot be read")
    }

    /// Each envelope is where it belongs, once.
    fn done(&self, memory: &Eaten) {
        memory.holds_each_once(self.of(Fate::Delivered).into_iter());
        let held = [self.of(Fate::Held), self.of(Fate::HeldOfNothing)].concat();
        aside_is(&self.scene.path("importer/held"), &held);
        aside_is(&self.scene.path("importer/quarantine"), &self.of(Fate::Quarantined));
    }
}

/// import, from a medium to a spool from which a broker's side takes all that has its name.
pub struct Spool {
    pub import: Import,
    /// What every message says, in the order of a run that nothing disturbs.
    expected: Vec<String>,
}

/// The messages that were taken: number, connector and body.
#[derive(Debug, Default, Clone)]
pub struct Taken(Vec<(String, String, String)>);

impl Taken {
    fn take(&mut self, spool: &Path) {
        let mut all = Vec::new();
        for connector in fs::read_dir(spool).into_iter().flatten().map(|e| e.unwrap().path()) {
            for name in names_ending(&connector, ".json").into_iter().filter(|n| n != "connector.json") {
                let body = fs::read_to_string(connector.join(&name)).unwrap();
                fs::remove_file(connector.join(&name)).unwrap();
                all.push((name, connector.file_name().unwrap().to_string_lossy().into_owned(), body));
            }
        }
        all.sort();
        self.0.extend(all);
    }

    fn bodies(&self) -> Vec<String> {
        self.0.iter().map(|(_, connector, body)| format!("{connector} {body}")).collect()
    }

    #[track_caller]
    fn is_in_order(&self) {
        assert!(self.0.windows(2).all(|two| two[0].0 < two[1].0), "a number came twice, or too late: {:#?}", self.0);
    }
}

impl Spool {
    pub fn new(extent: Extent) -> Self {
        let scene = Scene::new();
        let mut fates = put_envelopes(&scene.world, extent.envelopes(), extent.padding());
        // One of another connector that comes apart in three.
        let bundle = json!({"type": "bundle", "id": "bundle--3", "objects": [
            {"type": "report", "id": "report--1", "object_refs": ["tool--1", "x-foo--1"]},
            {"type": "tool", "id": "tool--1", "created_by_ref": "identity--1"},
            {"type": "identity", "id": "identity--1"}, {"type": "x-foo", "id": "x-foo--1"}]});
        let connector = json!({"id": "second", "name": "Second Feed", "type": "EXTERNAL_IMPORT", "scope": null});
        let bytes = envelope_with("0001b", json!({"bundle": bundle, "connector": connector}));
        scene.world.put("0001b.json", &bytes);
        fates.insert(Digest::of(&bytes).to_string(), Fate::Delivered);
        scene.run(&extent.pack()).exits(0);
        let import = Import { to: "spool:spool", ..Import::carried(scene, fates) };
        crate::support::finish(&mut import.first()).exits(3);
        let mut taken = Taken::default();
        taken.take(&import.scene.path("spool"));
        import.scene.set_back();
        Self { expected: taken.bodies(), import }
    }
}

impl Journey for Spool {
    type Memory = Taken;

    fn scene(&self) -> &Scene {
        &self.import.scene
    }

    fn first(&self) -> Command {
        self.import.first()
    }

    fn stopped(&self, memory: &mut Taken) {
        memory.take(&self.scene().path("spool"));
        memory.is_in_order();
    }

    fn again(&self, _: &mut Taken) -> Command {
        self.import.again(&mut Eaten::default())
    }

    fn healed(&self, mut memory: Taken, run: Unjudged) {
        run.exits_one_of(&[0, 3]);
        self.stopped(&mut memory);
        self.done(&memory);
        no_partials(&self.scene().path("importer"));
        no_partials(&self.scene().path("spool"));
        if self.scene().path("gone").is_dir() {
            fs::rename(self.scene().path("gone"), self.scene().path("medium")).unwrap();
        }
        let third = crate::support::finish(&mut self.first()).exits(0);
        assert_eq!(third.said(), "", "a run with nothing to do");
        self.stopped(&mut memory);
        self.done(&memory);
    }

    fn owns_up(&self, run: &Run) -> bool {
        self.import.owns_up(run)
    }

    /// Each message came once, and in its order, and each connector is registered.
    fn done(&self, memory: &Taken) {
        assert_eq!(memory.bodies(), self.expected);
        let registered = fs::read_to_string(self.scene().path("spool/second/connector.json")).unwrap();
        assert!(registered.contains("\"name\":\"Second Feed\""), "{registered}");
        let held = [self.import.of(Fate::Held), self.import.of(Fate::HeldOfNothing)].concat();
        aside_is(&self.scene().path("importer/held"), &held);
        aside_is(&self.scene().path("importer/quarantine"), &self.import.of(Fate::Quarantined));
    }
}

/// import again, after what was held has its applicant and a person has released what was quarantined.
pub struct Release {
    import: Import,
    /// What was delivered before, and is eaten.
    before: usize,
}

impl Release {
    pub fn new(extent: Extent) -> Self {
        let import = Import::new(extent);
        crate::support::finish(&mut import.first()).exits(3);
        let mut eaten = Eaten::default();
        eaten.eat(&import.scene.path("out"));
        for digest in import.of(Fate::Quarantined) {
            let words = ["quarantine", "release", &digest, "--reason", "it is a test", "--site", "importer"];
            import.scene.run(&words).exits(0);
        }
        fs::write(import.scene.path("policy.toml"), "connector_types = [\"EXTERNAL_IMPORT\", \"STREAM\"]\n").unwrap();
        fs::remove_dir_all(import.scene.path("medium")).unwrap();
        import.scene.save();
        Self { before: eaten.len(), import }
    }
}

impl Journey for Release {
    type Memory = Eaten;

    fn scene(&self) -> &Scene {
        &self.import.scene
    }

    fn first(&self) -> Command {
        let mut command = self.import.import(None);
        command.args(["--policy", "policy.toml"]);
        command.args(["--applicant", &format!("{STRANGER}={STRANGER}")]);
        command
    }

    fn stopped(&self, memory: &mut Eaten) {
        self.import.stopped(memory);
    }

    fn again(&self, _: &mut Eaten) -> Command {
        self.first()
    }

    fn healed(&self, mut memory: Eaten, run: Unjudged) {
        run.exits(0);
        memory.eat(&self.import.scene.path("out"));
        self.done(&memory);
        no_partials(&self.import.scene.path("importer"));
        let third = crate::support::finish(&mut self.first()).exits(0);
        assert_eq!(third.said(), "", "a run with nothing to do");
        memory.eat(&self.import.scene.path("out"));
        self.done(&memory);
    }

    fn owns_up(&self, run: &Run) -> bool {
        run.said().contains("lost-from-site") || run.said().contains("cannot read what was set aside")
    }

    /// What waited is delivered once, and nothing lies in held/ or quarantine/ that was.
    fn done(&self, memory: &Eaten) {
        assert!(self.before > 0);
        let mut waited = self.import.of(Fate::Held);
        waited.extend(self.import.of(Fate::Quarantined));
        memory.holds_each_once(waited.into_iter());
        aside_is(&self.import.scene.path("importer/held"), &[]);
        aside_is(&self.import.scene.path("importer/quarantine"), &[]);
    }
}

/// The import that clears the inbox of what was delivered long ago.
pub struct Prune {
    import: Import,
}

impl Prune {
    pub fn new(extent: Extent) -> Self {
        let import = Import::new(extent);
        crate::support::finish(&mut import.first()).exits(3);
        fs::remove_dir_all(import.scene.path("medium")).unwrap();
        import.scene.save();
        Self { import }
    }

    fn indexes(&self, dir: &str) -> usize {
        let below = walkdir::WalkDir::new(self.import.scene.path(dir)).into_iter().map(|e| e.unwrap().into_path());
        below.filter(|path| path.to_string_lossy().ends_with(".index.zst")).count()
    }
}

impl Journey for Prune {
    type Memory = Eaten;

    fn scene(&self) -> &Scene {
        &self.import.scene
    }

    fn first(&self) -> Command {
        let mut command = self.import.import(None);
        command.args(["--keep", "0s"]);
        command
    }

    /// Each index is in one of the two places.
    fn stopped(&self, _: &mut Eaten) {
        let batches = ledger_rows::<i64>(&self.import.scene.path("importer"), "SELECT id FROM batch").len();
        assert_eq!(self.indexes("importer/inbox") + self.indexes("importer/indexes"), batches);
    }

    fn again(&self, _: &mut Eaten) -> Command {
        self.first()
    }

    fn healed(&self, mut memory: Eaten, run: Unjudged) {
        run.exits(0);
        self.stopped(&mut memory);
        no_partials(&self.import.scene.path("importer"));
        let third = crate::support::finish(&mut self.first()).exits(0);
        assert_eq!(third.said(), "", "a run with nothing to do");
        self.done(&memory);
        self.import.scene.each_deed_is_in_the_journal(
            "importer",
            "pruned",
            "SELECT sequence FROM batch ORDER BY sequence",
        );
    }

    fn owns_up(&self, _: &Run) -> bool {
        false
    }

    /// The inbox is empty, and each envelope is found by its name.
    fn done(&self, _: &Eaten) {
        assert_eq!(fs::read_dir(self.import.scene.path("importer/inbox")).unwrap().count(), 0);
        let log = self.import.scene.run(&["log", "--envelope", "0000.json", "--site", "importer"]).exits(0);
        log.prints("0000.json").prints("its bytes are pruned").says_nothing_of("cannot be looked through");
    }
}

/// A decision about two envelopes that are set aside, before the import that follows it.
pub struct Decide {
    import: Import,
    verb: &'static str,
    digests: Vec<String>,
}

impl Decide {
    /// Both commands are released.
    pub fn release() -> Self {
        Self::of("release", |import| import.of(Fate::Quarantined))
    }

    /// A command and what is held are rejected, and their copies go.
    pub fn reject() -> Self {
        let one_of_each = |import: &Import| {
            [Fate::Held, Fate::Quarantined].iter().flat_map(|fate| import.of(*fate).into_iter().take(1)).collect()
        };
        Self::of("reject", one_of_each)
    }

    fn of(verb: &'static str, chosen: impl Fn(&Import) -> Vec<String>) -> Self {
        let import = Import::many(12);
        crate::support::finish(&mut import.first()).exits(3);
        Eaten::default().eat(&import.scene.path("out"));
        fs::remove_dir_all(import.scene.path("medium")).unwrap();
        import.scene.save();
        let digests = chosen(&import);
        assert_eq!(digests.len(), 2);
        Self { import, verb, digests }
    }

    /// How often the ledger has the decision; and how many envelopes stand so.
    fn counts(&self) -> (i64, i64) {
        let (site, verb) = (self.scene().path("importer"), self.verb);
        let count = |sql: String| ledger_rows::<i64>(&site, &sql)[0][0];
        let table = if verb == "release" { "set_aside WHERE kind" } else { "decided WHERE outcome" };
        (
            count(format!("SELECT count(*) FROM decision WHERE decision = '{verb}ed' OR decision = '{verb}d'")),
            count(format!("SELECT count(*) FROM {table} IN ('{verb}ed', '{verb}d')")),
        )
    }
}

impl Journey for Decide {
    type Memory = ();

    fn scene(&self) -> &Scene {
        &self.import.scene
    }

    fn first(&self) -> Command {
        let mut words = vec!["quarantine", self.verb, &self.digests[0], &self.digests[1], "--reason", "it is a test"];
        words.extend(["--site", "importer", "--operator", "A. Tester"]);
        if self.verb == "reject" {
            words.push("--remove-copy");
        }
        self.scene().command(&words)
    }

    /// All of it or nothing.
    fn stopped(&self, (): &mut ()) {
        assert!([(0, 0), (2, 2)].contains(&self.counts()), "{:?}", self.counts());
    }

    fn again(&self, (): &mut ()) -> Command {
        self.first()
    }

    fn healed(&self, (): (), run: Unjudged) {
        // What was decided is not decided twice.
        let run = run.exits_one_of(&[0, 2]);
        assert!(run.status == Some(0) || run.said().contains(&format!("was {}", self.verb)), "{run:?}");
        self.scene().each_deed_is_in_the_journal(
            "importer",
            &format!("{}d", self.verb.replace("reject", "rejecte")),
            "SELECT 1 FROM decision",
        );
        let delivered = if self.verb == "release" { &self.digests[..] } else { &[] };
        crate::support::finish(&mut self.import.import(None)).exits(0);
        let mut eaten = Eaten::default();
        eaten.eat(&self.scene().path("out"));
        eaten.holds_each_once(delivered.iter().cloned());
        self.done(&());
    }

    fn owns_up(&self, _: &Run) -> bool {
        false
    }

    /// Each was decided about once, and no copy is left of what was settled.
    fn done(&self, (): &()) {
        let site = self.scene().path("importer");
        assert_eq!(self.counts().0, 2);
        let settled = "SELECT lower(hex(sha256)) FROM decided ORDER BY 1";
        let mut digests = self.digests.clone();
        digests.sort();
        assert_eq!(ledger_rows::<String>(&site, settled).concat(), digests);
        for (dir, fate) in [("held", Fate::Held), ("quarantine", Fate::Quarantined)] {
            let left: Vec<String> = self.import.of(fate).into_iter().filter(|d| !self.digests.contains(d)).collect();
            let there = names_ending(&site.join(dir), ".reason.json");
            for digest in &left {
                assert!(there.iter().any(|name| name.starts_with(digest)), "{digest} is gone from {dir}");
            }
            assert!(!there.iter().any(|name| self.digests.iter().any(|digest| name.starts_with(digest))), "{there:?}");
        }
    }
}
