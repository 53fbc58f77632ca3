//! The bounds of single texts and counts: the largest that holds, and one more.

use super::{Case, lie, three};
use crate::builder::{APPLICANT, Builder, Item, J, connector, envelope_by, indicator, object, raw, text};

const INDEX: &str = "index";
const MANIFEST: &str = "manifest";

pub fn cases() -> Vec<Case> {
    let mut cases = vec![largest()];
    cases.extend(of_the_index());
    cases.extend(of_the_manifest());
    cases
}

/// Two bytes for each letter, so that bytes are counted and not letters.
fn long(bytes: usize) -> String {
    "é".repeat(bytes / 2) + &"x".repeat(bytes % 2)
}

fn largest() -> Case {
    let applicant = "a".repeat(1024);
    let body = envelope_by(&format!("\"{applicant}\""), &indicator("by a long name"));
    let items =
        vec![Item::new(1, &long(1024), body), Item::made(2, "one"), Item { connector: 1, ..Item::made(3, "two") }];
    let items = items.into_iter().enumerate().map(|(at, item)| Item { applicant: usize::from(at > 0), ..item });
    let batch = Builder::new(items.collect())
        .with(|b| {
            b.applicants = vec![Some(applicant), Some(APPLICANT.to_owned())];
            b.connectors[0].set("name", text(long(1024)));
            b.connectors[0].set("scope", J::List(vec![text(long(511)), text(long(511))]));
            b.connectors.push(connector(&"i".repeat(128), "Second Feed"));
            b.connectors[1].set("type", text(long(1024)));
            b.connectors[1].set("scope", text(long(1024)));
        })
        .lines(|lines| {
            let kinds = (0..257).map(|n| (format!("{n:04}{}", "k".repeat(1020)), raw(1))).collect();
            lines[0].at("objects").elements()[0] = object([("types", J::Object(kinds)), ("markings", object([]))]);
        })
        .build();
    let (delivered, held) = (batch.envelopes()[1..].to_vec(), "the largest texts that the format allows");
    let case = Case::told("largest-texts", ("envelope", "applicant", "is not mapped"), held, &batch);
    Case { class: "valid", ..case.delivers(&delivered) }
}

fn of_the_index() -> Vec<Case> {
    let index = |name, says, why, change: fn(&mut Vec<J>)| {
        Case::found(name, lie(INDEX, says), why, &three(|b| b.lines(change)))
    };
    let swapped = three(|b| {
        b.with(|b| {
            b.applicants.push(None);
            b.items[2].applicant = 1;
        })
        .manifest(|m| {
            m.set("applicants/0/envelopes", raw(1));
            m.set("applicants/1/envelopes", raw(2));
        })
    });
    let other = lie(INDEX, "counts connectors or applicants otherwise");
    vec![
        Case::found("applicant-counts-swapped", other, "counts in the manifest follow the index", &swapped),
        index("name-too-long", "the name of envelope 1 has 1025 bytes", "a name has at most 1,024 bytes", |l| {
            l[1].set("name", text(long(1025)))
        }),
        index("line-too-long", "is longer than 6656 bytes", "a line has at most 6,656 bytes", |l| {
            l[1].set("name", text("a".repeat(1 << 20)))
        }),
        index("first-line-too-long", "first line is longer than", "the first line has at most 16 MiB", |l| {
            l[0].at("objects/0/types").members().push(("z".repeat(16 << 20), raw(1)))
        }),
        index("kind-too-long", "names a kind of more than 1024 bytes", "a kind has at most 1,024 bytes", |l| {
            l[0].at("objects/0/types").members().push(("z".repeat(1025), raw(1)))
        }),
        index("kinds-too-many", "names more than 256 kinds", "from the 257th kind on they count on *", |l| {
            let kinds = (0..258).map(|n| (format!("{n:04}"), raw(1)));
            l[0].set("objects/0/markings", J::Object(kinds.collect()));
        }),
    ]
}

fn of_the_manifest() -> Vec<Case> {
    let manifest = |name, says, why, change: fn(&mut J)| {
        Case::found(name, lie(MANIFEST, says), why, &three(|b| b.manifest(change)))
    };
    let texts = "a text of connector 1 has more than 1024 bytes";
    vec![
        manifest("envelopes-too-many", "more than 200000 envelopes", "a batch has at most 200,000 envelopes", |m| {
            m.set("totals/envelopes", raw(200_001))
        }),
        manifest(
            "connector-id-with-a-slash",
            "the id of connector 1 is not of the form",
            "ids name directories",
            |m| m.set("connectors/0/id", text("../feed")),
        ),
        manifest(
            "connector-id-too-long",
            "the id of connector 1 is not of the form",
            "an id has 1 to 128 letters",
            |m| m.set("connectors/0/id", text("i".repeat(129))),
        ),
        manifest("connector-name-too-long", texts, "a connector's texts have at most 1,024 bytes", |m| {
            m.set("connectors/0/name", text(long(1025)))
        }),
        manifest("connector-type-too-long", texts, "a connector's texts have at most 1,024 bytes", |m| {
            m.set("connectors/0/type", text(long(1025)))
        }),
        manifest("connector-scope-too-long", texts, "a scope has at most 1,024 bytes", |m| {
            m.set("connectors/0/scope", text(long(1025)))
        }),
        manifest("connector-scopes-too-long", texts, "a list of scopes has them together, and one for each", |m| {
            m.set("connectors/0/scope", J::List(vec![text(long(511)), text(long(512))]))
        }),
        manifest(
            "applicant-too-long",
            "an applicant's id has more than 1024 bytes",
            "an id has at most 1,024 bytes",
            |m| m.set("applicants/0/id", text("a".repeat(1025))),
        ),
    ]
}
