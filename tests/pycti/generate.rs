//! Bundles that are full of traps: a few ids for many objects, so that they meet, and every oddity that pycti's splitter
//! has a way of its own with. The same number makes the same bundle.

use crate::random::split_mix;

const EXTENSION: &str = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba";

/// The text of one bundle.
pub fn bundle(seed: u64) -> String {
    let mut maker = Maker::new(seed);
    let count = match maker.below(20) {
        0 => 0,
        1 => 20 + maker.below(30),
        _ => 1 + maker.below(10),
    };
    let objects: Vec<String> = (0..count).map(|_| maker.entry()).collect();
    let objects = maker.list(objects);
    let mut members = vec![("\"objects\"".to_owned(), objects)];
    if !maker.one_in(12) {
        let id = if maker.one_in(20) { maker.value(2) } else { "\"bundle--5\"".to_owned() };
        members.push(("\"id\"".to_owned(), id));
    }
    if maker.one_in(3) {
        members.push(("\"type\"".to_owned(), "\"bundle\"".to_owned()));
    }
    if maker.one_in(20) {
        members.push((maker.key(), maker.value(2)));
    }
    if maker.one_in(40) {
        // The last one counts, in the place of the first.
        members.insert(0, ("\"objects\"".to_owned(), "[7]".to_owned()));
    }
    let at = maker.below(members.len() as u64) as usize;
    members[usize::from(maker.one_in(40))..].rotate_left(at.min(1));
    maker.object(members)
}

struct Maker {
    state: u64,
    /// How many ids of each sort the bundle plays with: the fewer, the more of them meet.
    pool: u64,
    /// How rarely something makes pycti raise.
    rarely: u64,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut maker =
            Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d, pool: 2, rarely: 1 };
        maker.next();
        maker.pool = 2 + maker.below(6);
        // Half of the bundles have next to nothing that raises, so that the rest of them is looked at.
        maker.rarely = if maker.one_in(2) { 100_000 } else { 60 };
        maker
    }

    fn next(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn raises(&mut self) -> bool {
        let rarely = self.rarely;
        self.one_in(rarely)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    fn space(&mut self) -> &'static str {
        if self.one_in(30) { self.pick(&[" ", "\t", "  ", "\n", "\r\n "]) } else { "" }
    }

    fn list(&mut self, values: Vec<String>) -> String {
        let inside = self.space();
        let between = format!("{},{}", self.space(), self.space());
        format!("[{inside}{}]", values.join(&between))
    }

    fn object(&mut self, members: Vec<(String, String)>) -> String {
        let (before, after) = (self.space(), self.space());
        let members: Vec<String> = members.iter().map(|(k, v)| format!("{k}{before}:{after}{v}")).collect();
        let between = format!("{},{}", self.space(), self.space());
        format!("{{{}}}", members.join(&between))
    }

    /// An entry of `objects`.
    fn entry(&mut self) -> String {
        if self.raises() {
            return self.value(1);
        }
        let id = self.own_id();
        let mut members = vec![("\"id\"".to_owned(), id.clone())];
        let kind = match id.trim_matches('"').split("--").next() {
            _ if self.one_in(12) => {
                self.pick(&["\"relationship\"", "\"sighting\"", "\"x\"", "null", "[1]", "7"]).to_owned()
            }
            Some(kind) if kind.is_ascii() && !kind.contains('\\') => format!("\"{kind}\""),
            _ => "\"malware\"".to_owned(),
        };
        if !self.raises() {
            members.push(("\"type\"".to_owned(), kind.clone()));
        }
        match kind.as_str() {
            "\"relationship\"" => self.ends(&mut members),
            "\"sighting\"" => self.sighted(&mut members),
            _ => {}
        }
        for _ in 0..self.below(4) {
            let member = self.member();
            members.push(member);
        }
        self.internal_ids(&mut members);
        if self.one_in(8) {
            members.push(("\"nb_deps\"".to_owned(), self.value(1)));
        }
        if self.one_in(30) && members.len() > 1 {
            // One key twice, perhaps with an escape in one of them.
            let at = self.below(members.len() as u64) as usize;
            let twin = (escaped(&members[at].0), if self.one_in(2) { members[at].1.clone() } else { self.value(1) });
            members.push(twin);
        }
        // Any order: pycti goes through the keys as they come.
        for at in (1..members.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            members.swap(at, other);
        }
        self.object(members)
    }

    /// The id of an object: mostly a text, mostly of a type that is known.
    fn own_id(&mut self) -> String {
        if self.raises() {
            return self.pick(&["null", "1", "1.0", "true", "0", "-0.0", "[]", "{}", "1e2", "100"]).to_owned();
        }
        self.id()
    }

    fn id(&mut self) -> String {
        let n = self.below(self.pool);
        let id = match self.below(60) {
            0 => "x-foo--1".to_owned(),
            1 => format!("bundle--{n}"),
            2 => "--x".to_owned(),
            3 => "Malware--1".to_owned(),
            4 => String::new(),
            5 => format!("plain-{n}"),
            6 => self
                .pick(&[
                    "é--1",
                    "malware--é",
                    "malware--\\u00e9",
                    "malware--\\u00E9",
                    "😀",
                    "\\ud83d\\ude00",
                    "\\ud800",
                    "malware--\\udfff",
                ])
                .to_owned(),
            7 => self.pick(&["a", "b", "m"]).to_owned(),
            8 => "m\\u0061lware--1".to_owned(),
            9..20 => format!("report--{n}"),
            20..28 => format!("identity--{n}"),
            28..36 => format!("relationship--{n}"),
            36..42 => format!("sighting--{n}"),
            42..46 => format!("marking-definition--{n}"),
            46..50 => format!("in-{n}"),
            _ => format!("malware--{n}"),
        };
        format!("\"{id}\"")
    }

    fn ends(&mut self, members: &mut Vec<(String, String)>) {
        for key in ["\"source_ref\"", "\"target_ref\""] {
            if !self.raises() {
                let end = if self.one_in(12) { "null".to_owned() } else { self.id() };
                members.push((key.to_owned(), end));
            }
        }
    }

    fn sighted(&mut self, members: &mut Vec<(String, String)>) {
        if !self.one_in(8) {
            let of = if self.one_in(12) { "null".to_owned() } else { self.id() };
            members.push(("\"sighting_of_ref\"".to_owned(), of));
        }
        if !self.one_in(6) {
            let seen = match self.below(10) {
                0 => "[]".to_owned(),
                1 => "\"\"".to_owned(),
                2 => self.id(),
                3 if self.raises() => "null".to_owned(),
                _ => self.refs(),
            };
            members.push(("\"where_sighted_refs\"".to_owned(), seen));
        }
    }

    /// `x_opencti_id`, and the id in OpenCTI's extension.
    fn internal_ids(&mut self, members: &mut Vec<(String, String)>) {
        if self.one_in(5) {
            let id = match self.below(12) {
                0 => self.pick(&["null", "\"\"", "0", "false", "[]", "{}", "-0.0", "1e-400"]).to_owned(),
                1 => self.pick(&["7", "7.0", "true", "1"]).to_owned(),
                2 if self.raises() => self.pick(&["[1]", "{\"a\":1}"]).to_owned(),
                3..6 => self.id(),
                _ => format!("\"in-{}\"", self.below(self.pool)),
            };
            members.push(("\"x_opencti_id\"".to_owned(), id));
        }
        if self.one_in(8) {
            let extensions = match self.below(14) {
                0 => self.pick(&["null", "\"\"", "0", "[]", "{}", "{\"other\":{\"id\":\"in-1\"}}"]).to_owned(),
                1 if self.raises() => self.pick(&["[1]", "\"x\"", "7", "true"]).to_owned(),
                2 => {
                    let value =
                        self.pick(&["null", "{}", "[]", "\"\"", "0", "{\"id\":null}", "{\"id\":\"\"}", "{\"id\":0}"]);
                    format!("{{\"{EXTENSION}\":{value}}}")
                }
                3 if self.raises() => {
                    let value = self.pick(&["[1]", "\"x\"", "7", "{\"id\":[1]}", "{\"id\":{\"a\":1}}"]);
                    format!("{{\"{EXTENSION}\":{value}}}")
                }
                _ => {
                    let id = if self.one_in(3) { self.id() } else { format!("\"in-{}\"", self.below(self.pool)) };
                    format!("{{\"x\":1,\"{EXTENSION}\":{{\"extension_type\":\"property-extension\",\"id\":{id}}}}}")
                }
            };
            members.push(("\"extensions\"".to_owned(), extensions));
        }
    }

    fn member(&mut self) -> (String, String) {
        match self.below(14) {
            0..4 => {
                let key = self.pick(&[
                    "\"object_refs\"",
                    "\"other_refs\"",
                    "\"_refs\"",
                    "\"o\\u0062ject_refs\"",
                    "\"object_marking_refs\"",
                ]);
                (key.to_owned(), self.refs_or_odd(key.contains("marking")))
            }
            4..8 => {
                let key = self.pick(&[
                    "\"created_by_ref\"",
                    "\"x_ref\"",
                    "\"_ref\"",
                    "\"cre\\u0061ted_by_ref\"",
                    "\"source_ref\"",
                ]);
                let target = match self.below(30) {
                    0 => "null".to_owned(),
                    1 if self.raises() => {
                        self.pick(&["7", "0", "true", "false", "[]", "{}", "[\"malware--1\"]", "1.5"]).to_owned()
                    }
                    _ => self.id(),
                };
                (key.to_owned(), target)
            }
            8 => ("\"external_references\"".to_owned(), self.references()),
            9 => ("\"kill_chain_phases\"".to_owned(), self.phases()),
            10 => ("\"labels\"".to_owned(), self.deep()),
            _ => (self.key(), self.value(3)),
        }
    }

    fn refs(&mut self) -> String {
        let count = self.below(5);
        let ids = (0..count).map(|_| self.id()).collect();
        self.list(ids)
    }

    fn refs_or_odd(&mut self, marking: bool) -> String {
        match self.below(30) {
            0 => self.pick(&["null", "\"\"", "[]", "{}"]).to_owned(),
            1 if !marking => self
                .pick(&["\"abca\"", "\"m\"", "\"\\u0061é😀\"", "\"\\ud800x\\ud83d\\ude00\"", "\"a\\\"\\\\\\/\\n\""])
                .to_owned(),
            2 => format!("{{{}:1,{}:null}}", self.id(), "\"k\""),
            3 if self.raises() => self.pick(&["7", "0", "true", "false", "1.5"]).to_owned(),
            4 if self.raises() => {
                let odd = self.pick(&["null", "7", "true", "[]", "{}", "[\"malware--1\"]"]);
                format!("[{},{odd}]", self.id())
            }
            _ => self.refs(),
        }
    }

    fn references(&mut self) -> String {
        if self.one_in(12) {
            return self.pick(&["null", "\"\"", "{}", "[]"]).to_owned();
        }
        if self.raises() {
            return self
                .pick(&[
                    "7",
                    "true",
                    "\"x\"",
                    "{\"a\":1}",
                    "[\"x\"]",
                    "[null]",
                    "[[]]",
                    "[{\"url\":\"\\ud800\"}]",
                    "[{\"url\":{\"\\udfff\":1}}]",
                ])
                .to_owned();
        }
        let count = self.below(6);
        let references = (0..count).map(|_| self.reference()).collect();
        self.list(references)
    }

    fn reference(&mut self) -> String {
        let mut members = Vec::new();
        if self.one_in(2) {
            members.push(("\"url\"".to_owned(), self.field()));
        }
        for key in ["\"source_name\"", "\"external_id\"", "\"description\""] {
            if !self.one_in(3) {
                members.push((key.to_owned(), self.field()));
            }
        }
        self.object(members)
    }

    /// Values of which many are equal, and many only nearly.
    fn field(&mut self) -> String {
        let odd = [
            "1",
            "1.0",
            "1e0",
            "true",
            "false",
            "0",
            "-0.0",
            "\"1\"",
            "\"\"",
            "[]",
            "{}",
            "[1]",
            "[1.0]",
            "[true]",
            "{\"a\":1,\"b\":[null]}",
            "{\"b\":[null],\"a\":1.0}",
            "1e16",
            "10000000000000000",
            "0.1",
            "1e-7",
            "1e21",
            "12345678901234567890",
            "12345678901234567891",
            "9007199254740993",
            "9007199254740992",
            "1.5e300",
        ];
        match self.below(6) {
            0 => "null".to_owned(),
            1 => self.pick(&odd).to_owned(),
            _ => self
                .pick(&[
                    "\"a\"",
                    "\"\\u0061\"",
                    "\"https://a/\"",
                    "\"https:\\/\\/a/\"",
                    "\"b\"",
                    "\"é\"",
                    "\"\\u00e9\"",
                ])
                .to_owned(),
        }
    }

    fn phases(&mut self) -> String {
        if self.one_in(12) {
            return self.pick(&["null", "\"\"", "{}", "[]"]).to_owned();
        }
        if self.raises() {
            return self.pick(&["7", "false", "\"x\"", "{\"a\":1}", "[\"x\"]", "[7]"]).to_owned();
        }
        let count = self.below(5);
        let phases: Vec<String> = (0..count)
            .map(|_| {
                let mut members = Vec::new();
                for key in ["\"kill_chain_name\"", "\"phase_name\"", "\"order\""] {
                    if !self.one_in(3) {
                        members.push((key.to_owned(), self.field()));
                    }
                }
                self.object(members)
            })
            .collect();
        self.list(phases)
    }

    fn deep(&mut self) -> String {
        let levels = if self.one_in(60) { 150 } else { self.below(6) as usize };
        let value = self.value(1);
        format!("{}{value}{}", "[{\"a\":".repeat(levels), "}]".repeat(levels))
    }

    fn key(&mut self) -> String {
        let keys = [
            "\"name\"",
            "\"x\"",
            "\"\"",
            "\"n\\u0061me\"",
            "\"é\"",
            "\"\\u00E9\"",
            "\"refs\"",
            "\"_refs_\"",
            "\"a b\\/c\\n\"",
            "\"\\ud800\"",
            "\"confidence\"",
            "\"nb_deps_\"",
        ];
        self.pick(&keys).to_owned()
    }

    fn value(&mut self, levels: u64) -> String {
        match self.below(if levels > 0 { 9 } else { 6 }) {
            0 => self.pick(&["null", "true", "false"]).to_owned(),
            1 | 2 => self.number(),
            3..6 => self.string(),
            6 => {
                let values = (0..self.below(4)).map(|_| self.value(levels - 1)).collect();
                self.list(values)
            }
            _ => {
                let members: Vec<(String, String)> =
                    (0..self.below(4)).map(|n| (format!("\"k{n}\""), self.value(levels - 1))).collect();
                let twice = self.one_in(40) && !members.is_empty();
                let more = if twice { vec![("\"k\\u0030\"".to_owned(), "2".to_owned())] } else { vec![] };
                self.object([members, more].concat())
            }
        }
    }

    fn number(&mut self) -> String {
        let forms = [
            "0",
            "-0",
            "-0.0",
            "0.0",
            "1E5",
            "1e-7",
            "1.10",
            "1e15",
            "1e16",
            "1e22",
            "0.1e1",
            "5e-324",
            "1e-400",
            "-1.5E+3",
            "123456789012345678901234567890",
            "9007199254740993.0",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "0.00001",
            "0.0001",
            "123456.789",
            "3.141592653589793238462643",
            "-17",
            "100",
        ];
        match self.below(4) {
            0 => self.pick(&forms).to_owned(),
            1 => {
                let double = f64::from_bits(self.next());
                if double.is_finite() { format!("{double:e}") } else { "7".to_owned() }
            }
            2 => {
                let (whole, digits) = (self.below(1_000_000), self.next());
                format!("{whole}.{digits}")
            }
            _ => format!("{}", self.next() as i64),
        }
    }

    fn string(&mut self) -> String {
        let pieces = [
            "a",
            "word ",
            "\\/",
            "\\b",
            "\\f",
            "\\n",
            "\\r",
            "\\t",
            "\\\"",
            "\\\\",
            "\\u0000",
            "\\u001f",
            "\\u007F",
            "\\u00e9",
            "\\u00E9",
            "\u{7f}",
            "é",
            "😀",
            "\u{2028}",
            "\\ud83d\\ude00",
            "\\uD83D\\uDE00",
            "\\ud800",
            "\\udc00",
            "~",
            "/",
            "\\u0041",
            "a text that is a little longer than the others, so that it is looked through in one piece",
        ];
        let count = self.below(5);
        let text: String = (0..count).map(|_| self.pick(&pieces)).collect();
        format!("\"{text}\"")
    }
}

/// The same key with its first letter as an escape.
fn escaped(key: &str) -> String {
    match key.as_bytes() {
        [b'"', first @ b'a'..=b'z', ..] => format!("\"\\u{:04x}{}", first, &key[2..]),
        _ => key.to_owned(),
    }
}
