//! Made-up STIX bundles that are hard to split: few ids for many objects, so that these meet, go round in circles and
//! take each other's place, and every odd form that JSON allows. The same seed makes the same bundle.
//!
//! Each bundle is valid JSON on one line. In seven of ten nothing is put that a splitter has to refuse; each of the
//! others has one or two such faults.

use crate::random::split_mix;

/// Text in UTF-16, as only this can hold half a surrogate pair.
type Text = Vec<u16>;
/// A member of an object: its key, and its value as JSON.
type Member = (Text, String);

const EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

const COMMON_TYPES: &[&str] =
    &["malware", "indicator", "report", "identity", "marking-definition", "ipv4-addr", "note", "pir", "file"];

#[rustfmt::skip]
const ALL_TYPES: &[&str] = &[
    "label", "vocabulary", "kill-chain-phase", "attack-pattern", "campaign", "case-incident",
    "x-opencti-case-incident", "case-rfi", "x-opencti-case-rfi", "case-rft", "x-opencti-case-rft", "channel",
    "course-of-action", "data-component", "x-mitre-data-component", "data-source", "x-mitre-data-source", "event",
    "external-reference", "feedback", "x-opencti-feedback", "grouping", "identity", "incident", "indicator",
    "infrastructure", "intrusion-set", "language", "location", "malware", "malware-analysis", "marking-definition",
    "narrative", "note", "observed-data", "opinion", "report", "task", "x-opencti-task", "threat-actor", "tool",
    "vulnerability", "security-coverage", "security-coverage-result", "user", "group", "capability", "role",
    "settings", "notification", "work", "trash", "draftworkspace", "playbook", "deleteoperation", "workspace",
    "publicdashboard", "autonomous-system", "directory", "domain-name", "email-addr", "email-message",
    "email-mime-part-type", "artifact", "file", "x509-certificate", "ipv4-addr", "ipv6-addr", "mac-addr", "mutex",
    "network-traffic", "process", "software", "url", "user-account", "windows-registry-key",
    "windows-registry-value-type", "hostname", "cryptographic-key", "cryptocurrency-wallet", "text", "user-agent",
    "bank-account", "phone-number", "credential", "tracking-number", "payment-card", "media-content",
    "simple-observable", "persona", "ssh-key", "ai-prompt", "imei", "iccid", "imsi", "relationship", "sighting", "pir",
];

#[rustfmt::skip]
const UNSUPPORTED_IDS: &[&str] = &[
    "x-foo--1", "x-foo--2", "bundle--1", "--x", "--", "Malware--1", "INDICATOR--1", " malware--1", "malware --1",
    "x--malware--1", "x-opencti--1", "extension-definition--1", "language-content--1", "relationships--1",
    "m\u{430}lware--1", "-malware--1", "--malware--1", "ipv4_addr--1", "file\0--1", "p\u{131}r--1",
];

/// Ids that are no STIX ids, hence supported. Those of one character are met when a text is taken for a list.
const PLAIN_IDS: &[&str] =
    &["a", "b", "\u{e9}", "\u{1f600}", "-", "malware-1", "malware", "88ec0c6a-13ce-5e39", "\0", "e\u{301}"];

/// Values of `id` that are no text. Several are equal to each other in Python, others only nearly so.
#[rustfmt::skip]
const ODD_IDS: &[&str] = &[
    "null", "1", "1.0", "1e0", "10E-1", "true", "0", "-0", "-0.0", "0.0", "false", "1e22", "10000000000000000000000",
    "1e23", "100000000000000000000000", "99999999999999991611392", "9007199254740992", "9007199254740993",
    "9007199254740992.0", "9007199254740993.0", "0.1", "1e-1",
];

const FALSY: &[&str] = &["null", "\"\"", "[]", "{}", "0", "-0", "0.0", "-0.0", "0e5", "false", "1e-400"];

/// One bundle.
pub fn bundle(seed: u64) -> String {
    let mut maker = Maker::new(seed);
    let count = match maker.below(60) {
        0 => 0,
        1 | 2 => 13 + maker.below(28),
        _ => 1 + maker.below(12),
    };
    maker.plan(count);
    let mut objects: Vec<Vec<Member>> = (0..count).map(|at| maker.object_members(at)).collect();
    let faults = if maker.faulty { 1 + usize::from(maker.one_in(4)) } else { 0 };
    for _ in 0..faults.min(count) {
        let at = maker.below(count);
        maker.add_fault(&mut objects[at]);
    }
    let mut objects: Vec<String> = objects.into_iter().map(|members| maker.braces(members)).collect();
    if maker.faulty && maker.one_in(16) {
        let at = maker.below(count + 1);
        objects.insert(at, maker.no_object());
    }
    maker.envelope(objects)
}

/// The key or text as UTF-16.
fn text(from: &str) -> Text {
    from.encode_utf16().collect()
}

struct Maker {
    state: u64,
    /// Whether the bundle has something that makes pycti raise.
    faulty: bool,
    /// How much white space stands between the tokens.
    spacing: usize,
    /// One of so many texts is written with escapes that it does not need.
    escaping: usize,
    /// The id of each object, quoted or odd. Some of them are the same.
    ids: Vec<Id>,
    /// The internal id of each object, if it has one.
    internal: Vec<Option<Id>>,
    /// For each object those it is to reference.
    links: Vec<Vec<usize>>,
}

#[derive(Clone)]
enum Id {
    Text(Text),
    Odd(&'static str),
}

/// Chance.
impl Maker {
    fn new(seed: u64) -> Self {
        let mut maker = Self {
            state: seed ^ 0x5bd1_e995_9d1b_54a5,
            faulty: false,
            spacing: 0,
            escaping: 1,
            ids: Vec::new(),
            internal: Vec::new(),
            links: Vec::new(),
        };
        maker.faulty = maker.below(10) < 3;
        maker.spacing = maker.below(4);
        maker.escaping = maker.pick(&[3, 12, 200]);
        maker
    }

    fn next(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

/// What the objects are called and how they hang together.
impl Maker {
    fn plan(&mut self, count: usize) {
        let names = 1 + count * (6 + self.below(5)) / 10;
        let pool: Vec<Id> = (0..names).map(|_| self.new_id()).collect();
        // Mostly one object an id, so that a circle is one; the rest double some.
        self.ids = (0..count)
            .map(|at| if self.one_in(12) { self.below(names) } else { at % names })
            .map(|at| pool[at].clone())
            .collect();
        self.links = vec![Vec::new(); count];
        self.internal = (0..count).map(|at| self.new_internal_id(at)).collect();
        if count == 0 {
            return;
        }
        if self.one_in(12) {
            self.name_alike();
        }
        for _ in 0..1 + self.below(3) {
            match self.below(6) {
                0 | 1 => self.link_circle(),
                2 => self.link_diamond(),
                3 => self.link_circle_with_partial_list(),
                4 => self.link_relationship_and_report(),
                _ => self.link_at_random(),
            }
        }
    }

    fn new_id(&mut self) -> Id {
        match self.below(60) {
            0..6 => Id::Text(text(self.pick(UNSUPPORTED_IDS))),
            6..11 => Id::Text(text(self.pick(PLAIN_IDS))),
            11 => Id::Text(Text::new()),
            12 | 13 => Id::Text(self.strange_id()),
            14 => Id::Odd(self.pick(ODD_IDS)),
            15..22 => self.typed_id(ALL_TYPES),
            22..32 => self.typed_id(&["relationship"]),
            32..38 => self.typed_id(&["sighting"]),
            _ => self.typed_id(COMMON_TYPES),
        }
    }

    /// Gives two objects odd ids or internal ids that are written differently and may be equal.
    fn name_alike(&mut self) {
        const ALIKE: &[&[&str]] = &[
            &["1", "1.0", "1e0", "10E-1", "true"],
            &["0", "-0", "-0.0", "0.0", "false", "0e5"],
            &["1e22", "10000000000000000000000", "10000000000000000000001"],
            &["1e23", "100000000000000000000000", "99999999999999991611392"],
            &["9007199254740992", "9007199254740993", "9007199254740992.0", "9007199254740993.0"],
        ];
        let alike = self.pick(ALIKE);
        for at in self.some_objects(2) {
            let id = Id::Odd(self.pick(alike));
            if self.one_in(3) {
                self.internal[at] = Some(id);
            } else {
                self.ids[at] = id;
            }
        }
    }

    fn typed_id(&mut self, types: &[&str]) -> Id {
        let kind = self.pick(types);
        let rest = match self.below(20) {
            0 => self.pick(&["", "1--2", "--", "-1", "\u{e9}"]).to_owned(),
            1 => format!("{:08x}-0000-4000-8000-00000000000{}", self.next() as u32, self.below(10)),
            _ => (1 + self.below(9)).to_string(),
        };
        Id::Text(text(&format!("{kind}--{rest}")))
    }

    /// An id with characters that need more than one byte, or with half a surrogate pair.
    fn strange_id(&mut self) -> Text {
        let mut id = text(self.pick(&["malware--", "identity--", "x-\u{e9}--", "", "note-"]));
        let end: &[&[u16]] = &[&[0xd83d], &[0xde00], &[0xd83d, 0xde00], &[0xde00, 0xd83d], &[0xe9], &[0x2028, 0x7f]];
        id.extend(self.pick(end));
        id
    }

    fn new_internal_id(&mut self, at: usize) -> Option<Id> {
        if !self.one_in(3) {
            return None;
        }
        let other = self.below(self.ids.len());
        Some(match self.below(20) {
            0..11 => Id::Text(text(&format!("88ec0c6a-{}", self.below(self.ids.len())))),
            11..14 => self.ids[other].clone(),
            14 => self.ids[at].clone(),
            15 => Id::Odd(self.pick(ODD_IDS)),
            16 => Id::Text(text(self.pick(PLAIN_IDS))),
            17 => Id::Text(text(self.pick(UNSUPPORTED_IDS))),
            _ => self.typed_id(COMMON_TYPES),
        })
    }

    /// As many different objects as there are, up to the number wanted.
    fn some_objects(&mut self, wanted: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.ids.len()).collect();
        self.shuffle(&mut all);
        all.truncate(wanted);
        all
    }

    fn link_circle(&mut self) {
        let length = self.pick(&[1, 2, 2, 3, 3, 4, 5, 7]);
        let ring = self.some_objects(length);
        for (at, &from) in ring.iter().enumerate() {
            self.links[from].push(ring[(at + 1) % ring.len()]);
        }
    }

    fn link_diamond(&mut self) {
        if let [top, left, right, bottom] = self.some_objects(4)[..] {
            self.links[top].extend([left, right]);
            self.links[left].push(bottom);
            self.links[right].push(bottom);
            if self.one_in(3) {
                self.links[bottom].push(top);
            }
        }
    }

    /// A has D, B and E, and from B the way leads over C back to A, whose list is only half gone through by then.
    fn link_circle_with_partial_list(&mut self) {
        if let [a, b, c, d, e] = self.some_objects(5)[..] {
            self.links[a].extend([d, b, e]);
            self.links[b].push(c);
            self.links[c].push(a);
            if self.one_in(2) {
                self.links[d].push(e);
            }
        }
    }

    /// A relationship between two objects, of which one is a report that lists the relationship.
    fn link_relationship_and_report(&mut self) {
        if let [relationship, report, other] = self.some_objects(3)[..] {
            let number = self.below(9);
            self.ids[relationship] = Id::Text(text(&format!("relationship--{number}")));
            self.ids[report] = Id::Text(text(&format!("report--{number}")));
            self.links[report].extend([other, relationship]);
            self.links[relationship] = if self.one_in(2) { vec![report, other] } else { vec![other, report] };
            if self.one_in(2) {
                // It meets itself under another name, so that the inner visit may keep an end that the outer one drops.
                self.internal[relationship] = Some(Id::Text(text(&format!("88ec0c6a-{number}"))));
                self.links[relationship].push(relationship);
            }
        }
    }

    fn link_at_random(&mut self) {
        let count = self.ids.len();
        for _ in 0..2 * count {
            let (from, to) = (self.below(count), self.below(count));
            self.links[from].push(to);
        }
    }

    /// The quoted name by which an object is referenced: its id, its internal id, or that of nothing in the bundle.
    fn reference(&mut self, to: usize) -> String {
        let internal = if self.one_in(3) { self.internal.get(to).cloned().flatten() } else { None };
        match internal.or_else(|| self.ids.get(to).cloned()) {
            Some(Id::Text(name)) if !self.one_in(25) => self.quote(&name),
            _ => self.stray_reference(),
        }
    }

    fn stray_reference(&mut self) -> String {
        let name = match self.below(8) {
            0 | 1 => text(self.pick(UNSUPPORTED_IDS)),
            2 => text(self.pick(PLAIN_IDS)),
            3 => Text::new(),
            4 => self.strange_id(),
            _ => text(&format!("{}--{}", self.pick(ALL_TYPES), self.below(10))),
        };
        self.quote(&name)
    }

    fn any_reference(&mut self) -> String {
        let to = self.below(self.ids.len());
        self.reference(to)
    }
}

/// The objects.
impl Maker {
    fn object_members(&mut self, at: usize) -> Vec<Member> {
        let id = self.ids[at].clone();
        let kind = self.kind(&id);
        let mut members = vec![(text("type"), kind.clone()), (text("id"), self.written_id(&id))];
        let links = std::mem::take(&mut self.links[at]);
        match kind.trim_matches('"') {
            "relationship" => self.relationship_members(&mut members, &links),
            "sighting" => self.sighting_members(&mut members, &links),
            _ => self.reference_members(&mut members, &links),
        }
        if let Some(internal) = self.internal[at].clone() {
            let internal = self.written_id(&internal);
            self.internal_id_members(&mut members, internal);
        }
        self.extra_members(&mut members);
        if self.one_in(3) {
            self.shuffle(&mut members);
        }
        self.hide_doubles(&mut members);
        members
    }

    fn written_id(&mut self, id: &Id) -> String {
        match id {
            Id::Text(name) => self.quote(name),
            Id::Odd(json) => (*json).to_owned(),
        }
    }

    /// The `type`, which need not be that of the id. Written without escapes, as the caller looks at it.
    fn kind(&mut self, id: &Id) -> String {
        let kind = match id {
            // Of the other types pycti would ask whether the id is supported, and raise.
            Id::Odd(_) => self.pick(&["relationship", "sighting"]).to_owned(),
            Id::Text(_) if self.one_in(25) => {
                let odd = ["null", "[]", "[\"relationship\"]", "1", "true", "{\"a\": 1}", "\"\""];
                return self.pick(&odd).to_owned();
            }
            Id::Text(_) if self.one_in(12) => {
                self.pick(&["relationship", "sighting", "Relationship", "x-foo", "malware", "sighting "]).to_owned()
            }
            Id::Text(name) => {
                let name = String::from_utf16_lossy(name);
                let kind = name.split("--").next().unwrap_or_default();
                kind.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').collect()
            }
        };
        format!("\"{kind}\"")
    }

    fn relationship_members(&mut self, members: &mut Vec<Member>, links: &[usize]) {
        let mut ends = [0, 1].map(|at| match links.get(at) {
            Some(&to) => self.reference(to),
            None if self.one_in(8) => "null".to_owned(),
            None => self.any_reference(),
        });
        if self.one_in(25) {
            ends[1] = ends[0].clone();
        }
        let rest = links.get(2..).unwrap_or_default();
        let rest_goes_first = !rest.is_empty() && self.one_in(2);
        if rest_goes_first {
            self.reference_members(members, rest);
        }
        let [source, target] = ends;
        // Where the source is null the target is not asked for, so that it may be absent without harm.
        let target_is_absent = source == "null" && self.one_in(2);
        members.push((text("source_ref"), source));
        if !target_is_absent {
            members.push((text("target_ref"), target));
        }
        if !rest_goes_first && !rest.is_empty() {
            self.reference_members(members, rest);
        }
    }

    fn sighting_members(&mut self, members: &mut Vec<Member>, links: &[usize]) {
        let (of, seen_by) = links.split_first().map_or((None, links), |(of, rest)| (Some(*of), rest));
        let of = match of {
            Some(to) => self.reference(to),
            None if self.one_in(5) => "null".to_owned(),
            None => self.any_reference(),
        };
        let mut places: Vec<String> = seen_by.iter().map(|&to| self.reference(to)).collect();
        if places.is_empty() {
            places.push(self.any_reference());
        }
        let places = match self.below(12) {
            0 => self.pick(&["[]", "\"\"", "{}"]).to_owned(),
            1 => self.odd_list(),
            // A null list is asked for its length only if there is something sighted.
            2..6 if of == "null" => of.clone(),
            _ => self.brackets(places),
        };
        if !self.one_in(10) {
            members.push((text("sighting_of_ref"), of));
        }
        if !self.one_in(10) {
            members.push((text("where_sighted_refs"), places));
        }
    }

    /// The links of an object, some of them alone and some of them in lists.
    fn reference_members(&mut self, members: &mut Vec<Member>, links: &[usize]) {
        let mut rest = links;
        while let [first, tail @ ..] = rest {
            if self.one_in(2) {
                members.push((self.key_of_one(), self.reference(*first)));
                rest = tail;
            } else {
                let (now, later) = rest.split_at(1 + self.below(rest.len()));
                let mut listed: Vec<String> = now.iter().map(|&to| self.reference(to)).collect();
                self.disturb_list(&mut listed);
                members.push((self.key_of_many(), self.brackets(listed)));
                rest = later;
            }
        }
        if self.one_in(8) {
            members
                .push((self.key_of_one(), self.pick(&["null", "\"\"", "\"x-foo--1\"", "\"malware--404\""]).to_owned()));
        }
        if self.one_in(8) {
            members.push((self.key_of_many(), self.odd_list()));
        }
        if self.one_in(12) {
            let near = self.pick(&["ref", "refs", "x_Ref", "X_REFS", "x_ref ", "x_refs_", "xref", "x_ref\u{301}"]);
            members.push((text(near), self.any_value()));
        }
    }

    /// Lists what is listed already, or something that is not there.
    fn disturb_list(&mut self, listed: &mut Vec<String>) {
        if self.one_in(4) {
            let at = self.below(listed.len());
            listed.push(listed[at].clone());
        }
        if self.one_in(4) {
            let at = self.below(listed.len() + 1);
            listed.insert(at, self.any_reference());
        }
        if self.one_in(8) {
            let at = self.below(listed.len() + 1);
            listed.insert(at, self.stray_reference());
        }
    }

    fn key_of_one(&mut self) -> Text {
        match self.below(20) {
            0 => vec![0xd800, u16::from(b'_'), u16::from(b'r'), u16::from(b'e'), u16::from(b'f')],
            _ => {
                text(self.pick(&["created_by_ref", "sample_ref", "x_ref", "y_ref", "_ref", "\u{e9}_ref", "object_ref"]))
            }
        }
    }

    fn key_of_many(&mut self) -> Text {
        text(self.pick(&["object_refs", "object_marking_refs", "x_refs", "y_refs", "_refs", "_ref_refs"]))
    }

    /// What stands in the place of a list of references and yet does no harm.
    fn odd_list(&mut self) -> String {
        match self.below(4) {
            0 => self.pick(&["null", "\"\"", "[]", "{}", "\"ab\"", "\"aba-\""]).to_owned(),
            // A text is taken for the list of its characters.
            1 => {
                let letters: Text = (0..1 + self.below(5))
                    .flat_map(|_| text(self.pick(&["a", "b", "-", "\u{1f600}", "\u{e9}"])))
                    .collect();
                self.quote(&letters)
            }
            2 => {
                let letters = self.strange_text();
                self.quote(&letters)
            }
            // An object is taken for the list of its keys.
            _ => {
                let members = (0..1 + self.below(3)).map(|_| (self.bare_name(), self.any_value())).collect();
                self.braces(members)
            }
        }
    }

    fn bare_name(&mut self) -> Text {
        let at = self.below(self.ids.len());
        match self.ids.get(at) {
            Some(Id::Text(name)) => name.clone(),
            _ => text("malware--404"),
        }
    }

    fn internal_id_members(&mut self, members: &mut Vec<Member>, internal: String) {
        let place = self.below(8);
        if place < 4 {
            members.push((text("x_opencti_id"), internal));
            if self.one_in(3) {
                let extensions = self.pick(FALSY).to_owned();
                members.push((text("extensions"), extensions));
            }
        } else if place < 7 {
            if self.one_in(3) {
                members.push((text("x_opencti_id"), self.pick(FALSY).to_owned()));
            }
            let extensions = self.extensions(internal);
            members.push((text("extensions"), extensions));
        } else {
            let other = format!("\"88ec0c6a-{}\"", self.below(9));
            let extensions = self.extensions(other);
            members.push((text("x_opencti_id"), internal));
            members.push((text("extensions"), extensions));
        }
    }

    fn extensions(&mut self, internal: String) -> String {
        let entry = match self.below(8) {
            0 => self.pick(FALSY).to_owned(),
            1 => {
                let falsy = self.pick(FALSY).to_owned();
                self.braces(vec![(text("id"), falsy)])
            }
            _ => {
                let mut members =
                    vec![(text("extension_type"), "\"property-extension\"".to_owned()), (text("id"), internal)];
                self.hide_doubles(&mut members);
                self.braces(members)
            }
        };
        let mut members = vec![(text(EXTENSION), entry)];
        if self.one_in(4) {
            members.push((text("extension-definition--1"), self.any_value()));
        }
        self.shuffle(&mut members);
        self.braces(members)
    }

    fn extra_members(&mut self, members: &mut Vec<Member>) {
        if self.one_in(6) {
            members.push((text("external_references"), self.external_references()));
        }
        if self.one_in(8) {
            members.push((text("kill_chain_phases"), self.kill_chain_phases()));
        }
        // Both are what the splitter itself writes, the one into the object and the other into the bundle.
        for key in ["nb_deps", "x_opencti_seq"] {
            if self.one_in(10) {
                let at = self.below(members.len() + 1);
                members.insert(at, (text(key), self.any_value()));
            }
        }
        for _ in 0..self.below(3) {
            members.push((self.strange_text(), self.any_value()));
        }
        match self.below(400) {
            0 => members.push((text("deep"), self.nested(300))),
            1..9 => {
                let depth = 2 + self.below(29);
                members.push((text("deep"), self.nested(depth)));
            }
            9..13 => members.push((text("$serde_json::private::Number"), "\"1\"".to_owned())),
            13..17 => {
                let key = self.pick(&["$serde_json::private::Number", "$serde_json::private::RawValue"]);
                let value = self.braces(vec![(text(key), "\"12\"".to_owned())]);
                members.push((text("private"), value));
            }
            _ => {}
        }
    }

    /// Writes some keys twice: what comes first holds the place, what comes last the value.
    fn hide_doubles(&mut self, members: &mut Vec<Member>) {
        while self.one_in(8) && !members.is_empty() {
            let at = self.below(members.len());
            let key = members[at].0.clone();
            let before = self.below(at + 1);
            members.insert(before, (key, self.any_value()));
        }
    }
}

/// What is thrown out of lists if it is there twice.
impl Maker {
    fn external_references(&mut self) -> String {
        if self.one_in(8) {
            return self.pick(&["null", "\"\"", "[]", "{}"]).to_owned();
        }
        let items = (0..1 + self.below(5)).map(|_| self.external_reference()).collect();
        self.brackets(items)
    }

    fn external_reference(&mut self) -> String {
        let mut members = Vec::new();
        let seldom = [4, 4, 1, 2, 2];
        for (key, absent) in ["source_name", "external_id", "description"].into_iter().zip(seldom) {
            if !self.one_in(absent + 1) {
                let value = if key == "description" { self.any_value() } else { self.compared_value() };
                members.push((text(key), value));
            }
        }
        if self.one_in(2) {
            members.push((text("url"), self.compared_value()));
        }
        self.shuffle(&mut members);
        self.hide_doubles(&mut members);
        self.braces(members)
    }

    fn kill_chain_phases(&mut self) -> String {
        if self.one_in(8) {
            return self.pick(&["null", "\"\"", "[]", "{}"]).to_owned();
        }
        let items = (0..1 + self.below(5)).map(|_| self.kill_chain_phase()).collect();
        self.brackets(items)
    }

    fn kill_chain_phase(&mut self) -> String {
        let mut members = Vec::new();
        for key in ["kill_chain_name", "phase_name"] {
            if self.one_in(2) {
                members.push((text(key), self.compared_value()));
            }
        }
        if self.one_in(2) {
            members.push((text("x_opencti_order"), self.number()));
        }
        self.hide_doubles(&mut members);
        self.braces(members)
    }

    /// A value out of few, some of which are equal however they are written and some of which only look so.
    fn compared_value(&mut self) -> String {
        #[rustfmt::skip]
        const NUMBERS: &[&str] = &[
            "1", "1.0", "1e0", "0.1e1", "true", "0", "-0", "-0.0", "false", "9007199254740992", "9007199254740993",
            "9007199254740992.0", "1e21", "1000000000000000000000", "1e16", "10000000000000000", "1e-7", "0.0000001",
            "123456789012345678901234567890", "123456789012345678901234567891", "1.5e300", "0.1", "0.10", "1.10",
        ];
        match self.below(12) {
            0 => "null".to_owned(),
            1 | 2 => self.pick(NUMBERS).to_owned(),
            3 => {
                let mut members =
                    vec![(text("a"), self.pick(NUMBERS).to_owned()), (text("b\u{1f600}"), "[1, {}]".to_owned())];
                members.push((text("\u{ffff}"), self.pick(&["\"\"", "null"]).to_owned()));
                self.shuffle(&mut members);
                self.braces(members)
            }
            4 => {
                let number = self.pick(NUMBERS).to_owned();
                self.brackets(vec![number, "\"1\"".to_owned()])
            }
            5 => self.pick(&["\"\"", "[]", "{}", "[[]]", "\"null\"", "\"true\"", "{\"\": {}}"]).to_owned(),
            6 => {
                let letters =
                    text(self.pick(&["\u{e9}", "e\u{301}", "\u{1f600}", "\0", "\"\\/", "\t", "\u{7f}", "\u{2028}"]));
                self.quote(&letters)
            }
            _ => {
                let letters = text(self.pick(&["1", "1.0", "https://a.b/c", "https://a.b/C", "mitre"]));
                self.quote(&letters)
            }
        }
    }
}

/// What makes pycti raise.
impl Maker {
    /// Puts one fault into an object, at its end, so that no other value of the key counts.
    fn add_fault(&mut self, members: &mut Vec<Member>) {
        const FAULTS: &[fn(&mut Maker, &mut Vec<Member>)] = &[
            Maker::fault_in_id,
            Maker::fault_in_type,
            Maker::fault_in_one_reference,
            Maker::fault_in_one_reference,
            Maker::fault_in_references,
            Maker::fault_in_references,
            Maker::fault_in_listed_reference,
            Maker::fault_in_listed_reference,
            Maker::fault_in_references_or_phases,
            Maker::fault_in_listed_item,
            Maker::fault_in_compared_value,
            Maker::fault_in_extensions,
            Maker::fault_in_internal_id,
            Maker::fault_in_relationship,
            Maker::fault_in_sighting,
        ];
        let fault = self.pick(FAULTS);
        fault(self, members);
    }

    /// An entry of the list of objects that is none.
    fn no_object(&mut self) -> String {
        self.pick(&["null", "1", "0.0", "true", "\"id\"", "[]", "[\"id\"]", "{}", "{\"type\": \"note\"}"]).to_owned()
    }

    fn fault_in_id(&mut self, members: &mut Vec<Member>) {
        members.retain(|(key, _)| *key != text("id"));
        if !self.one_in(3) {
            let odd = if self.one_in(2) { self.pick(ODD_IDS) } else { self.pick(&["[]", "{}", "[1]", "{\"a\": 1}"]) };
            members.push((text("id"), odd.to_owned()));
        }
    }

    fn fault_in_type(&mut self, members: &mut Vec<Member>) {
        members.retain(|(key, _)| *key != text("type"));
    }

    fn fault_in_one_reference(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["[]", "{}", "1", "0", "1.0", "true", "false", "[\"malware--1\"]", "{\"a\": 1}", "1e40"]);
        members.push((self.key_of_one(), odd.to_owned()));
    }

    fn fault_in_references(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["1", "0", "-0.0", "true", "false", "1e5"]);
        members.push((self.key_of_many(), odd.to_owned()));
    }

    fn fault_in_listed_reference(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["null", "1", "0.0", "true", "[]", "{}", "[\"malware--1\"]", "{\"id\": \"malware--1\"}"]);
        let mut listed = vec![self.any_reference(), odd.to_owned(), self.any_reference()];
        self.shuffle(&mut listed);
        members.push((self.key_of_many(), self.brackets(listed)));
    }

    fn fault_in_references_or_phases(&mut self, members: &mut Vec<Member>) {
        let key = self.pick(&["external_references", "kill_chain_phases"]);
        let odd = self.pick(&["1", "0", "true", "false", "\"a\"", "{\"url\": \"a\"}", "{\"\": 1}", "1.5"]);
        members.push((text(key), odd.to_owned()));
    }

    fn fault_in_listed_item(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["null", "1", "\"\"", "[]", "false", "\"url\"", "[{}]"]).to_owned();
        let (key, item) = match self.one_in(2) {
            true => ("external_references", self.external_reference()),
            false => ("kill_chain_phases", self.kill_chain_phase()),
        };
        let mut items = vec![item, odd];
        self.shuffle(&mut items);
        members.push((text(key), self.brackets(items)));
    }

    /// Half a surrogate pair in what is compared. In what is not compared it does no harm.
    fn fault_in_compared_value(&mut self, members: &mut Vec<Member>) {
        let half = self.quote(&[u16::from(b'a'), 0xd83d]);
        let half = match self.below(4) {
            0 => self.braces(vec![(vec![0xde00], "1".to_owned())]),
            1 => self.brackets(vec![half]),
            _ => half,
        };
        let list = match self.below(4) {
            0 => ("kill_chain_phases", vec![(text("phase_name"), half)]),
            1 => ("external_references", vec![(text("source_name"), half), (text("external_id"), "\"1\"".to_owned())]),
            2 => ("external_references", vec![(text("source_name"), half), (text("url"), "\"1\"".to_owned())]),
            _ => ("external_references", vec![(text("url"), half)]),
        };
        let item = self.braces(list.1);
        members.push((text(list.0), self.brackets(vec![item])));
    }

    fn fault_in_extensions(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["\"a\"", "[1]", "1", "true", "0.5", "[{}]", "\" \"", "[null]"]).to_owned();
        let extensions = if self.one_in(2) { odd } else { self.braces(vec![(text(EXTENSION), odd)]) };
        members.push((text("extensions"), extensions));
    }

    fn fault_in_internal_id(&mut self, members: &mut Vec<Member>) {
        let odd = self.pick(&["[1]", "{\"a\": 1}", "[\"88ec0c6a-1\"]", "[[]]"]).to_owned();
        if self.one_in(2) {
            members.push((text("x_opencti_id"), odd));
        } else {
            let entry = self.braces(vec![(text("id"), odd)]);
            members.push((text("extensions"), self.braces(vec![(text(EXTENSION), entry)])));
        }
    }

    fn fault_in_relationship(&mut self, members: &mut Vec<Member>) {
        let absent = text(self.pick(&["source_ref", "target_ref"]));
        let present = text(self.pick(&["source_ref", "target_ref"]));
        members.push((text("type"), "\"relationship\"".to_owned()));
        members.push((present, self.any_reference()));
        members.retain(|(key, _)| *key != absent);
    }

    fn fault_in_sighting(&mut self, members: &mut Vec<Member>) {
        members.push((text("type"), "\"sighting\"".to_owned()));
        members.push((text("sighting_of_ref"), "\"malware--404\"".to_owned()));
        members.push((text("where_sighted_refs"), "null".to_owned()));
    }
}

/// Values.
impl Maker {
    fn any_value(&mut self) -> String {
        match self.below(24) {
            0..9 => self.number(),
            9..15 => {
                let letters = self.strange_text();
                self.quote(&letters)
            }
            15 | 16 => self.pick(&["true", "false", "null"]).to_owned(),
            17 => self.any_reference(),
            18..21 => {
                let items = (0..self.below(3)).map(|_| self.any_value()).collect();
                self.brackets(items)
            }
            _ => {
                let mut members = (0..self.below(3)).map(|_| (self.strange_text(), self.any_value())).collect();
                self.hide_doubles(&mut members);
                self.braces(members)
            }
        }
    }

    fn nested(&mut self, depth: usize) -> String {
        let mut value = self.number();
        for _ in 0..depth {
            value = if self.one_in(2) { self.brackets(vec![value]) } else { self.braces(vec![(text("a"), value)]) };
        }
        value
    }

    fn number(&mut self) -> String {
        #[rustfmt::skip]
        const FORMS: &[&str] = &[
            "0", "-0", "-0.0", "0.0", "0e0", "-0E-5", "0e999", "1", "-1", "1E5", "1e5", "1e-7", "1.10", "1e15", "1e16",
            "9999999999999998.0", "99999999999999990.0", "0.1e1", "1e22", "1E+22", "1e23", "1e021", "1e-05", "0.0001",
            "0.00001", "0.00012345", "12345678.90", "5e-324", "4.9e-324", "2.4703282292062327e-324", "3e-324",
            "2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308", "1.7976931348623158e308",
            "-1.7976931348623157E+308", "1e-400", "-1e-400", "0.0000000001e317", "9007199254740993",
            "9007199254740993.0", "18446744073709551615", "18446744073709551616", "-9223372036854775808",
            "-9223372036854775809", "9223372036854775808", "123456789012345678901234567890", "123456789012345678.0",
            "1.00000000000000011102230246251565404236316680908203125", "8.41e21", "2.0e0", "5e-2", "100", "1.0E2",
            "1.00000000000000011102230246251565404236316680908203126", "0.3000000000000000444", "7.0385307e-26",
        ];
        match self.below(8) {
            0..4 => self.pick(FORMS).to_owned(),
            4 => self.whole_number(),
            5 => self.below(1000).to_string(),
            _ => self.broken_number(),
        }
    }

    fn whole_number(&mut self) -> String {
        let sign = self.pick(&["", "-"]);
        let first = 1 + self.below(9);
        let rest: String = (0..self.below(40)).map(|_| char::from(b'0' + self.below(10) as u8)).collect();
        format!("{sign}{first}{rest}")
    }

    /// A double of any bits or of a middling size, in one of the forms it may have.
    fn broken_number(&mut self) -> String {
        let middling = self.next() as f64 / 2f64.powi(self.below(128) as i32);
        let any = f64::from_bits(self.next());
        let written = match self.below(7) {
            0 => format!("{any:e}"),
            1 => format!("{any:.17e}"),
            2 => format!("{any:.24E}"),
            3 => format!("{middling:.3}"),
            4 => format!("{middling:.30}"),
            5 => format!("{middling:e}").replace("e-", "E-0").replace("e", "e+0"),
            _ => format!("{middling:?}"),
        };
        if written.parse::<f64>().is_ok_and(f64::is_finite) { written } else { "0.5".to_owned() }
    }

    fn strange_text(&mut self) -> Text {
        #[rustfmt::skip]
        const PARTS: &[&str] = &[
            "a", "name", "x", "A b", "_", "/", "\\", "\"", "\u{8}", "\u{c}", "\n", "\r", "\t", "\0", "\u{1f}", "\u{7f}",
            "\u{80}", "\u{a0}", "\u{e9}", "e\u{301}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{fffd}", "\u{ffff}",
            "\u{d7ff}", "\u{e000}", "\u{1f600}", "\u{10000}", "\u{10ffff}", "\u{6f22}", "</script>", "\\u0061", "'",
        ];
        let mut out = Text::new();
        for _ in 0..self.below(4) {
            match self.below(12) {
                0 => out.push(self.pick(&[0xd800, 0xd83d, 0xdbff, 0xdc00, 0xde00, 0xdfff])),
                1..6 => out.extend(text(self.pick(&["a", "b", "name", "value"]))),
                _ => out.extend(text(self.pick(PARTS))),
            }
        }
        out
    }
}

/// How it is written.
impl Maker {
    fn quote(&mut self, letters: &[u16]) -> String {
        let freely = self.escaping;
        let freely = self.one_in(freely);
        let mut out = String::from('"');
        for letter in char::decode_utf16(letters.iter().copied()) {
            match letter {
                Ok(letter) => self.write_letter(&mut out, letter, freely),
                Err(half) => self.write_unit(&mut out, half.unpaired_surrogate()),
            }
        }
        out.push('"');
        out
    }

    fn write_letter(&mut self, out: &mut String, letter: char, freely: bool) {
        let short = match letter {
            '"' | '\\' => Some(letter),
            '/' if freely => Some(letter),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        match short {
            Some(short) if !self.one_in(4) => out.extend(['\\', short]),
            None if letter >= ' ' && !(freely && self.one_in(3)) => out.push(letter),
            _ => {
                for &unit in letter.encode_utf16(&mut [0; 2]).iter() {
                    self.write_unit(out, unit);
                }
            }
        }
    }

    fn write_unit(&mut self, out: &mut String, unit: u16) {
        out.push_str(&if self.one_in(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
    }

    fn braces(&mut self, members: Vec<Member>) -> String {
        let members = members
            .into_iter()
            .map(|(key, value)| {
                let key = self.quote(&key);
                format!("{key}{}:{}{value}", self.gap(), self.gap())
            })
            .collect();
        self.enclose('{', members, '}')
    }

    fn brackets(&mut self, items: Vec<String>) -> String {
        self.enclose('[', items, ']')
    }

    fn enclose(&mut self, open: char, parts: Vec<String>, close: char) -> String {
        let mut out = String::from(open);
        out.push_str(self.gap());
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                out.push(',');
                out.push_str(self.gap());
            }
            out.push_str(part);
            out.push_str(self.gap());
        }
        out.push(close);
        out
    }

    fn gap(&mut self) -> &'static str {
        match self.spacing {
            0 | 1 => "",
            2 => self.pick(&["", "", " "]),
            _ => self.pick(&["", "", "", " ", "\t", " \t ", "   "]),
        }
    }

    /// The bundle around its objects.
    fn envelope(&mut self, objects: Vec<String>) -> String {
        let objects = self.brackets(objects);
        let mut members = vec![(text("type"), "\"bundle\"".to_owned()), (text("objects"), objects)];
        match self.below(20) {
            0 => {}
            1 => members.push((text("id"), self.any_value())),
            2 => members.push((text("id"), self.pick(FALSY).to_owned())),
            _ => members.push((text("id"), format!("\"bundle--{}\"", self.below(100)))),
        }
        for key in ["spec_version", "x_opencti_seq", "x_opencti_event_version", "nb_deps"] {
            if self.one_in(12) {
                members.push((text(key), self.any_value()));
            }
        }
        if self.one_in(6) {
            members.push((self.strange_text(), self.any_value()));
        }
        self.shuffle(&mut members);
        self.hide_envelope_doubles(&mut members);
        format!("{}{}{}", self.gap(), self.braces(members), self.gap())
    }

    /// As in the objects, but what holds the place of the objects is a list too.
    fn hide_envelope_doubles(&mut self, members: &mut Vec<Member>) {
        while self.one_in(10) {
            let at = self.below(members.len());
            let key = members[at].0.clone();
            let value =
                if key == text("objects") { self.pick(&["[]", "[7]", "[{}]"]).to_owned() } else { self.any_value() };
            let before = self.below(at + 1);
            members.insert(before, (key, value));
        }
    }
}
