//! What a security officer prints and signs: the record of batches, the review of a month, the slip for the bag.

use std::fs;

use serde_json::{Value, json};

use crate::support::{APPLICANT, Run, World, envelope_with, files};

/// Elements that a page may have. Nothing of them fetches or runs anything.
const ELEMENTS: [&str; 30] = [
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2", "p", "b",
    "bdi", "code", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "br", "span",
];

/// Whether a page is what a browser shows as it was meant: balanced, of known elements, with literals for attributes, and
/// without anything from elsewhere. Gives its text, as a reader sees it.
#[track_caller]
fn text_of(page: &str) -> String {
    let rest = page.strip_prefix("<!DOCTYPE html>\n<html lang=\"en\">").expect("it is an HTML page in English");
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""), "{page}");
    let (style, _) = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap();
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains('<'), "{style}");
    let (mut open, mut text) = (vec!["html"], String::new());
    for part in rest.split('<').skip(1) {
        let (tag, after) = part.split_once('>').unwrap_or_else(|| panic!("a tag does not end: <{part}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes another element: {part}");
        } else {
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            assert!(ELEMENTS.contains(&name), "<{tag}> is none of ours");
            for word in ["src", "href", "http", "style", "on", "url"] {
                assert!(!attributes.split([' ', '=']).any(|name| name.starts_with(word)) || name == "meta", "<{tag}>");
            }
            if !["meta", "br"].contains(&name) {
                open.push(name);
            }
        }
        if open.last() == Some(&"style") {
            continue;
        }
        assert!(!after.contains(['>', '"', '\'']), "{after:?} is not escaped");
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(after.split('&').skip(1).all(|end| known.iter().any(|known| end.starts_with(known))), "{after:?}");
        if ["br", "/td", "/dd", "/dt", "/th", "/p", "/h1", "/h2", "/li", "/caption", "/b"].contains(&tag) {
            text.push('\n');
        }
        text.push_str(after);
    }
    assert_eq!(open, Vec::<&str>::new(), "not all elements are closed");
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "a control character is on the page");
    for c in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}'] {
        assert!(!page.contains(c), "{c:?} is on the page");
    }
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    plain.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not on the page:\n{text}");
    }
}

fn record(world: &World, site: &str, more: &[&str]) -> String {
    text_of(&world.run(["record", "--site", site].iter().chain(more)).exits(0).stdout)
}

fn lines(world: &World, site: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(site).join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The month in which the journal's last line was written.
fn month(world: &World, site: &str) -> String {
    lines(world, site).last().unwrap()["at"].as_str().unwrap()[..7].to_owned()
}

fn command(name: &str) -> Vec<u8> {
    let object = json!({"type": "indicator", "id": "indicator--1", "opencti_operation": "delete"});
    envelope_with(name, json!({"bundle": {"type": "bundle", "id": "bundle--1", "objects": [object]}}))
}

/// A command that a person lets through, delivered, and its batch removed.
fn with_a_released_command() -> (World, String) {
    let world = World::new();
    world.made("a.json");
    world.put("command.json", &command("b"));
    fs::write(world.path("trust/trust.toml"), "[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"Site A\"\n").unwrap();
    world.send(&["--operator", "A. Carrier"]).exits(0);
    world.import(&["--operator", "C. Officer", "--ticket", "CR-7"]).exits(3);
    let quarantined = lines(&world, "importer").into_iter().find(|line| line["event"] == "quarantined").unwrap();
    let digest = quarantined["envelopes"][0]["sha256"].as_str().unwrap().to_owned();
    let reason = ["--reason", "the duplicate is confirmed", "--operator", "D. Officer", "--witness", "E. Witness"];
    let reason = reason.into_iter().chain(["--second", "F. Reviewer"]);
    let release = ["quarantine", "release", &digest, "--ticket", "CR-8", "--site", "importer"];
    world.run(release.into_iter().chain(reason)).exits(0);
    world.import_inbox(&["--keep", "0s"]).exits(0);
    assert!(files(&world.path("importer/inbox")).is_empty(), "the inbox is cleared");
    (world, digest)
}

#[test]
fn record_of_a_batch_is_printed_after_its_files_are_gone() {
    let (world, _) = with_a_released_command();
    let batch = lines(&world, "importer").into_iter().find(|line| line["event"] == "taken").unwrap();
    let text = record(&world, "importer", &["1"]);
    has(
        &text,
        &["Record of batch 1\n", "The journal of this site holds", "Batch 1 of stream ", "Site A", "2 envelopes"],
    );
    has(&text, &["taken\n", "admitted\n", "quarantined\n", "delivered\n", "pruned\n", "operator C. Officer", "CR-7"]);
    has(
        &text,
        &["digests-of-index-and-volumes", "1 delivered, 1 quarantined", "Example Feed", "indicator 2", APPLICANT],
    );
    has(
        &text,
        &[
            "medium at ",
            "file system ",
            "Made by\n",
            "Checked by\n",
            "Signature\n",
            "are claims",
            "this machine’s clock",
        ],
    );
    has(&text, &[batch["sha256"].as_str().unwrap(), batch["stream"].as_str().unwrap()]);
    let head = fs::read_to_string(world.path("importer/journal.head")).unwrap();
    has(&text, &[&format!("{} lines", head.lines().nth(2).unwrap())]);
    let exporter = record(&world, "exporter", &[]);
    has(&exporter, &["packed\n", "carried\n", "read back: ", "operator A. Carrier"]);
    // The exporter's journal names no keys: it shows the beginning of the fingerprint.
    has(&exporter, &[&batch["signers"][0].as_str().unwrap()[..16]]);
}

#[test]
fn released_command_is_on_the_page_with_object_persons_and_reason() {
    let (world, digest) = with_a_released_command();
    let text = record(&world, "importer", &["1"]);
    has(&text, &["Let through by a person", "command.json", &digest, "the duplicate is confirmed", "CR-8"]);
    has(
        &text,
        &[
            "operator D. Officer",
            "witness E. Witness",
            "second person F. Reviewer",
            "carries opencti_operation \"delete\"",
        ],
    );
    let report = world.run(["record", "1", "--json", "--site", "importer"]).exits(0).json()["report"].clone();
    let released = &report["batches"][0]["released"][0];
    assert_eq!((&released["envelope"]["sha256"], &released["witness"]), (&json!(digest), &json!("E. Witness")));
    assert_eq!((&released["second"], &report["journal"]["holds"]), (&json!("F. Reviewer"), &json!(true)));
}

#[test]
fn record_names_a_signer_as_the_trust_store_did_at_that_time() {
    let world = World::new();
    let who = |name: &str| format!("[[key]]\nfile = \"site-a.pub.pem\"\nwho = \"{name}\"\n");
    for (number, name) in ["Before", "After"].iter().enumerate() {
        fs::write(world.path("trust/trust.toml"), who(name)).unwrap();
        world.send_new(&[&format!("{number}.json")]);
        world.import(&[]).exits(0);
    }
    let report = world.run(["record", "--json", "--site", "importer"]).exits(0).json()["report"].clone();
    let name = |batch: usize| report["batches"][batch]["signers"][0]["name"].clone();
    assert_eq!((name(0), name(1)), (json!("Before"), json!("After")));
}

#[test]
fn page_of_a_journal_that_was_changed_says_so_above_all_else() {
    let (world, _) = with_a_released_command();
    let path = world.path("importer/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("the duplicate is confirmed", "the duplicate is obvious!!")).unwrap();
    for verb in [&["record"][..], &["record", "1"]] {
        let page = world.run(verb.iter().chain(&["--site", "importer"])).exits(4).says("INVALID: ").stdout;
        let text = text_of(&page);
        let (said, table) = (text.find("DOES NOT HOLD").unwrap(), page.find("<table").unwrap());
        assert!(said < 300 && said < table, "it comes first: {text}");
        has(&text, &["Do not rely on this page", "line 9 of the journal is not as it was written"]);
    }
    // A line that is longer than a line may be hides nothing that stands behind it.
    let (first, rest) = text.split_once('\n').unwrap();
    fs::write(&path, format!("{first}\n{{\"long\":\"{}\"}}\n{rest}", "x".repeat(200_000))).unwrap();
    let page = world.run(["record", "1", "--site", "importer"]).exits(4).stdout;
    has(&text_of(&page), &["DOES NOT HOLD", "taken\n", "pruned\n"]);
    fs::write(&path, "{}\n nothing\n").unwrap();
    let page = world.run(["record", "--site", "importer"]).exits(4).stdout;
    has(&text_of(&page), &["DOES NOT HOLD"]);
}

#[test]
fn page_of_a_journal_whose_last_run_was_cut_off_says_so() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let older = fs::read(world.path("exporter/journal.head")).unwrap();
    world.send_new(&["b.json"]);
    fs::write(world.path("exporter/journal.head"), older).unwrap();
    let page = world.run(["record", "--site", "exporter"]).exits(3).stdout;
    has(&text_of(&page), &["IS NOT PROVED WHOLE", "not signed yet"]);
}

#[test]
fn markings_are_levels_on_the_page_and_ids_in_the_document() {
    let world = World::new();
    let id = |uuid: &str| format!("marking-definition--{uuid}");
    let strict = ["826578e1-40ad-459f-bc73-ede076f81f37", "939a9414-2ddd-4d32-a0cd-375ea402b003"].map(id);
    let (clear, other) = (id("613f2e26-407d-48c7-9eca-b8e91df99dc9"), id("fa42a846-8d90-4e51-bc29-71d5b4802168"));
    // The last one is what a stranger wrote to look like a level.
    let marks = [&clear, &strict[0], &strict[1], &other, "TLP:GREEN"];
    let object = |(at, mark): (usize, &&str)| json!({"type": "indicator", "id": format!("indicator--{at}"), "object_marking_refs": [mark]});
    let objects: Vec<Value> = marks.iter().enumerate().map(object).collect();
    let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": objects});
    world.put("a.json", &envelope_with("a", json!({"bundle": bundle})));
    world.send(&[]).exits(0);
    world.import(&[]).exits_one_of(&[0, 3]);
    let text = record(&world, "importer", &["1"]);
    has(&text, &["TLP:CLEAR 1", "TLP:AMBER+STRICT 2", &format!("{other} 1"), "\"TLP:GREEN\" 1"]);
    assert!(!text.contains(&clear) && !text.contains(&strict[0]), "{text}");
    let report = world.run(["record", "1", "--json", "--site", "importer"]).exits(0).json()["report"].clone();
    let markings = &report["batches"][0]["connectors"][0]["markings"];
    assert_eq!(marks.map(|mark| markings[mark].clone()), [json!(1), json!(1), json!(1), json!(1), json!(1)]);
}

/// Names that would act on a page, on a terminal or on the direction of writing.
const STRANGE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "\u{202e}evil\u{1b}[2J\u{200b}\u{feff}",
    "</bdi></td></table></body>&lt;&#60;script&gt;",
];

#[test]
fn name_of_a_stranger_is_text_on_each_page() {
    let world = World::new();
    for (number, name) in STRANGE.iter().enumerate() {
        let connector = json!({"id": format!("43509aab-0310-5f8d-9395-81f36f6d064{number}"), "name": name,
            "type": "EXTERNAL_IMPORT", "scope": name, "auto": false, "validate_before_import": false});
        let object = json!({"type": "indicator", "id": name, "opencti_operation": name, "object_marking_refs": [name]});
        let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": [object]});
        let fields = json!({"connector": connector, "applicant_id": name, "bundle": bundle});
        world.put(&format!("{number}<script>\"'.json"), &envelope_with(name, fields));
    }
    let strange = STRANGE[..3].join(" ") + &STRANGE[3].replace('\0', "") + STRANGE[4];
    let persons = ["--operator", &strange, "--witness", &strange, "--ticket", &strange, "--note", &strange];
    world.send(&persons).exits_one_of(&[0, 3]);
    fs::remove_dir_all(world.medium()).unwrap();
    fs::create_dir(world.medium()).unwrap();
    world.carry(&[&persons[..], &["--slip=slip.html"]].concat()).exits(0);
    world.import(&persons).exits(3);
    for entry in files(&world.path("importer/quarantine")).iter().filter(|(name, _)| !name.contains("reason")) {
        let release = ["quarantine", "release", &entry.0[..12], "--reason", &strange, "--site", "importer"];
        world.run(release.iter().chain(&persons)).exits_one_of(&[0, 2]);
    }
    let review = ["review", "--month", &month(&world, "importer"), "--html", "review.html", "--site", "importer"];
    let told = world.run(review.iter().chain(&persons)).exits(0);
    assert!(told.stdout.chars().all(|c| c == '\n' || !c.is_control()) && !told.stdout.contains('\u{202e}'));
    let text = record(&world, "importer", &[]);
    has(&text, &["<script>alert(1)</script>", "onerror=alert(1)", "u{202e}evil", "u{1b}[2J"]);
    record(&world, "exporter", &[]);
    for page in ["review.html", "slip.html"] {
        let text = text_of(&fs::read_to_string(world.path(page)).unwrap());
        has(&text, &["<script>alert(1)</script>", "' onmouseover='alert(1)"]);
    }
}

#[test]
fn record_has_the_batches_that_are_asked_for() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.send_new(&[name]);
    }
    let stream = world.stream();
    let numbers = |more: &[&str]| {
        let run = world.run(["record", "--json", "--site", "exporter"].iter().chain(more)).exits(0);
        let batches = run.json()["report"]["batches"].as_array().unwrap().clone();
        batches.iter().map(|batch| batch["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&[]), numbers(&["2"])), (vec![1, 2, 3], vec![2]));
    assert_eq!((numbers(&["2..3"]), numbers(&["2..900"])), (vec![2, 3], vec![2, 3]));
    assert_eq!(numbers(&["--stream", &stream[..8], "3"]), [3]);
    assert_eq!((numbers(&["--since", "1999"]), numbers(&["--since", "2999"])), (vec![1, 2, 3], vec![]));
    has(&record(&world, "exporter", &["2..3"]), &["Summary: 2 batches of 1 stream, 2 envelopes"]);
    let refused = |more: &[&str]| world.run(["record", "--site", "exporter"].iter().chain(more)).exits(2);
    refused(&["9"]).says("the journal has nothing of batch 9");
    refused(&["--stream", "ffffffff"]).says("the journal has nothing of all batches of stream ffffffff");
    ["x", "3..2", "1..", "-1..2"].iter().for_each(|wrong| drop(refused(&["--", wrong]).says("invalid batches")));
    world.run(["record", "2", "--out", "page.html", "--site", "exporter"]).exits(0).says("wrote page.html");
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    text_of(&page);
    refused(&["3", "--out", "page.html"]).says("was not overwritten");
    assert_eq!(fs::read_to_string(world.path("page.html")).unwrap(), page);
    world.run(["record", "--site", "absent"]).exits(1);
}

#[test]
fn gap_that_was_given_up_is_in_the_record_of_its_numbers() {
    let world = World::new();
    for name in ["a.json", "b.json", "c.json"] {
        world.send_new(&[name]);
    }
    world.sh("rm medium/*-00000002.*").exits(0);
    world.import(&[]).exits(3);
    let reason = ["--reason", "the stick was stolen", "--operator", "G. Officer", "--site", "importer"];
    world.run(["stream", "accept", &world.stream(), "2"].into_iter().chain(reason)).exits(0);
    has(
        &record(&world, "importer", &["2"]),
        &["gap-accepted", "batches 2;", "the stick was stolen", "operator G. Officer"],
    );
    has(&record(&world, "importer", &[]), &["gap-accepted", "the stick was stolen"]);
    assert!(!record(&world, "importer", &["1"]).contains("stolen"), "it is about another batch");
}

#[test]
fn review_has_the_month_and_is_noted_once_each_time() {
    let (world, _) = with_a_released_command();
    let month = month(&world, "importer");
    let before = lines(&world, "importer");
    let review = |more: &[&str]| -> Run {
        world
            .run(["review", "--month", &month, "--site", "importer", "--operator", "H. Reviewer"].iter().chain(more))
            .exits(0)
    };
    let told = review(&[]);
    let told = told.prints("1 batch taken, 1 batch delivered, 2 envelopes in them").prints("1 envelope released");
    told.prints("the month was not over").prints("journal: holds").prints("the duplicate is confirmed");
    let after = lines(&world, "importer");
    let reviewed = after.last().unwrap();
    assert_eq!((after.len(), &reviewed["event"]), (before.len() + 1, &json!("reviewed")));
    assert_eq!((&reviewed["month"], &reviewed["lines"]), (&json!(month), &json!(before.len())));
    assert_eq!((&reviewed["operator"], &reviewed["holds"]), (&json!("H. Reviewer"), &json!(true)));
    assert_eq!(after[after.len() - 1]["prev"], reviewed["last"]);
    review(&["--html", "review.html"]);
    let text = text_of(&fs::read_to_string(world.path("review.html")).unwrap());
    has(
        &text,
        &[&format!("Review of {month}"), "this is a part of it", "reviewed\n", "operator H. Reviewer", "Head before"],
    );
    has(&text, &["Example Feed", "released\n", "Transfers", "Signature\n"]);
    let report = review(&["--json"]).json()["report"].clone();
    assert_eq!((&report["totals"]["released"], &report["totals"]["without_operator"]), (&json!(1), &json!(0)));
    assert_eq!(report["end"]["lines"], before.len() + 2);
    assert_eq!(lines(&world, "importer").len(), before.len() + 3);
    world.run(["audit", "--site", "importer"]).exits(0);
    world.run(["log", "--event", "reviewed", "--site", "importer"]).exits(0).prints(&format!("the month {month}"));
}

#[test]
fn review_of_a_month_without_transfers_or_that_has_not_begun() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let review = |month: &str| world.run(["review", "--month", month, "--site", "exporter"]);
    review("1999-12").exits(0).prints("no transfers").says_nothing_of("was not over");
    review("2999-12").exits(2).says("has not begun");
    for wrong in ["2026", "2026-13", "2026-00", "2026-1", "november", "2026-11-01"] {
        review(wrong).exits(2).says("invalid month");
    }
    world.run(["review", "--month", "1999-12", "--site", "absent"]).exits(1);
    assert!(!world.path("absent").exists(), "no site was made");
    fs::write(world.path("there.html"), "mine").unwrap();
    world.run(["review", "--month", "1999-12", "--html", "there.html", "--site", "exporter"]).exits(2);
    assert_eq!(fs::read_to_string(world.path("there.html")).unwrap(), "mine");
    assert_eq!(lines(&world, "exporter").iter().filter(|line| line["event"] == "reviewed").count(), 1);
}

#[test]
fn review_of_a_journal_that_was_changed_says_so_and_is_noted_as_such() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let path = world.path("exporter/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"envelopes\":1", "\"envelopes\":2")).unwrap();
    let month = month(&world, "exporter");
    let run = world.run(["review", "--month", &month, "--html", "review.html", "--site", "exporter"]).exits(4);
    run.prints("DOES NOT HOLD").says("INVALID: ");
    has(&text_of(&fs::read_to_string(world.path("review.html")).unwrap()), &["DOES NOT HOLD"]);
    assert_eq!(lines(&world, "exporter").last().unwrap()["holds"], false);
}

#[test]
fn slip_says_what_a_courier_needs_and_nothing_of_keys_connectors_and_content() {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--promise", "48h"]).exits(0);
    let persons = ["--operator", "A. Carrier", "--witness", "B. Looker", "--ticket", "CR-7"];
    let run = world.carry(&[&persons[..], &["--slip=bag.html"]].concat()).exits(0);
    let code = run.says("slip for the bag: bag.html").stdout;
    let code = code.split_once("head code ").unwrap().1[..9].to_owned();
    let page = fs::read_to_string(world.path("bag.html")).unwrap();
    let text = text_of(&page);
    has(
        &text,
        &["A. Carrier", "B. Looker", "CR-7", &code, "To zone\n", "default\n", "batch 1 of stream ", &world.stream()],
    );
    has(&text, &["1 batch, ", "Packed\n", "Carried\n", "Serial number\n", "Given by\n", "Received by\n"]);
    assert!(page.contains("size: A5"));
    let latest =
        text.split_once("Latest arrival\n").unwrap().1.lines().find(|line| !line.is_empty()).unwrap().to_owned();
    let created = world.manifests("medium")[0].1["created"].as_str().unwrap().to_owned();
    assert!(latest.ends_with(&created[10..]) && latest > created, "48 hours after {created}: {latest}");
    let packed = &lines(&world, "exporter")[1];
    let key = packed["signers"][0].as_str().unwrap();
    for secret in ["Example Feed", "indicator", "EXTERNAL_IMPORT", &key[..16], APPLICANT, "envelope", "a.json"] {
        assert!(!page.contains(secret), "{secret} is on the slip");
    }
    assert!(
        files(&world.medium()).iter().all(|(name, _)| name.starts_with("airpouch-")),
        "the slip is not on the medium"
    );
}

#[test]
fn slip_is_for_what_was_carried_never_on_the_medium_and_over_no_file() {
    let world = World::new();
    world.made("a.json");
    world.pack(&[]).exits(0);
    world.carry(&["--slip=medium/slip.html"]).exits(2).says("not for the medium").says_nothing_of("SAFE TO REMOVE");
    fs::create_dir(world.path("medium/deep")).unwrap();
    world.carry(&["--slip=medium/deep/slip.html"]).exits(2).says("not for the medium");
    fs::remove_dir(world.path("medium/deep")).unwrap();
    fs::write(world.path("there.html"), "mine").unwrap();
    world.carry(&["--slip=there.html"]).exits(2).says("was not overwritten");
    assert_eq!(fs::read_to_string(world.path("there.html")).unwrap(), "mine");
    assert!(files(&world.medium()).is_empty(), "nothing was carried");
    world.carry(&["--slip"]).exits(0);
    let slip = || fs::read_to_string(world.path("exporter/slip.html")).unwrap();
    has(&text_of(&slip()), &["batch 1 of stream ", "not promised"]);
    world.made("b.json");
    world.pack(&[]).exits(0);
    world.carry(&["--slip", "--no-overlap"]).exits(0);
    has(&text_of(&slip()), &["batch 2 of stream "]);
    world.carry(&["--slip=none.html", "--no-overlap"]).exits(0);
    assert!(!world.path("none.html").exists(), "nothing was carried");
    world.run(["audit", "--site", "exporter"]).exits(0);
}

#[test]
fn pack_onto_a_medium_writes_the_slip_that_carry_writes() {
    let world = World::new();
    world.made("a.json");
    world.pack(&["--slip"]).exits(2).says("no medium is named").says("MEDIUM --slip");
    world.send(&["--slip=medium/slip.html"]).exits(2).says("not for the medium");
    fs::write(world.path("there.html"), "mine").unwrap();
    world.send(&["--slip=there.html"]).exits(2).says("was not overwritten");
    assert!(!world.path("exporter").exists(), "nothing was packed");
    let persons = ["--operator", "A. Carrier", "--ticket", "CR-7"];
    let run = world.send(&[&persons[..], &["--slip=bag.html"]].concat()).exits(0).says("slip for the bag: bag.html");
    let code = run.stdout.split_once("head code ").unwrap().1[..9].to_owned();
    let slip = |path: &str| text_of(&fs::read_to_string(world.path(path)).unwrap());
    has(&slip("bag.html"), &["A. Carrier", "CR-7", &code, "batch 1 of stream ", &world.stream()]);
    world.made("b.json");
    world.send(&["--slip", "--no-overlap"]).exits(0);
    has(&slip("exporter/slip.html"), &["batch 2 of stream "]);
    world.send(&["--slip=none.html", "--no-overlap"]).exits(0);
    assert!(!world.path("none.html").exists(), "nothing was carried");
    world.run(["pack", "--again", "1", "--slip", "--site", "exporter"]).exits(2).says("no medium is named");
}
