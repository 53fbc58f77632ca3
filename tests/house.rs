//! The house: which room may use which, what only places may do, and that no line is left unfinished.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use airpouch::code::{Code, Subject};

#[path = "house/graph.rs"]
mod graph;

use graph::{Graph, room_of};

/// Rooms of the library in the order of `lib.rs`: a room uses only those above it.
fn rooms() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

/// Source files of a room: `foo.rs` and what lies in `foo/`.
fn files_of(room: &str) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from(format!("src/{room}.rs"))];
    let mut dirs = vec![PathBuf::from(format!("src/{room}"))];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "rs") {
                files.push(entry.path());
            }
        }
    }
    files
}

/// The code of a file without its tests, its comments and its texts.
fn code(path: &Path) -> String {
    without_tests(&only_code(&fs::read_to_string(path).unwrap()))
}

/// Without comments, and with empty texts and letters.
fn only_code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is_in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (code, length) = if rest.starts_with("//") {
            ("", rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (" ", rest.find("*/").expect("a comment ends") + 2)
        } else if rest.starts_with('"') {
            ("\"\"", text_length(rest))
        } else if let Some(length) = raw_length(rest).filter(|_| !is_in_word) {
            ("\"\"", length)
        } else if let Some(length) = letter_length(rest) {
            ("' '", length)
        } else {
            (&rest[..next.len_utf8()], next.len_utf8())
        };
        out.push_str(code);
        rest = &rest[length..];
    }
    out
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    });
    end.expect("a text ends") + 2
}

/// How long a text without escapes is, if one begins here: `r#"…"#`, with `b` before it too.
fn raw_length(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let begin = text.len() - after.len() + hashes + 1;
    after[hashes..].starts_with('"').then(|| {
        let end = format!("\"{}", "#".repeat(hashes));
        begin + text[begin..].find(&end).expect("a text ends") + end.len()
    })
}

/// How long a letter in quotes is, if it is one and no lifetime.
fn letter_length(text: &str) -> Option<usize> {
    let after = text.strip_prefix('\'')?;
    if after.starts_with('\\') {
        return Some(after[2..].find('\'').expect("a letter ends") + 4);
    }
    let letter = after.chars().next()?;
    after[letter.len_utf8()..].starts_with('\'').then(|| letter.len_utf8() + 2)
}

/// Without the items that only tests have; what comes after them stays.
fn without_tests(code: &str) -> String {
    const TEST_ITEM: &str = "#[cfg(test)]";
    let mut parts = code.split(TEST_ITEM);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(&part[item_length(part)..]);
    }
    out
}

/// Where an item ends: at its last bracket, or at its semicolon where it has no body.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    let mut words = code.trim_start();
    while let Some(attribute) = words.strip_prefix("#[") {
        words = attribute[attribute.find(']').expect("an attribute ends") + 1..].trim_start();
    }
    let has_body = !["use", "mod tests;", "const", "static", "type"].iter().any(|word| words.starts_with(word));
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if c == '}' && depth == 0 && has_body {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    panic!("an item for tests does not end: {code}");
}

#[test]
fn code_after_test_items_is_read_without_comments_and_texts() {
    let text = r####"
        #[cfg(test)]
        use a::{b, c};
        fn one<'a>(x: &'a str) { first(x, '"', b'\'', '\n') }
        #[cfg(test)]
        #[allow(unused)]
        fn helper(x: [u8; 2]) -> u8 { hidden(); if x { 1 } else { 2 } }
        fn two() { /* comment() */ second("text() \" // more()", r#"raw() " "#) } // late()
        #[cfg(test)]
        mod tests {
            fn deep() { hidden(); { hidden() } }
        }
        fn three() { third() }
        #[cfg(test)]
        mod tests;
        impl Four { fn five(&self) { fourth() } }
        #[cfg(test)]
        const SIX: [u8; 2] = { hidden() };
        fn last() {}
    "####;
    let code = without_tests(&only_code(text));
    for word in ["first(", "second(", "third()", "fourth()", "last()", "one<'a>(x: &'a str)"] {
        assert!(code.contains(word), "{word} is not read: {code}");
    }
    for word in ["hidden", "comment", "text", "more", "raw", "late", "deep", "SIX", "a::"] {
        assert!(!code.contains(word), "{word} is read: {code}");
    }
}

#[test]
fn source_files_are_read_to_their_end() {
    for file in rooms().iter().chain(&["cli".to_owned()]).flat_map(|room| files_of(room)) {
        let text = fs::read_to_string(&file).unwrap() + "\nfn last_of_all() { x.unwrap() }\n";
        let code = without_tests(&only_code(&text));
        assert!(code.ends_with("fn last_of_all() { x.unwrap() }\n"), "{} is not read whole", file.display());
    }
}

#[test]
fn a_room_uses_only_rooms_above_it() {
    let rooms = rooms();
    let place: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(at, r)| (r.as_str(), at)).collect();
    let mut wrong = Vec::new();
    for room in &rooms {
        for file in files_of(room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            for used in code(&file).split("crate::").skip(1) {
                let other: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let goes_down = place.get(other.as_str()).is_some_and(|at| *at > place[room.as_str()]);
                if goes_down {
                    wrong.push(format!("{} uses {other}", file.display()));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The rooms of one part of the list in `lib.rs`.
fn part(name: &str) -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let begin = lib.find(&format!("// ── {name} ──")).unwrap_or_else(|| panic!("lib.rs has no part {name}"));
    let lines = lib[begin..].lines().skip(1).take_while(|line| !line.starts_with("// ──"));
    lines.filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

#[test]
fn files_do_not_use_each_other_in_circles() {
    let circles = Graph::of_the_source().circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn steps_do_not_use_steps() {
    let (graph, steps) = (Graph::of_the_source(), part("steps"));
    let is_step = |room: &str| steps.iter().any(|step| step == room);
    let wrong: Vec<_> = graph.between_rooms().filter(|(file, room)| is_step(room_of(file)) && is_step(room)).collect();
    assert!(steps.len() > 5 && wrong.is_empty(), "what two of them need is a room of its own: {wrong:#?}");
}

/// What places use of other places. All of them use the machine.
const BETWEEN_PLACES: [(&str, &[&str], &str); 13] = [
    ("examining", &["site"], "its note lies in the site"),
    ("journal", &["site"], "its files lie in the site"),
    ("set_aside", &["site"], "held/ and quarantine/ lie in the site"),
    ("broker", &["destination"], "how it is reached"),
    ("platform", &["destination"], "how it is reached"),
    ("gate", &["broker", "destination", "platform"], "finds the queues of connectors by asking both"),
    ("works", &["gate", "platform"], "are opened and closed on the platform"),
    ("sink", &["broker", "destination", "gate", "works"], "delivers through them"),
    (
        "ledger",
        &["destination", "journal", "set_aside", "shelf", "sink", "site", "source", "works"],
        "lies in the site, and takes proofs: what was seen, read back, delivered, set aside; and heads of journals",
    ),
    ("record", &["journal", "ledger", "site"], "brings what the ledger has noted into the journal"),
    ("pairing", &["ledger", "site"], "its files lie in the site, and the ledger knows what has arrived"),
    ("findings", &["ledger", "shelf", "works"], "says what they know"),
    ("issued", &["ledger", "shelf"], "holds the one against the other"),
];

#[test]
fn places_use_only_the_places_listed_for_them() {
    let (graph, places) = (Graph::of_the_source(), part("places"));
    let is_place = |room: &str| places.iter().any(|place| place == room);
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, room) in graph.between_rooms().filter(|(file, room)| is_place(room_of(file)) && is_place(room)) {
        used.entry(room_of(file).to_owned()).or_default().insert(room.to_owned());
    }
    let listed = BETWEEN_PLACES
        .iter()
        .map(|(place, others, _)| ((*place).to_owned(), others.iter().map(|other| (*other).to_owned()).collect()));
    assert_eq!(used, listed.collect(), "left: what the source does; right: what is listed, with its reason");
}

#[test]
fn async_code_stays_in_the_room_of_the_broker() {
    for room in rooms().into_iter().chain(["cli".to_owned()]).filter(|room| room != "broker") {
        for file in files_of(&room) {
            let code = code(&file);
            for word in ["lapin", "tokio", "futures_", "async_rs", "async ", ".await"] {
                assert!(!code.contains(word), "{} has {word}", file.display());
            }
        }
    }
}

/// What steps ask the disk itself: how much is free, which medium it is, and that what was written is durable. No file is
/// opened for it.
const ASKED_BY_STEPS: [&str; 4] = ["self", "Mount", "free_space", "sync_file_system"];

/// What a code names of the disk's room, by `disk::NAME` and by `disk::{NAME, NAME}`.
fn asked_of_the_disk(code: &str) -> Vec<String> {
    let names = |after: &str| -> Vec<String> {
        let listed = after.strip_prefix('{').and_then(|list| list.split('}').next());
        let first = after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        listed.unwrap_or(first).split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    code.split("disk::").skip(1).flat_map(names).collect()
}

#[test]
fn steps_open_no_file() {
    assert_eq!(asked_of_the_disk("use crate::disk::{self, A}; disk::b(x); disk::C::d()"), ["self", "A", "b", "C"]);
    for file in part("steps").iter().flat_map(|room| files_of(room)).filter(|f| !f.ends_with("tests.rs")) {
        let code = code(&file);
        for word in [
            "fs::read",
            "fs::File",
            "fs::remove",
            "fs::create",
            "File::",
            "OpenOptions",
            "OpenDir",
            "walkdir",
            "rustix",
            "symlink_metadata",
            "fs::metadata",
        ] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
        for name in asked_of_the_disk(&code) {
            assert!(ASKED_BY_STEPS.contains(&&*name), "{} asks disk::{name}: that is for places", file.display());
        }
    }
}

/// Not to be touched for their length: each says one thing, and it is long.
const LONG: [&str; 3] = ["src/trust/store.rs", "src/json.rs", "src/stream.rs"];

#[test]
fn no_file_has_more_than_500_lines_of_code() {
    // Without tests, comments and empty lines.
    for file in rooms().iter().chain(&["cli".to_owned()]).flat_map(|room| files_of(room)) {
        let lines = code(&file).lines().filter(|line| !line.trim().is_empty()).count();
        let is_long = lines > 500 && !LONG.iter().any(|long| file.ends_with(long));
        assert!(!is_long || file.ends_with("tests.rs"), "{} has {lines}", file.display());
    }
}

#[test]
fn things_touch_no_file_no_clock_and_no_environment() {
    let things: Vec<String> = rooms().into_iter().take_while(|r| r != "error").collect();
    assert!(things.contains(&"trust".to_owned()) && things.contains(&"report".to_owned()));
    for room in things {
        for file in files_of(&room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            let code = code(&file);
            for word in
                ["std::fs", "std::net", "std::env", "SystemTime", "Instant", "std::process", "rustix", "getrandom"]
            {
                assert!(!code.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

#[test]
fn no_line_of_the_source_is_left_unfinished() {
    let mut files = files_of("cli");
    files.extend(rooms().iter().flat_map(|r| files_of(r)));
    for file in files.into_iter().filter(|f| !f.ends_with("tests.rs")) {
        let code = code(&file);
        for word in ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", ".unwrap()", "println!", "dbg!("] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn threads_are_started_only_where_failure_to_start_is_an_error() {
    for room in rooms().into_iter().filter(|room| room != "lack") {
        for file in files_of(&room).into_iter().filter(|f| !f.ends_with("tests.rs")) {
            let code = code(&file).replace("lack::spawn(", "").replace("lack::spawn_scoped(", "");
            for word in ["thread::spawn(", "scope.spawn(", "spawn_scoped(", "thread::Builder"] {
                assert!(!code.contains(word), "{} has {word}: it panics or hides where there is none", file.display());
            }
        }
    }
}

/// The only two that wait for a time: `eventually`, which asks again and again until something is so, and the proxy whose
/// fault it is to be slow.
const WAITS: [&str; 2] = ["tests/broker/support.rs", "tests/broker/support/proxy.rs"];

/// A statement that judges how long something took.
fn timed(code: &str) -> Vec<&str> {
    code.split([';', '{', '}']).filter(|s| s.contains("assert") && s.contains("elapsed()")).collect()
}

#[test]
fn tests_do_not_depend_on_time() {
    assert_eq!(timed("let x = y.elapsed(); assert!(x.elapsed() < z); assert!(true);").len(), 1);
    for dir in ["tests/it", "tests/broker", "tests/pycti"] {
        for file in walkdir::WalkDir::new(dir).into_iter().map(|e| e.unwrap().into_path()) {
            if file.extension().is_none_or(|e| e != "rs") || WAITS.iter().any(|name| file.ends_with(name)) {
                continue;
            }
            let code = only_code(&fs::read_to_string(&file).unwrap());
            assert!(!code.contains("sleep("), "{} sleeps: wait for an event", file.display());
            assert_eq!(timed(&code), Vec::<&str>::new(), "{}: say what happens, not how long it takes", file.display());
        }
    }
}

/// The tables of codes in docs/json.md, as the program has them.
fn tables_of_codes() -> String {
    let subjects = [
        (Subject::Medium, "About a batch or a medium"),
        (Subject::Stream, "About a stream, or what the site keeps of it"),
        (Subject::Destination, "About the broker, the platform, or another destination"),
        (Subject::Envelope, "About an envelope at import, and in `verify --policy`"),
        (Subject::File, "About a file at `pack`"),
        (Subject::Outbox, "About the outbox, and what is carried from it"),
        (Subject::Journal, "About the journal, in `audit`"),
        (Subject::Waiting, "About what waits, in `status`"),
    ];
    let mut out = String::new();
    for (subject, title) in subjects {
        out.push_str(&format!("\n{title}:\n\n| code | severity | meaning |\n|---|---|---|\n"));
        for code in Code::ALL.iter().filter(|code| code.subject() == subject) {
            out.push_str(&format!("| `{code}` | {} | {} |\n", code.severity().word(), code.meaning()));
        }
    }
    out
}

#[test]
fn schema_of_a_finding_lists_each_code() {
    let path = "docs/json/shared.json";
    let text = fs::read_to_string(path).unwrap();
    let of_code = text.find("What kind of finding it is").unwrap();
    let begin = of_code + text[of_code..].find('[').unwrap() + 1;
    let end = begin + text[begin..].find(']').unwrap();
    let words: Vec<String> = Code::ALL.iter().map(|code| format!("\n        \"{code}\"")).collect();
    let list = words.join(",") + "\n      ";
    if std::env::var_os("AIRPOUCH_WRITE_DOCS").is_some() {
        fs::write(path, format!("{}{list}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert_eq!(text[begin..end], list, "run it with AIRPOUCH_WRITE_DOCS=1, and look at the change");
}

/// The keys of objects in a schema that have no description, or may have others beside them.
fn undescribed(schema: &serde_json::Value, place: &str, found: &mut Vec<String>) {
    let described = |value: &serde_json::Value| value.get("description").is_some() || value.get("$ref").is_some();
    if let Some(keys) = schema.get("properties").and_then(|p| p.as_object()) {
        found.extend(keys.iter().filter(|(_, of)| !described(of)).map(|(key, _)| format!("{place}/{key}")));
        if schema["additionalProperties"] != false || schema["required"].as_array().map(Vec::len) != Some(keys.len()) {
            found.push(format!("{place}: open"));
        }
    }
    match schema {
        serde_json::Value::Object(map) => map.iter().for_each(|(k, v)| undescribed(v, &format!("{place}/{k}"), found)),
        serde_json::Value::Array(list) => list.iter().for_each(|value| undescribed(value, place, found)),
        _ => {}
    }
}

#[test]
fn schemas_describe_each_key_and_allow_no_others() {
    let mut found = Vec::new();
    for file in fs::read_dir("docs/json").unwrap().map(|f| f.unwrap().path()) {
        let schema = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        undescribed(&schema, &file.display().to_string(), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn docs_list_each_code_with_its_severity_and_meaning() {
    let docs = fs::read_to_string("docs/json.md").unwrap();
    let begin = docs.find("--test house -->\n").unwrap() + "--test house -->\n".len();
    let tables = tables_of_codes();
    if std::env::var_os("AIRPOUCH_WRITE_DOCS").is_some() {
        fs::write("docs/json.md", format!("{}{tables}", &docs[..begin])).unwrap();
        return;
    }
    assert_eq!(docs[begin..], tables, "run it with AIRPOUCH_WRITE_DOCS=1, and look at the change");
}

/// The types that a code declares, but for those of traits.
fn types_of(code: &str) -> Vec<String> {
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let declared = words.windows(2).filter(|pair| ["struct", "enum", "trait"].contains(&pair[0]));
    declared.map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn type_name_is_used_once() {
    assert_eq!(types_of("pub struct One { x: u8 } enum Two<T> {} type Three = u8;"), ["One", "Two"]);
    let mut files = files_of("cli");
    files.extend(rooms().iter().flat_map(|r| files_of(r)));
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files.into_iter().filter(|f| !f.ends_with("tests.rs")) {
        for name in types_of(&code(&file)) {
            places.entry(name).or_default().push(file.clone());
        }
    }
    // Each verb has its arguments, and each group of verbs its own.
    let twice = places.into_iter().filter(|(name, at)| at.len() > 1 && !["Args", "Verb"].contains(&name.as_str()));
    assert_eq!(twice.collect::<Vec<_>>(), [], "say in the name what it is, and of what");
}

/// The texts of a file of the source, one a line.
fn texts(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            let length = text_length(rest);
            out.push_str(&rest[..length]);
            out.push('\n');
            length
        } else {
            raw_length(rest).or_else(|| letter_length(rest)).unwrap_or(next.len_utf8())
        };
        rest = &rest[length..];
    }
    out
}

/// Words that users could not read without a translation, and by what they were replaced.
const GONE: [(&str, &str); 49] = [
    ("FALSE:", "INVALID:"),
    ("incomplete: held", "held:"),
    ("mapped to nobody", "is not mapped"),
    ("stands there", "appears"),
    ("contradicts himself", "the signed manifest is wrong"),
    ("cannot be true", "the signed manifest is wrong"),
    ("has another digest than", "does not match its digest in"),
    ("were turned", "were converted"),
    ("this is no envelope", "not an envelope"),
    ("} is no zone", "invalid zone"),
    ("} is no size", "invalid size"),
    ("} is no duration", "invalid duration"),
    ("} is no destination", "invalid destination"),
    ("} is no stream", "unknown stream"),
    ("it stays where it is", "the file is left in place"),
    ("if it may cross all the same", "to let it through"),
    ("have it sent again", "ask the exporter to resend it"),
    ("have the batch sent again", "ask the exporter to resend it"),
    ("what arrives later all the same", "if it arrives later"),
    ("no longer waiting for", "gave up on"),
    ("older than what it has issued", "out of date"),
    ("is no site here", "no airpouch site"),
    ("made the exporter's site", "created the exporter site"),
    ("made the importer's site", "created the importer site"),
    ("does not take the token", "rejected the token"),
    ("no sign of life", "heartbeat timed out"),
    (" is spoken there", "the server does not speak"),
    ("does not read back", "read-back failed"),
    ("cannot be seen from here", "not checked"),
    ("lets {} in", "works"),
    ("takes messages\"", "is writable"),
    ("for {limit} at most", "up to {limit}"),
    ("trust folder", "trust store"),
    ("the sender's", "the exporter's"),
    ("stands below", "is below"),
    ("likewise", "write it out"),
    ("of the kind", "and N more (KIND)"),
    ("no thread panics with it", "lock poisoned"),
    ("lies in the site", "is inside the site"),
    ("lies under this name", "has another file of this name"),
    ("is told there", "somebody accepts the loss there"),
    ("where the site lies", "on the disk of the site"),
    ("Look at a destination", "Check a destination without delivering"),
    ("Say in one screen", "Show what arrived"),
    ("the whole journey in", "a self-contained demonstration"),
    ("platform tells", "platform reports"),
    ("not looked at:", "not checked:"),
    ("lets us in", "the login works"),
    ("can be told from loss", "the importer sees that none was lost"),
];

#[test]
fn replaced_words_are_not_used_again() {
    let mut read: Vec<(PathBuf, String)> = Vec::new();
    for file in walkdir::WalkDir::new("src").into_iter().map(|e| e.unwrap().into_path()) {
        if file.extension().is_some_and(|e| e == "rs") && !file.ends_with("tests.rs") {
            let text = texts(&fs::read_to_string(&file).unwrap());
            read.push((file, text));
        }
    }
    for dir in ["docs", "man", "README.md", "SECURITY.md"] {
        for file in walkdir::WalkDir::new(dir).into_iter().map(|e| e.unwrap().into_path()).filter(|f| f.is_file()) {
            let text = fs::read_to_string(&file).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
            read.push((file, text));
        }
    }
    assert!(read.len() > 100 && texts("f(\"a\", r\"b\") // \"c\"") == "\"a\"\n", "texts are found");
    let mut found = Vec::new();
    for (file, text) in &read {
        for (gone, better) in GONE.iter().filter(|(gone, _)| text.contains(gone)) {
            found.push(format!("{}: {gone:?}; say {better:?}", file.display()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
