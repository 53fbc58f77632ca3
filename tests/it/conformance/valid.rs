//! What every reader must take.

#![expect(clippy::too_many_lines, reason = "a list of cases is as long as it is")]

use super::{Case, three};
use crate::builder::{
    APPLICANT, Builder, Chain, Item, STREAM, connector, envelope, envelope_by, indicator, null, object, published, raw,
    sha256, text,
};

/// Cases whose batch holds. Where the importer says something all the same, it is not of the batch.
pub fn cases() -> Vec<Case> {
    [batches(), contents(), media(), trust()].into_iter().flatten().collect()
}

fn batches() -> Vec<Case> {
    let honest = three(|b| b);
    let heartbeat = Builder::new(Vec::new()).build();
    let split = three(|b| b.per_volume(1));
    let mut chain = Chain::new(STREAM);
    let (first, second) = (chain.next("one"), chain.next("two"));
    let both: Vec<_> = [&first, &second].into_iter().flat_map(|b| b.envelopes()).collect();
    let far = |number: u64| {
        three(move |b| {
            b.with(|b| {
                b.sequence = number;
                b.previous = Some(sha256(b"the manifest before"));
                b.history = (0..32).map(|n| sha256(format!("an earlier manifest, {n}").as_bytes())).collect();
                b.before = (1_000_000, 9_007_199_254_000_000);
            })
        })
    };
    let succeeding = three(|b| {
        b.manifest(|m| {
            let stream = text("00000000-0000-4000-8000-000000000001");
            m.set("succeeds", object([("stream", stream), ("sequence", raw(7)), ("sha256", text(sha256(b"seven")))]));
        })
    });
    let unknown_start = |name, why, number| {
        let case = Case::told(name, ("stream", "unknown-start", "the first batch received is"), why, &far(number));
        Case { class: "valid", ..case }
    };
    vec![
        Case::holds("three-envelopes", "an ordinary batch: three envelopes in one volume", &honest),
        Case::holds(
            "one-envelope",
            "the smallest batch with an envelope",
            &Builder::new(vec![Item::made(1, "one")]).build(),
        ),
        Case::holds(
            "heartbeat",
            "a batch with no envelopes: lists are empty, the index has its first line only",
            &heartbeat,
        ),
        Case::holds("three-volumes", "volumes follow the index's order, and ordinals run through the batch", &split),
        Case::holds("two-batches", "number 2 names the digest of number 1", &first).and(&second).delivers(&both),
        Case::holds(
            "promise",
            "seconds until the next batch at the latest",
            &three(|b| b.manifest(|m| m.set("promise", raw(86_400)))),
        ),
        Case::told(
            "succeeds",
            ("stream", "gap", "batches 1 to 7 have not arrived"),
            "number 1 of a stream that goes on from another one, of which nothing ever came",
            &succeeding,
        ),
        unknown_start("number-34", "a full history of 32 digests, and counters near 2^53", 34),
        unknown_start("number-99999999", "the last number that eight digits can show", 99_999_999),
    ]
}

fn contents() -> Vec<Case> {
    let names = [
        "a \"quoted\" \\ name.json",
        "controls \u{1}\u{8}\t\n\u{c}\r\u{1f}.json",
        "rest \u{7f}\u{2028}\u{202e}é😀.json",
        "../../etc/passwd.json",
    ];
    let named: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(n, at)| Item { name: (*n).to_owned(), ..Item::made(at, &format!("n{at}")) })
        .collect();
    let same_time: Vec<_> = ["a", "b", "é"]
        .iter()
        .map(|n| Item { name: format!("{n}.json"), ..Item::made(1, &format!("name {n}")) })
        .collect();
    let full: Vec<_> = [512, 1024, 511, 513].iter().zip(1..).map(|(size, at)| sized(at, *size)).collect();
    let twice = vec![Item::made(1, "one"), Item { name: "another name.json".into(), ..Item::made(2, "one") }];
    let once = vec![twice[0].sha256()];
    let extremes = three(|b| {
        b.with(|b| {
            (b.items[0].seconds, b.items[0].nanos) = (0, 0);
            // 8^11 - 1: all that eleven octal digits hold.
            (b.items[2].seconds, b.items[2].nanos) = (8_589_934_591, 999_999_999);
        })
        .lines(|lines| {
            lines[1].set("mtime", text("0001-01-01T00:00:00.000000000Z"));
            lines[3].set("mtime", text("9999-12-31T23:59:59.999999999Z"));
        })
    });
    let scopes = Builder::new(
        (0..4).map(|at| Item { connector: at, ..Item::made(at as u64 + 1, &format!("of connector {at}")) }).collect(),
    )
    .with(|b| {
        b.connectors = (0..4).map(|at| connector(&format!("connector-{at}"), &format!("Connector {at}"))).collect();
        b.connectors[1].set("scope", null());
        b.connectors[2].set("scope", crate::builder::J::List(vec![text("report"), text("malware")]));
        b.connectors[3].set("auto", null());
        b.connectors[3].set("validate_before_import", raw(true));
        b.connectors[3].set("name", text("Événements \"\\\u{7f}"));
    })
    .build();
    let one_id = Builder::new(vec![Item::made(1, "old"), Item { connector: 1, ..Item::made(2, "new") }])
        .with(|b| {
            b.connectors.push(b.connectors[0].clone());
            b.connectors[1].set("name", text("Example Feed, renamed"));
        })
        .build();
    let nobody = Item { applicant: 1, ..Item::new(2, "of nobody.json", envelope_by("null", &indicator("of nobody"))) };
    let null_applicant = Builder::new(vec![Item::made(1, "one"), nobody])
        .with(|b| b.applicants = vec![Some(APPLICANT.to_owned()), None])
        .build();
    let first = null_applicant.envelopes()[..1].to_vec();
    let held = Case::told(
        "null-applicant",
        ("envelope", "applicant", "names no applicant"),
        "null is routine: the batch holds, the importer keeps what it may not deliver yet",
        &null_applicant,
    );
    vec![
        Case::holds(
            "names-of-strangers",
            "a name in the index decorates; it is escaped as JSON asks and no path is made of it",
            &Builder::new(named).build(),
        ),
        Case::holds(
            "one-time-three-names",
            "equal times are ordered by the bytes of the name",
            &Builder::new(same_time).build(),
        ),
        Case::holds(
            "around-512",
            "envelopes of 511, 512, 513 and 1024 bytes: padding from 0 to 511",
            &Builder::new(full).build(),
        ),
        Case::holds(
            "one-content-twice",
            "one content under two names stands twice in the batch and is delivered once",
            &Builder::new(twice).build(),
        )
        .delivers(&once),
        Case::holds(
            "first-and-last-time",
            "times of the years 1 and 9999; the tar header is clamped to 0 and 8^11 - 1",
            &extremes,
        ),
        Case::holds("scopes", "a scope is a text, a list of texts or null; flags are true, false or null", &scopes),
        Case::holds("one-id-two-definitions", "one connector id with two definitions has two entries", &one_id),
        Case { class: "valid", ..held.delivers(&first) },
    ]
}

/// An envelope of exactly so many bytes.
fn sized(minute: u64, size: usize) -> Item {
    let empty = envelope(r#"{"type": "indicator", "id": "indicator--0", "name": ""}"#).len();
    let name = "x".repeat(size.checked_sub(empty).expect("room for the rest"));
    let body = envelope(&format!(r#"{{"type": "indicator", "id": "indicator--0", "name": "{name}"}}"#));
    assert_eq!(body.len(), size);
    Item::new(minute, &format!("of {size} bytes.json"), body)
}

fn media() -> Vec<Case> {
    let honest = || three(|b| b);
    let mut chain = Chain::new(STREAM);
    let (first, second) = (chain.next("one"), chain.next("two"));
    let both: Vec<_> = [&first, &second].into_iter().flat_map(|b| b.envelopes()).collect();
    let mut junk = Case::holds("other-files-beside", "what is no part of a batch is counted and left", &honest());
    junk.medium.extend([("readme.txt".to_owned(), b"hello".to_vec()), ("random.sig".to_owned(), vec![7; 64])]);
    let swapped = three(|b| b.per_volume(1));
    let (one, two) = (swapped.bytes(".v0001.tar.zst").to_vec(), swapped.bytes(".v0002.tar.zst").to_vec());
    let swapped = swapped.damage(".v0001.tar.zst", |b| *b = two).damage(".v0002.tar.zst", |b| *b = one);
    let copies = {
        let mut copies = honest().renamed(|n| format!("a/{n}"));
        copies.files.extend(honest().renamed(|n| format!("b/{n}")).files);
        copies
    };
    vec![
        Case::holds("upper-case", "a gateway turned names into capitals", &honest().renamed(str::to_uppercase)),
        Case::holds(
            "underscores",
            "a gateway turned hyphens into underscores",
            &honest().renamed(|n| n.replace('-', "_")),
        ),
        Case::holds(
            "numbered-copies",
            "a desktop added a number in brackets",
            &honest().renamed(|n| n.replacen('.', " (1).", 1)),
        ),
        Case::holds(
            "names-lost",
            "every name was replaced: contents say what is what",
            &three(|b| b.per_volume(1)).renamed(|n| format!("{}.dat", &sha256(n.as_bytes())[..8])),
        ),
        Case::holds(
            "three-folders-deep",
            "a scanner sorted the medium into folders",
            &honest().renamed(|n| format!("2026/11/clean/{n}")),
        ),
        Case::holds(
            "folder-for-each-kind",
            "a scanner sorted the files of one batch into different folders",
            &honest().renamed(|n| format!("{}/{n}", n.rsplit('.').next().unwrap())),
        ),
        Case::holds("volumes-under-each-others-names", "names are a hint: a volume is found by its digest", &swapped),
        Case::holds("two-copies", "one batch in two folders is one batch", &copies),
        Case::holds(
            "a-batch-in-each-folder",
            "batches of one stream in different folders",
            &first.clone().renamed(|n| format!("monday/{n}")),
        )
        .and(&second.clone().renamed(|n| format!("tuesday/{n}")))
        .delivers(&both),
        junk,
    ]
}

fn trust() -> Vec<Case> {
    let two = three(|b| b.signed_by(&[published('a'), published('b')]));
    let rules = |more: &str| format!("need = 1\n\n[[key]]\nfile = \"test-a.pub.pem\"\n{more}\n");
    let need_two = "need = 2\n\n[[key]]\nfile = \"test-a.pub.pem\"\n\n[[key]]\nfile = \"test-b.pub.pem\"\n";
    vec![
        Case::holds("two-signers", "a second signature, by a key that nobody here knows, does no harm", &two),
        Case::holds("two-signers-of-two", "two different keys have signed where two are needed", &two)
            .trusts(&['a', 'b'], need_two),
        Case::holds("key-of-this-zone", "a key that may sign for this zone only", &three(|b| b))
            .trusts(&['a'], &rules("zones = [\"restricted\"]")),
        Case::holds(
            "key-of-this-stream-until-1",
            "a key that ends with number 1 of its stream, and this is number 1",
            &three(|b| b),
        )
        .trusts(&['a'], &rules(&format!("streams = [\"{STREAM}\"]\nuntil = 1"))),
        Case::told(
            "key-of-the-stream-before",
            ("stream", "gap", "batches 1 to 7 have not arrived"),
            "a stream inherits the trust of the one that it succeeds",
            &three(|b| {
                b.with(|b| b.stream = "aaaaaaaa-58a1-4d0b-9a6e-5b1f0c2d7e94".into()).manifest(|m| {
                    m.set(
                        "succeeds",
                        object([("stream", text(STREAM)), ("sequence", raw(7)), ("sha256", text(sha256(b"seven")))]),
                    );
                })
            }),
        )
        .trusts(&['a'], &rules(&format!("streams = [\"{STREAM}\"]"))),
    ]
}
