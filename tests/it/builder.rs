//! Batches made without the library's writer, so that any rule can be broken before they are signed.
//!
//! A [`Builder`] makes an honest batch, byte for byte by rules of its own: its own JSON, its own tar headers, zstd's
//! plain frames. Each stage can be changed before the next one is made from it: the tar entries, the tar stream, the
//! frame, the index's lines, its text, its frame, the manifest as a value, the manifest's bytes. Sizes and digests
//! follow every change, so that a case has the one fault that it is about and no other.

#![allow(dead_code, reason = "each test module uses some of these words")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use airpouch::digest::Digest;
use airpouch::trust::PrivateKey;

/// The stream of the built batches.
pub const STREAM: &str = "3f0c6f3e-58a1-4d0b-9a6e-5b1f0c2d7e94";
/// The zone that they are for.
pub const ZONE: &str = "restricted";
/// In whose name their envelopes are.
pub const APPLICANT: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/// JSON that keeps its order and can say what no value should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum J {
    /// Anything that is written as it is: numbers, null, true, or nonsense.
    Raw(String),
    /// A text, written with the shortest escapes.
    Text(String),
    /// A list.
    List(Vec<J>),
    /// An object in this order, with as many equal keys as are asked for.
    Object(Vec<(String, J)>),
}

pub fn raw(text: impl ToString) -> J {
    J::Raw(text.to_string())
}

pub fn text(text: impl Into<String>) -> J {
    J::Text(text.into())
}

pub fn null() -> J {
    raw("null")
}

/// A text, or null.
pub fn maybe(value: Option<&str>) -> J {
    value.map_or_else(null, text)
}

pub fn object<const N: usize>(members: [(&str, J); N]) -> J {
    J::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl J {
    /// Its bytes, compact.
    pub fn form(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The members of an object.
    #[track_caller]
    pub fn members(&mut self) -> &mut Vec<(String, J)> {
        match self {
            Self::Object(members) => members,
            other => panic!("no object: {other:?}"),
        }
    }

    /// The elements of a list.
    #[track_caller]
    pub fn elements(&mut self) -> &mut Vec<J> {
        match self {
            Self::List(list) => list,
            other => panic!("no list: {other:?}"),
        }
    }

    /// What a path of keys and positions leads to: `volumes/0/bytes`.
    #[track_caller]
    pub fn at(&mut self, path: &str) -> &mut J {
        path.split('/').fold(self, |value, step| match value {
            Self::List(list) => &mut list[step.parse::<usize>().unwrap()],
            Self::Object(members) => {
                &mut members.iter_mut().find(|(key, _)| key == step).unwrap_or_else(|| panic!("no {step} in {path}")).1
            }
            other => panic!("{step} of {path} in {other:?}"),
        })
    }

    /// Puts a value where a path leads.
    #[track_caller]
    pub fn set(&mut self, path: &str, value: J) {
        *self.at(path) = value;
    }

    /// A number, changed.
    #[track_caller]
    pub fn count(&mut self, path: &str, change: impl FnOnce(u64) -> u64) {
        let J::Raw(digits) = self.at(path) else { panic!("{path} is no number") };
        *digits = change(digits.parse().unwrap()).to_string();
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// One envelope of a batch, and what the index says of it.
#[derive(Debug, Clone)]
pub struct Item {
    pub name: String,
    pub seconds: u64,
    pub nanos: u32,
    pub connector: usize,
    pub applicant: usize,
    pub body: Vec<u8>,
}

impl Item {
    /// An envelope that was written so many minutes after the first one.
    pub fn new(minute: u64, name: &str, body: Vec<u8>) -> Self {
        let seconds = 1_795_572_000 + 60 * minute;
        Self { name: name.to_owned(), seconds, nanos: 500_000_000, connector: 0, applicant: 0, body }
    }

    /// An honest envelope with one indicator of this name.
    pub fn made(minute: u64, name: &str) -> Self {
        Self::new(minute, &format!("example_feed-{name}.json"), envelope(&indicator(name)))
    }

    pub fn sha256(&self) -> String {
        sha256(&self.body)
    }
}

/// An indicator as STIX writes it, with an id that follows from its name.
pub fn indicator(name: &str) -> String {
    let id = uuid_of(name);
    format!(
        r#"{{"type": "indicator", "spec_version": "2.1", "id": "indicator--{id}", "created": "2026-11-25T02:00:00.000Z", "modified": "2026-11-25T02:00:00.000Z", "name": "{name}", "pattern": "[domain-name:value = '{name}.example']", "pattern_type": "stix", "valid_from": "2026-11-25T02:00:00.000Z"}}"#
    )
}

/// An envelope around these objects.
pub fn envelope(objects: &str) -> Vec<u8> {
    envelope_by(&format!("\"{APPLICANT}\""), objects)
}

/// The same by an applicant of one's own: JSON, so `null` or a text in quotes.
pub fn envelope_by(applicant: &str, objects: &str) -> Vec<u8> {
    let id = uuid_of(objects);
    format!(
        r#"{{"bundle_type": "DIRECTORY_BUNDLE", "applicant_id": {applicant}, "connector": {{"id": "2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11", "name": "Example Feed", "type": "EXTERNAL_IMPORT", "scope": "indicator,report", "auto": false, "validate_before_import": false}}, "entities_types": null, "bundle": {{"type": "bundle", "id": "bundle--{id}", "objects": [{objects}]}}, "update": false}}"#
    )
    .into_bytes()
}

/// A UUID that follows from a text.
pub fn uuid_of(text: &str) -> String {
    let hex = sha256(text.as_bytes());
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

pub fn sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// One entry of the tar stream, in pieces.
#[derive(Debug, Clone)]
pub struct Entry {
    pub header: Vec<u8>,
    pub body: Vec<u8>,
    pub padding: Vec<u8>,
}

impl Entry {
    /// The entry that the format asks for.
    pub fn of(ordinal: usize, seconds: u64, body: &[u8]) -> Self {
        Self::named(&format!("{ordinal:08}.json"), seconds, body)
    }

    /// The same under a name of one's own.
    pub fn named(name: &str, seconds: u64, body: &[u8]) -> Self {
        let header = header(name, body.len() as u64, seconds, 0o644, b'0', "");
        Self { header, body: body.to_vec(), padding: zeros(body.len()) }
    }

    /// An entry of another type: a link, a device, a record of pax or GNU.
    pub fn special(name: &str, kind: u8, link: &str, body: &[u8]) -> Self {
        let header = header(name, body.len() as u64, 1_795_572_000, 0o644, kind, link);
        Self { header, body: body.to_vec(), padding: zeros(body.len()) }
    }

    /// The time in its header.
    pub fn seconds(&self) -> u64 {
        u64::from_str_radix(std::str::from_utf8(&self.header[136..147]).unwrap(), 8).unwrap()
    }

    /// Puts bytes into the header and makes its checksum again.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        checksum(&mut self.header);
    }
}

fn zeros(bytes: usize) -> Vec<u8> {
    vec![0; bytes.next_multiple_of(512) - bytes]
}

/// 512 bytes of ustar: the fields that the format names, and zeros.
#[expect(clippy::too_many_arguments, reason = "the fields of a tar header")]
pub fn header(name: &str, size: u64, seconds: u64, mode: u32, kind: u8, link: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{seconds:011o}"));
    put(157, link);
    put(257, "ustar");
    put(263, "00");
    header[156] = kind;
    checksum(&mut header);
    header
}

fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

/// One zstd frame with a checksum, of a small window.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same, with a header that asks for a window of two to that power. The blocks stay as they are.
pub fn frame_with_window(bytes: &[u8], log: u8) -> Vec<u8> {
    let mut frame = frame(bytes);
    assert_eq!(frame[4] & 0x20, 0, "a frame with a window of its own");
    frame[5] = (log - 10) << 3;
    frame
}

/// A frame that a decoder must skip (RFC 8878, section 3.1.2).
pub fn skippable(bytes: &[u8]) -> Vec<u8> {
    let mut frame = 0x184d_2a50u32.to_le_bytes().to_vec();
    frame.extend((bytes.len() as u32).to_le_bytes());
    frame.extend(bytes);
    frame
}

type Change<T> = Option<Box<dyn FnOnce(&mut T)>>;
type Frame = Option<Box<dyn FnOnce(&[u8]) -> Vec<u8>>>;

fn apply<T>(change: Change<T>, value: &mut T) {
    if let Some(change) = change {
        change(value);
    }
}

/// Makes a batch. What is not changed is honest.
pub struct Builder {
    pub stream: String,
    pub sequence: u64,
    pub previous: Option<String>,
    pub history: Vec<String>,
    pub before: (u64, u64),
    pub zone: String,
    pub items: Vec<Item>,
    /// The definitions, without their counts.
    pub connectors: Vec<J>,
    pub applicants: Vec<Option<String>>,
    /// Envelopes of each volume but the last.
    pub per_volume: usize,
    pub signers: Vec<[u8; 32]>,
    entries: Change<Vec<Entry>>,
    tar: Change<Vec<u8>>,
    volume_frame: Frame,
    lines: Change<Vec<J>>,
    index_text: Change<Vec<u8>>,
    index_frame: Frame,
    manifest: Change<J>,
    bytes: Change<Vec<u8>>,
}

/// The seeds of the two keys whose private halves are published in `keys/`.
pub fn published(letter: char) -> [u8; 32] {
    *Digest::of(format!("airpouch test key {letter}: published, never use it").as_bytes()).as_bytes()
}

impl Builder {
    /// A first batch of these envelopes.
    pub fn new(items: Vec<Item>) -> Self {
        Self {
            stream: STREAM.to_owned(),
            sequence: 1,
            previous: None,
            history: Vec::new(),
            before: (0, 0),
            zone: ZONE.to_owned(),
            items,
            connectors: vec![connector("2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11", "Example Feed")],
            applicants: vec![Some(APPLICANT.to_owned())],
            per_volume: usize::MAX,
            signers: vec![published('a')],
            entries: None,
            tar: None,
            volume_frame: None,
            lines: None,
            index_text: None,
            index_frame: None,
            manifest: None,
            bytes: None,
        }
    }

    /// A first batch of three honest envelopes.
    pub fn three() -> Self {
        Self::new(["one", "two", "three"].iter().zip(1..).map(|(name, minute)| Item::made(minute, name)).collect())
    }

    pub fn signed_by(mut self, seeds: &[[u8; 32]]) -> Self {
        self.signers = seeds.to_vec();
        self
    }

    pub fn per_volume(mut self, envelopes: usize) -> Self {
        self.per_volume = envelopes;
        self
    }

    /// Changes the fields of the builder itself.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Changes the tar entries of the first volume.
    pub fn entries(mut self, change: impl FnOnce(&mut Vec<Entry>) + 'static) -> Self {
        self.entries = Some(Box::new(change));
        self
    }

    /// Changes the first volume's tar stream; the size that the manifest says follows it.
    pub fn tar(mut self, change: impl FnOnce(&mut Vec<u8>) + 'static) -> Self {
        self.tar = Some(Box::new(change));
        self
    }

    /// Makes the first volume's frame.
    pub fn volume_frame(mut self, make: impl FnOnce(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.volume_frame = Some(Box::new(make));
        self
    }

    /// Changes the index's lines; the first is the batch's own.
    pub fn lines(mut self, change: impl FnOnce(&mut Vec<J>) + 'static) -> Self {
        self.lines = Some(Box::new(change));
        self
    }

    /// Changes the index's text.
    pub fn index_text(mut self, change: impl FnOnce(&mut Vec<u8>) + 'static) -> Self {
        self.index_text = Some(Box::new(change));
        self
    }

    /// Makes the index's frame.
    pub fn index_frame(mut self, make: impl FnOnce(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.index_frame = Some(Box::new(make));
        self
    }

    /// Changes the manifest before it becomes bytes.
    pub fn manifest(mut self, change: impl FnOnce(&mut J) + 'static) -> Self {
        self.manifest = Some(Box::new(change));
        self
    }

    /// Changes the manifest's bytes before they are signed.
    pub fn bytes(mut self, change: impl FnOnce(&mut Vec<u8>) + 'static) -> Self {
        self.bytes = Some(Box::new(change));
        self
    }

    /// Changes the manifest's text before it is signed.
    pub fn replace(self, from: &'static str, to: &'static str) -> Self {
        self.bytes(move |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            *bytes = text.replacen(from, to, 1).into_bytes();
        })
    }

    /// Makes the batch.
    pub fn build(mut self) -> Batch {
        let base = format!("airpouch-{}-{:08}", &self.stream.replace('-', "")[..16], self.sequence);
        let volumes = self.make_volumes(&base);
        let (index_name, index, index_unpacked) = self.make_index(&base);
        let mut manifest = self.make_manifest(&volumes, (&index_name, &index, index_unpacked));
        apply(self.manifest.take(), &mut manifest);
        let mut bytes = manifest.form();
        apply(self.bytes.take(), &mut bytes);
        let mut files: Vec<(String, Vec<u8>)> = volumes.into_iter().map(|v| (v.name, v.packed)).collect();
        files.push((index_name, index));
        for seed in &self.signers {
            let key = PrivateKey::from_seed(*seed);
            files.push((format!("{base}.{}.sig", key.public().id()), key.sign(&bytes).bytes().to_vec()));
        }
        let size = (self.items.len() as u64, self.items.iter().map(|i| i.body.len() as u64).sum());
        files.push((format!("{base}.manifest"), bytes));
        Batch { base, files, stream: self.stream, sequence: self.sequence, size, items: self.items }
    }

    fn make_volumes(&mut self, base: &str) -> Vec<Volume> {
        let mut volumes = Vec::new();
        let mut ordinal = 1;
        for (at, items) in self.items.chunks(self.per_volume).enumerate() {
            let mut entries: Vec<Entry> =
                items.iter().zip(ordinal..).map(|(i, n)| Entry::of(n, i.seconds, &i.body)).collect();
            ordinal += items.len();
            apply(self.entries.take(), &mut entries);
            let mut tar: Vec<u8> = entries.into_iter().flat_map(|e| [e.header, e.body, e.padding].concat()).collect();
            tar.extend([0; 1024]);
            apply(self.tar.take(), &mut tar);
            let packed = self.volume_frame.take().map_or_else(|| frame(&tar), |make| make(&tar));
            let name = format!("{base}.v{:04}.tar.zst", at + 1);
            volumes.push(Volume { name, packed, unpacked: tar.len(), envelopes: items.len() });
        }
        volumes
    }

    fn make_index(&mut self, base: &str) -> (String, Vec<u8>, usize) {
        let kinds = |at: usize| {
            let indicators = self.items.iter().filter(|i| i.connector == at).count();
            let types = if indicators == 0 { vec![] } else { vec![("indicator".to_owned(), raw(indicators))] };
            object([("types", J::Object(types)), ("markings", J::Object(vec![]))])
        };
        let connectors = if self.items.is_empty() { 0 } else { self.connectors.len() };
        let mut lines = vec![object([("objects", J::List((0..connectors).map(kinds).collect()))])];
        lines.extend(self.items.iter().map(|i| {
            object([
                ("name", text(&i.name)),
                ("bytes", raw(i.body.len())),
                ("sha256", text(i.sha256())),
                ("mtime", text(format!("{}.{:09}Z", rfc3339(i.seconds), i.nanos))),
                ("connector", raw(i.connector)),
                ("applicant", raw(i.applicant)),
            ])
        }));
        apply(self.lines.take(), &mut lines);
        let mut text: Vec<u8> = lines.iter().flat_map(|l| [l.form(), b"\n".to_vec()].concat()).collect();
        apply(self.index_text.take(), &mut text);
        let packed = self.index_frame.take().map_or_else(|| frame(&text), |make| make(&text));
        (format!("{base}.index.zst"), packed, text.len())
    }

    fn make_manifest(&self, volumes: &[Volume], (index_name, index, unpacked): (&str, &[u8], usize)) -> J {
        let mut connectors = self.connectors.clone();
        for (at, connector) in connectors.iter_mut().enumerate() {
            let envelopes = self.items.iter().filter(|i| i.connector == at).count();
            connector.members().push(("envelopes".to_owned(), raw(envelopes)));
        }
        let applicants = self.applicants.iter().enumerate().map(|(at, id)| {
            let envelopes = self.items.iter().filter(|i| i.applicant == at).count();
            object([("id", maybe(id.as_deref())), ("envelopes", raw(envelopes))])
        });
        let packed: usize = volumes.iter().map(|v| v.packed.len()).sum::<usize>() + index.len();
        let bytes: usize = self.items.iter().map(|i| i.body.len()).sum();
        let none = self.items.is_empty();
        object([
            ("airpouch", text("batch/1")),
            ("stream", text(&self.stream)),
            ("sequence", raw(self.sequence)),
            ("previous", maybe(self.previous.as_deref())),
            ("succeeds", null()),
            ("zone", text(&self.zone)),
            ("created", text("2026-11-25T02:05:00Z")),
            ("producer", text("airpouch 0.1.0")),
            ("promise", null()),
            ("totals", object([("envelopes", raw(self.items.len())), ("bytes", raw(bytes)), ("packed", raw(packed))])),
            ("before", object([("envelopes", raw(self.before.0)), ("bytes", raw(self.before.1))])),
            ("connectors", J::List(if none { vec![] } else { connectors })),
            ("applicants", J::List(if none { vec![] } else { applicants.collect() })),
            (
                "index",
                object([
                    ("name", text(index_name)),
                    ("bytes", raw(index.len())),
                    ("sha256", text(sha256(index))),
                    ("unpacked", raw(unpacked)),
                ]),
            ),
            ("volumes", J::List(volumes.iter().map(Volume::listed).collect())),
            ("history", J::List(self.history.iter().map(text).collect())),
        ])
    }
}

/// A connector's definition in the manifest, without its count.
pub fn connector(id: &str, name: &str) -> J {
    object([
        ("id", text(id)),
        ("name", text(name)),
        ("type", text("EXTERNAL_IMPORT")),
        ("scope", text("indicator,report")),
        ("auto", raw(false)),
        ("validate_before_import", raw(false)),
    ])
}

struct Volume {
    name: String,
    packed: Vec<u8>,
    unpacked: usize,
    envelopes: usize,
}

impl Volume {
    fn listed(&self) -> J {
        object([
            ("name", text(&self.name)),
            ("bytes", raw(self.packed.len())),
            ("sha256", text(sha256(&self.packed))),
            ("unpacked", raw(self.unpacked)),
            ("envelopes", raw(self.envelopes)),
        ])
    }
}

/// A built batch: files that can still be damaged, renamed or left out.
#[derive(Debug, Clone)]
pub struct Batch {
    pub base: String,
    pub stream: String,
    pub sequence: u64,
    /// Volumes, index, signatures, manifest.
    pub files: Vec<(String, Vec<u8>)>,
    pub items: Vec<Item>,
    size: (u64, u64),
}

impl Batch {
    /// The first file whose name ends so.
    #[track_caller]
    pub fn file(&mut self, end: &str) -> &mut Vec<u8> {
        &mut self.files.iter_mut().find(|(name, _)| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}")).1
    }

    /// The same, to look at.
    #[track_caller]
    pub fn bytes(&self, end: &str) -> &[u8] {
        &self.files.iter().find(|(name, _)| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}")).1
    }

    #[track_caller]
    pub fn name(&self, end: &str) -> String {
        self.files.iter().find(|(name, _)| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}")).0.clone()
    }

    /// Damages one file.
    pub fn damage(mut self, end: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(self.file(end));
        self
    }

    /// Leaves one file out.
    pub fn without(mut self, end: &str) -> Self {
        let before = self.files.len();
        self.files.retain(|(name, _)| !name.ends_with(end));
        assert!(self.files.len() < before, "no {end}");
        self
    }

    /// Changes every name.
    pub fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        for (name, _) in &mut self.files {
            *name = rename(name);
        }
        self
    }

    /// The digest of its manifest.
    pub fn sha256(&self) -> String {
        sha256(self.bytes(".manifest"))
    }

    /// Its key's id, as the first signature's name has it.
    pub fn place(&self, dir: &Path) {
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// The digests of its envelopes, in order.
    pub fn envelopes(&self) -> Vec<String> {
        self.items.iter().map(Item::sha256).collect()
    }
}

/// An honest stream that grows batch by batch, and can be cloned to fork it.
#[derive(Debug, Clone)]
pub struct Chain {
    pub stream: String,
    pub signers: Vec<[u8; 32]>,
    digests: Vec<String>,
    before: (u64, u64),
}

impl Chain {
    pub fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), signers: vec![published('a')], digests: Vec::new(), before: (0, 0) }
    }

    /// What makes the next batch of these envelopes; only [`Chain::add`] makes it part of the chain.
    pub fn builder(&self, items: Vec<Item>) -> Builder {
        Builder::new(items).signed_by(&self.signers).with(|b| {
            b.stream.clone_from(&self.stream);
            b.sequence = self.digests.len() as u64 + 1;
            b.previous = self.digests.last().cloned();
            b.history = self.digests.iter().rev().skip(1).take(32).cloned().collect();
            b.before = self.before;
        })
    }

    /// Goes on from this batch.
    pub fn add(&mut self, batch: Batch) -> Batch {
        self.digests.push(batch.sha256());
        self.before = (self.before.0 + batch.size.0, self.before.1 + batch.size.1);
        batch
    }

    /// The next batch, with one envelope of this name.
    pub fn next(&mut self, name: &str) -> Batch {
        let batch = self.builder(vec![Item::made(self.digests.len() as u64 + 1, name)]).build();
        self.add(batch)
    }
}

/// `2026-11-25T02:00:00`, by the rule of the Gregorian calendar.
pub fn rfc3339(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}", days + 1, rest / 3600, rest / 60 % 60, rest % 60)
}
