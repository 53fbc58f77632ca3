//! Makes a directory of envelopes that are like a week of real feeds, the same every time.
//!
//! `cargo run --release --example corpus -- DIR FILES`: sizes are log-normal, 2 to 200 KiB, some 45 KiB on average;
//! seven feeds; half of the envelopes hold indicators with made-up values, half hold reports and relationships whose
//! texts repeat as those of real feeds do. One envelope in sixty is sent again under a new bundle id.
//!
//! `cargo run --release --example corpus -- DIR FILES events`: each envelope holds one object, some 1.2 KB, as OpenCTI's
//! stream connector writes one for each event of another platform.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const FEEDS: [&str; 7] = [
    "Vulnerability Catalogue",
    "Open Threats",
    "Bad Links",
    "Blocked Addresses",
    "Samples",
    "Known Exploited",
    "Sharing Community",
];
const WORDS: &str = "adversary service account remote access command control network host lateral movement credential \
    dump phishing attachment macro loader payload registry persistence scheduled task exfiltration channel encrypted \
    traffic beacon domain generation campaign sector energy finance government tool malware variant actor infrastructure \
    vulnerability exploit patch update kernel driver process injection thread memory script interpreter archive staging";

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*: enough for a corpus, and the same everywhere.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Log-normal, as sizes of bundles are.
    fn size(&mut self) -> usize {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        ((10.35 + 0.95 * normal).exp() as usize).clamp(2 << 10, 200 << 10)
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }

    fn uuid(&mut self) -> String {
        let h = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..])
    }

    fn time(&mut self) -> String {
        format!(
            "20{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            23 + self.below(4),
            1 + self.below(12),
            1 + self.below(28),
            self.below(24),
            self.below(60),
            self.below(60),
            self.below(1000)
        )
    }

    /// Prose: whole sentences of a stock of some hundred, with a word changed here and there.
    fn prose(&mut self, words: &[&str], length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            let mut sentence = Random(0x9e37_79b9 + 1 + self.below(300));
            for _ in 0..6 + sentence.below(14) {
                let fixed = words[sentence.below(words.len() as u64) as usize];
                text.push_str(if self.below(5) == 0 { words[self.below(words.len() as u64) as usize] } else { fixed });
                text.push(' ');
            }
        }
        text
    }
}

fn indicators(random: &mut Random, words: &[&str], size: usize) -> String {
    let mut out = String::new();
    while out.len() < size {
        let (id, seen, time) = (random.uuid(), random.uuid(), random.time());
        let value = match random.below(3) {
            0 => format!("{}.{}.{}.{}", random.below(255), random.below(255), random.below(255), random.below(255)),
            1 => format!("{}-{}.example", words[random.below(words.len() as u64) as usize], random.hex(4)),
            _ => random.hex(64),
        };
        let text = random.prose(words, 40);
        out.push_str(&format!(
            r#"{{"type": "indicator", "spec_version": "2.1", "id": "indicator--{id}", "created": "{time}", "modified": "{time}", "name": "{value}", "description": "{text}", "pattern": "[x:value = '{value}']", "pattern_type": "stix", "valid_from": "{time}", "confidence": {}, "object_marking_refs": ["marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"]}}, {{"type": "relationship", "spec_version": "2.1", "id": "relationship--{}", "created": "{time}", "modified": "{time}", "relationship_type": "based-on", "source_ref": "indicator--{id}", "target_ref": "url--{seen}"}}, "#,
            random.below(100),
            random.uuid()
        ));
    }
    out
}

fn knowledge(random: &mut Random, words: &[&str], size: usize) -> String {
    let mut out = String::new();
    while out.len() < size {
        let (id, time) = (random.uuid(), random.time());
        let length = 200 + random.below(1500) as usize;
        let text = random.prose(words, length);
        out.push_str(&format!(
            r#"{{"type": "attack-pattern", "spec_version": "2.1", "id": "attack-pattern--{id}", "created": "{time}", "modified": "{time}", "name": "{}", "description": "{text}", "kill_chain_phases": [{{"kill_chain_name": "chain", "phase_name": "phase-{}"}}], "external_references": [{{"source_name": "catalogue", "external_id": "T{}", "url": "https://catalogue.example/{}"}}]}}, "#,
            random.prose(words, 20),
            random.below(14),
            random.below(2000),
            random.below(2000)
        ));
    }
    out
}

/// Where an envelope comes from, and when it was written.
struct Provenance<'a> {
    connector: String,
    name: &'a str,
    applicant: String,
    when: u64,
}

/// One envelope of a feed that sends bundles of many objects.
fn bundle(number: u64, words: &[&str]) -> (String, Provenance<'static>) {
    let mut random = Random(0x1234_5678_9abc_def1 ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let feed = random.below(FEEDS.len() as u64) as usize;
    let again = random.below(60) == 0;
    let size = random.size();
    let mut content = if again { Random(feed as u64 + 77) } else { Random(random.next() | 1) };
    let objects = if feed.is_multiple_of(2) {
        indicators(&mut content, words, size)
    } else {
        knowledge(&mut content, words, size)
    };
    let bundle = format!(
        r#"{{"type": "bundle", "id": "bundle--{}", "objects": [{}]}}"#,
        random.uuid(),
        objects.trim_end_matches(", ")
    );
    let provenance = Provenance {
        connector: format!("43509aab-0310-5f8d-9395-81f36f6d{feed:04}"),
        name: FEEDS[feed],
        applicant: format!("7c9e6679-7425-40de-944b-e07fc1f9{feed:04}"),
        when: 1_790_000_000 + number * 37,
    };
    (bundle, provenance)
}

/// One envelope of the stream connector: one object, with what the platform adds to each.
fn event(number: u64, words: &[&str]) -> (String, Provenance<'static>) {
    let mut random = Random(0x0fed_cba9_8765_4321 ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (id, time, updated) = (random.uuid(), random.time(), random.time());
    let value = format!("{}-{}.example", words[random.below(words.len() as u64) as usize], random.hex(8));
    let bundle = format!(
        r#"{{"type": "bundle", "id": "bundle--{}", "spec_version": "2.1", "objects": [{{"id": "indicator--{id}", "spec_version": "2.1", "type": "indicator", "extensions": {{"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba": {{"extension_type": "property-extension", "id": "{}", "type": "Indicator", "created_at": "{time}", "updated_at": "{updated}", "is_inferred": false, "creator_ids": ["{}"], "score": {}}}}}, "created": "{time}", "modified": "{updated}", "revoked": false, "confidence": {}, "object_marking_refs": ["marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"], "name": "{value}", "pattern": "[domain-name:value = '{value}']", "pattern_type": "stix", "valid_from": "{time}"}}]}}"#,
        random.uuid(),
        random.uuid(),
        random.uuid(),
        random.below(100),
        random.below(100),
    );
    let provenance = Provenance {
        connector: "9d1c9f4e-2a37-4c0d-8a55-6b0e5b9a0001".to_owned(),
        name: "Stream",
        applicant: format!("7c9e6679-7425-40de-944b-e07fc1f9{:04}", random.below(20)),
        when: 1_790_000_000 + number,
    };
    (bundle, provenance)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (dir, files, kind) = (arguments.next(), arguments.next().and_then(|n| n.parse::<u64>().ok()), arguments.next());
    let make = match kind.as_deref() {
        None => bundle,
        Some("events") => event,
        Some(_) => usage(),
    };
    let (Some(dir), Some(files)) = (dir, files) else { usage() };
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    fs::create_dir_all(&dir).expect("the directory can be made");
    for number in 0..files {
        let (bundle, Provenance { connector, name, applicant, when }) = make(number, &words);
        let envelope = format!(
            r#"{{"bundle_type": "DIRECTORY_BUNDLE", "applicant_id": "{applicant}", "connector": {{"id": "{connector}", "name": "{name}", "type": "EXTERNAL_IMPORT", "scope": "indicator,report", "auto": false, "validate_before_import": false}}, "entities_types": null, "bundle": {bundle}, "update": false}}"#,
        );
        let file = format!("{}-{when}.{:07}.json", name.to_lowercase().replace(' ', "_"), number % 10_000_000);
        let path = Path::new(&dir).join(file);
        let mut file = fs::File::create(&path).expect("a file can be made");
        file.write_all(envelope.as_bytes()).expect("a file can be written");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(when)).expect("its time can be set");
    }
}

fn usage() -> ! {
    eprintln!("corpus DIR FILES [events]");
    std::process::exit(2)
}
