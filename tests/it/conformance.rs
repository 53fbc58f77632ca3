//! The conformance set in `fixtures/`: one folder a case, which another implementation can be held against.
//!
//! `fixtures/valid`, `fixtures/invalid` and `fixtures/warning` are made by [`cases`], out of the builder. One test
//! compares what lies there with what it makes, byte for byte; with `AIRPOUCH_WRITE_FIXTURES=1` it writes the folders
//! anew. The other one runs `airpouch verify` and `airpouch import` on every case as it lies there.

mod bounds;
mod invalid;
mod valid;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use airpouch::trust::PrivateKey;
use serde_json::Value;

use crate::builder::{APPLICANT, Batch, Builder, J, ZONE, maybe, object, published, raw, text};
use crate::support::{World, files};

/// Cases that there must be at least, so that an empty set does not pass.
const CASES_MIN: usize = 150;
/// All of it, so that it can lie in a source tree.
const BYTES_MAX: usize = 1 << 20;

/// One case: what lies there, and what must come of it.
pub struct Case {
    /// `valid`, `invalid` or `warning`.
    class: &'static str,
    name: &'static str,
    why: &'static str,
    medium: Vec<(String, Vec<u8>)>,
    trust: Vec<(String, Vec<u8>)>,
    zone: &'static str,
    verify: i32,
    code: Option<&'static str>,
    layer: Option<&'static str>,
    import: i32,
    import_code: Option<&'static str>,
    delivers: Vec<String>,
    /// Words of the finding. Another implementation has its own, so they are not in `expect.json`.
    says: &'static str,
}

impl Case {
    /// A case of one batch that holds, is imported whole, and of which nothing is said.
    fn holds(name: &'static str, why: &'static str, batch: &Batch) -> Self {
        Self {
            class: "valid",
            name,
            why,
            medium: batch.files.clone(),
            trust: public(&['a']),
            zone: ZONE,
            verify: 0,
            code: None,
            layer: None,
            import: 0,
            import_code: None,
            delivers: batch.envelopes(),
            says: "",
        }
    }

    /// A case that must be noticed: in which layer, by which code, in which words.
    fn found(
        name: &'static str,
        (layer, code, says): (&'static str, &'static str, &'static str),
        why: &'static str,
        batch: &Batch,
    ) -> Self {
        let status = if is_incomplete(code) { 3 } else { 4 };
        Self {
            class: "invalid",
            verify: status,
            code: Some(code),
            layer: Some(layer),
            import: status,
            import_code: Some(code),
            delivers: Vec::new(),
            says,
            ..Self::holds(name, why, batch)
        }
    }

    /// A case that is whole, and of which only the importer has something to say.
    fn told(
        name: &'static str,
        (layer, code, says): (&'static str, &'static str, &'static str),
        why: &'static str,
        batch: &Batch,
    ) -> Self {
        let layer = Some(layer);
        Self { class: "warning", import: 3, import_code: Some(code), layer, says, ..Self::holds(name, why, batch) }
    }

    fn and(mut self, batch: &Batch) -> Self {
        self.medium.extend(batch.files.clone());
        self
    }

    fn delivers(mut self, envelopes: &[String]) -> Self {
        self.delivers = envelopes.to_vec();
        self
    }

    fn trusts(mut self, letters: &[char], rules: &str) -> Self {
        self.trust = public(letters);
        if !rules.is_empty() {
            self.trust.push(("trust.toml".to_owned(), rules.as_bytes().to_vec()));
        }
        self
    }

    fn in_zone(mut self, zone: &'static str) -> Self {
        self.zone = zone;
        self
    }

    /// Its files, by their path below `fixtures/`.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let place = |folder: &str, name: &str| format!("{}/{}/{folder}{name}", self.class, self.name);
        let medium = self.medium.iter().map(|(name, bytes)| (place("medium/", name), bytes.clone()));
        let trust = self.trust.iter().map(|(name, bytes)| (place("trust/", name), bytes.clone()));
        medium.chain(trust).chain([(place("", "expect.json"), self.expectation())]).collect()
    }

    fn expectation(&self) -> Vec<u8> {
        let members = [
            ("why", text(self.why)),
            ("zone", text(self.zone)),
            ("verify", raw(self.verify)),
            ("code", maybe(self.code)),
            ("layer", maybe(self.layer)),
            ("import", raw(self.import)),
            ("import_code", maybe(self.import_code)),
            ("delivers", J::List(self.delivers.iter().map(text).collect())),
        ];
        let line = |(key, value): (&str, J)| {
            let pair = String::from_utf8(object([(key, value)]).form()).unwrap();
            format!("  {}", pair[1..pair.len() - 1].replacen("\":", "\": ", 1).replace("\",\"", "\",\n    \""))
        };
        format!("{{\n{}\n}}\n", members.map(line).join(",\n")).into_bytes()
    }
}

fn is_incomplete(code: &str) -> bool {
    let incomplete =
        ["incomplete", "cut-manifest", "cut-signature", "no-signature", "wrong-zone", "too-few-signatures", "no-batch"];
    incomplete.contains(&code)
}

/// The public halves of published keys, as a trust folder has them.
fn public(letters: &[char]) -> Vec<(String, Vec<u8>)> {
    let file = |letter: &char| {
        let pem = PrivateKey::from_seed(published(*letter)).public().to_pem();
        (format!("test-{letter}.pub.pem"), pem.into_bytes())
    };
    letters.iter().map(file).collect()
}

/// A case that breaks one rule of the batch itself.
type Fault = (&'static str, &'static str, &'static str);

fn lie(layer: &'static str, says: &'static str) -> Fault {
    (layer, if layer == "manifest" { "invalid-manifest" } else { "invalid-batch" }, says)
}

/// All cases.
fn cases() -> Vec<Case> {
    valid::cases().into_iter().chain(invalid::cases()).chain(bounds::cases()).chain(warning::cases()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

#[test]
fn fixtures_are_what_the_generator_makes() {
    let made: BTreeMap<String, Vec<u8>> = cases().iter().flat_map(Case::files).collect();
    assert!(made.keys().all(|name| !name.contains("/medium/") || !name.ends_with(".json")));
    assert!(made.values().map(Vec::len).sum::<usize>() < BYTES_MAX);
    if std::env::var_os("AIRPOUCH_WRITE_FIXTURES").is_some() {
        for class in ["valid", "invalid", "warning"] {
            let _ = fs::remove_dir_all(root().join(class));
        }
        for (name, bytes) in &made {
            let path = root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let mut there = BTreeMap::new();
    for class in ["valid", "invalid", "warning"] {
        read_tree(&root().join(class), class, &mut there);
    }
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&made), "write them with AIRPOUCH_WRITE_FIXTURES=1");
    for (name, bytes) in &made {
        assert!(there[name] == *bytes, "{name} is not what the generator makes");
    }
}

fn read_tree(dir: &Path, prefix: &str, out: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => read_tree(&entry.path(), &name, out),
            false => drop(out.insert(name, fs::read(entry.path()).unwrap())),
        }
    }
}

#[test]
fn verify_and_import_report_every_case_as_listed() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|c| (c.class, c.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                wrong.extend(judge(case).into_iter().map(|w| format!("{}/{}: {w}", case.class, case.name)));
            }
            wrong
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    println!("COUNT conformance cases: {}", cases.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is otherwise than `expect.json` says, with our own words added to it.
fn judge(case: &Case) -> Vec<String> {
    let dir = root().join(case.class).join(case.name);
    let expect: Value = serde_json::from_slice(&fs::read(dir.join("expect.json")).unwrap()).unwrap();
    let (medium, trust) = (dir.join("medium"), dir.join("trust"));
    let (medium, trust) = (medium.to_str().unwrap(), trust.to_str().unwrap());
    let zone = expect["zone"].as_str().unwrap();
    let world = World::new();
    let verify = world.run(["verify", medium, "--trust", trust, "--zone", zone, "--test-keys", "--json"]);
    let verify = verify.exits_one_of(&[0, 3, 4]);
    let mapped = format!("{APPLICANT}={APPLICANT}");
    let import = world.run([
        "import",
        medium,
        "--to",
        "dir:out",
        "--site",
        "importer",
        "--trust",
        trust,
        "--zone",
        zone,
        "--test-keys",
        "--applicant",
        &mapped,
        "--json",
    ]);
    let import = import.exits_one_of(&[0, 3, 4]);
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: String, expected: String| {
        if found != expected {
            wrong.push(format!("{what}: {found}, not {expected}\n  {}\n  {}", verify.stdout, import.stdout));
        }
    };
    check("verify", format!("{:?}", verify.status), format!("Some({})", expect["verify"]));
    check("import", format!("{:?}", import.status), format!("Some({})", expect["import"]));
    let (verify_findings, import_findings) = (findings(&verify.stdout), findings(&import.stdout));
    check("code", codes(&verify_findings), shown(&expect["code"]));
    check("import_code", codes(&import_findings), shown(&expect["import_code"]));
    let telling = if verify_findings.is_empty() { &import_findings } else { &verify_findings };
    let layers: BTreeSet<&str> = telling.iter().map(layer_of).collect();
    check("layer", layers.into_iter().collect::<Vec<_>>().join(" "), shown(&expect["layer"]));
    let said = telling.iter().map(|f| shown(&f["what"])).collect::<Vec<_>>().join("; ");
    check("says", if said.contains(case.says) { case.says.to_owned() } else { said }, case.says.to_owned());
    let delivered: Vec<_> = files(&world.path("out"))
        .into_iter()
        .filter(|(name, _)| name != ".airpouch")
        .map(|(_, bytes)| crate::builder::sha256(&bytes))
        .collect();
    check("delivers", format!("{delivered:?}"), format!("{:?}", case.delivers));
    wrong
}

/// The findings that change the exit status.
fn findings(stdout: &str) -> Vec<Value> {
    let run: Value = serde_json::from_str(stdout).unwrap_or(Value::Null);
    let all = run["report"]["findings"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|f| matches!(f["severity"].as_str(), Some("incomplete" | "invalid"))).collect()
}

fn codes(findings: &[Value]) -> String {
    let codes: BTreeSet<String> = findings.iter().map(|f| shown(&f["code"])).collect();
    codes.into_iter().collect::<Vec<_>>().join(" ")
}

fn shown(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The layer that noticed.
fn layer_of(finding: &Value) -> &'static str {
    let what = shown(&finding["what"]);
    match finding["code"].as_str().unwrap_or_default() {
        "no-batch" | "cut-manifest" => "medium",
        "no-signature" | "cut-signature" | "invalid-signature" | "line-ends" | "unknown-key" => "signature",
        "not-allowed" | "too-few-signatures" | "wrong-zone" => "trust",
        "invalid-manifest" => "manifest",
        "incomplete" | "damaged" => "digest",
        "invalid-batch" if what.split(' ').next().is_some_and(|name| name.ends_with(".index.zst")) => "index",
        "invalid-batch" => "volume",
        "unknown-start" | "gap" | "fork" | "unlinked" => "stream",
        _ => "envelope",
    }
}

/// A batch of three envelopes with one thing changed.
fn three(change: impl FnOnce(Builder) -> Builder) -> Batch {
    change(Builder::three()).build()
}
