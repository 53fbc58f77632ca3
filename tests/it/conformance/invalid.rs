//! What every reader must refuse, each for one reason.

#![expect(clippy::too_many_lines, reason = "a list of cases is as long as it is")]

use super::{Case, Fault, lie, three};
use crate::builder::{
    Batch, Builder, Chain, Entry, Item, J, STREAM, connector, frame, frame_with_window, null, object, published, raw,
    sha256, skippable, text,
};

const SIGNATURE: &str = "signature";
const MANIFEST: &str = "manifest";
const INDEX: &str = "index";
const VOLUME: &str = "volume";
/// Bytes of a frame that unpacks to far more than anybody declared.
const BOMB: usize = 256 << 20;

/// Cases whose batch does not hold.
pub fn cases() -> Vec<Case> {
    [
        on_the_way(),
        signatures(),
        trust(),
        forms(),
        numbers(),
        rules(),
        indexes(),
        index_frames(),
        volumes(),
        volume_frames(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What happens to files on their way.
fn on_the_way() -> Vec<Case> {
    let honest = || three(|b| b);
    let split = || three(|b| b.per_volume(1));
    let short = ("digest", "incomplete", "is shorter than the manifest says");
    let missing = ("digest", "incomplete", "is missing");
    let long = ("digest", "damaged", "is longer than the manifest says");
    let other = ("digest", "damaged", "does not match its digest in the signed manifest");
    let (index, volume) = (".index.zst", ".v0001.tar.zst");
    vec![
        Case::found(
            "index-bit-flipped",
            other,
            "one bit of the index is another one",
            &honest().damage(index, |b| flip(b)),
        ),
        Case::found("index-cut", short, "the last byte of the index did not come", &honest().damage(index, cut)),
        Case::found("index-empty", short, "the index came with no bytes", &honest().damage(index, Vec::clear)),
        Case::found("index-longer", long, "a byte follows the index", &honest().damage(index, |b| b.push(0))),
        Case::found("index-missing", missing, "the index did not come", &honest().without(index)),
        Case::found(
            "volume-bit-flipped",
            other,
            "one bit of the volume is another one",
            &honest().damage(volume, |b| flip(b)),
        ),
        Case::found("volume-cut", short, "the last byte of the volume did not come", &honest().damage(volume, cut)),
        Case::found("volume-empty", short, "the volume came with no bytes", &honest().damage(volume, Vec::clear)),
        Case::found("volume-longer", long, "a byte follows the volume", &honest().damage(volume, |b| b.push(0))),
        Case::found("volume-missing", missing, "one of three volumes did not come", &split().without(".v0002.tar.zst")),
        Case::found(
            "volume-of-zeros",
            other,
            "a file system left zeros after a power cut",
            &honest().damage(volume, |b| b.fill(0)),
        ),
        Case::found(
            "four-folders-deep",
            ("medium", "no-batch", "there is no batch"),
            "a medium is looked at three folders deep",
            &honest().renamed(|n| format!("a/b/c/d/{n}")),
        ),
        Case::found(
            "hidden-folder",
            ("medium", "no-batch", "there is no batch"),
            "what is hidden is not looked at",
            &honest().renamed(|n| format!(".trash/{n}")),
        ),
        Case::found(
            "manifest-cut",
            ("medium", "cut-manifest", "does not end"),
            "half of the manifest came",
            &honest().damage(".manifest", |b| b.truncate(b.len() / 2)),
        ),
        Case::found(
            "manifest-without-its-last-byte",
            ("medium", "cut-manifest", "does not end"),
            "all of the manifest came but its last brace",
            &honest().damage(".manifest", cut),
        ),
        Case::found(
            "manifest-empty",
            ("medium", "cut-manifest", "does not end"),
            "the manifest came with no bytes",
            &honest().damage(".manifest", Vec::clear),
        ),
    ]
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.pop();
}

fn signatures() -> Vec<Case> {
    let honest = || three(|b| b);
    let false_one: Fault = (SIGNATURE, "invalid-signature", "does not match the manifest");
    let turned: Fault = (SIGNATURE, "line-ends", "line endings were converted");
    let cut_off: Fault = (SIGNATURE, "cut-signature", "is cut off");
    let mut chain = Chain::new(STREAM);
    let (first, second) = (chain.next("one"), chain.next("two"));
    let of_the_other = second.bytes(".sig").to_vec();
    let stranger = || three(|b| b.signed_by(&[published('b')]));
    let id_of_a = honest().name(".sig").split('.').nth(1).unwrap().to_owned();
    let misnamed =
        stranger().renamed(|n| if n.ends_with(".sig") { format!("{}.{id_of_a}.sig", &n[..34]) } else { n.to_owned() });
    vec![
        Case::found(
            "manifest-bit-flipped",
            false_one,
            "one bit of the manifest is another one",
            &honest().damage(".manifest", |b| flip(b)),
        ),
        Case::found(
            "manifest-totals-changed",
            false_one,
            "somebody wrote another number into the manifest",
            &honest().damage(".manifest", |b| {
                *b = String::from_utf8_lossy(b).replacen("\"envelopes\":3", "\"envelopes\":2", 1).into_bytes();
            }),
        ),
        Case::found(
            "manifest-with-a-space",
            false_one,
            "white space was put in after the signature",
            &honest().damage(".manifest", |b| b.insert(1, b' ')),
        ),
        Case::found(
            "manifest-with-lf",
            turned,
            "a transfer as text put a line end behind the manifest",
            &honest().damage(".manifest", |b| b.push(b'\n')),
        ),
        Case::found(
            "manifest-with-crlf",
            turned,
            "a transfer as text put CR and LF behind the manifest",
            &honest().damage(".manifest", |b| b.extend(b"\r\n")),
        ),
        Case::found(
            "manifest-with-bom",
            false_one,
            "an editor put a byte order mark before the manifest",
            &honest().damage(".manifest", |b| drop(b.splice(0..0, *b"\xef\xbb\xbf"))),
        ),
        Case::found(
            "signature-bit-flipped",
            false_one,
            "one bit of the signature is another one",
            &honest().damage(".sig", |b| flip(b)),
        ),
        Case::found(
            "signature-of-63-bytes",
            cut_off,
            "the last byte of the signature did not come",
            &honest().damage(".sig", cut),
        ),
        Case::found(
            "signature-of-0-bytes",
            cut_off,
            "the signature came with no bytes",
            &honest().damage(".sig", Vec::clear),
        ),
        Case::found(
            "signature-of-65-bytes",
            (SIGNATURE, "invalid-signature", ""),
            "a byte follows the signature: too long is false, not short",
            &honest().damage(".sig", |b| b.push(b'\n')),
        ),
        Case::found(
            "signature-missing",
            (SIGNATURE, "no-signature", "no signature of this manifest"),
            "the signature did not come",
            &honest().without(".sig"),
        ),
        Case::found(
            "signature-of-zeros",
            false_one,
            "64 zeros where the signature belongs",
            &honest().damage(".sig", |b| b.fill(0)),
        ),
        Case::found(
            "signature-of-small-order",
            false_one,
            "R is the identity and S is 0, which a reader that is not strict may take",
            &honest().damage(".sig", |b| {
                b.fill(0);
                b[0] = 1;
            }),
        ),
        Case::found(
            "signature-with-s-past-the-order",
            false_one,
            "S plus the order of the group: the same point, another signature (RFC 8032, section 5.1.7)",
            &honest().damage(".sig", |b| add_order(b)),
        ),
        Case::found(
            "signature-of-another-batch",
            false_one,
            "the signature of number 2 lies under the name of number 1's",
            &first.damage(".sig", |b| *b = of_the_other),
        ),
        Case::found(
            "signature-by-a-stranger",
            (SIGNATURE, "unknown-key", "signed only by unknown keys"),
            "a key signed that is not in the trust store",
            &stranger(),
        ),
        Case::found(
            "signature-by-a-stranger-under-a-known-name",
            false_one,
            "a strange key's signature bears the id of a trusted one",
            &misnamed,
        ),
    ]
}

/// S + L, little-endian, in the second half of a signature.
fn add_order(signature: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}

fn trust() -> Vec<Case> {
    let honest = || three(|b| b);
    let rules = |more: &str| {
        format!(
            "need = 1\n\n[[key]]\nfile = \"test-a.pub.pem\"\nwho = \"Site A\"\n{more}\n\n[[key]]\nfile = \"test-b.pub.pem\"\n"
        )
    };
    let need_two = "need = 2\n\n[[key]]\nfile = \"test-a.pub.pem\"\n\n[[key]]\nfile = \"test-b.pub.pem\"\n";
    let too_few: Fault = ("trust", "too-few-signatures", "is signed by 1 of the 2 different keys");
    let not_allowed = |says| ("trust", "not-allowed", says);
    let mut chain = Chain::new(STREAM);
    let (first, second) = (chain.next("one"), chain.next("two"));
    let mut twice = honest();
    let (name, signature) = (twice.name(".sig"), twice.bytes(".sig").to_vec());
    twice.files.push((name.replace(".sig", ".copy.sig"), signature.clone()));
    twice.files.push((format!("{}.{}.sig", twice.base, key_id('b')), signature));
    let both = ['a', 'b'];
    vec![
        Case::found("one-of-two-signers", too_few, "two different keys must sign, and one has", &honest())
            .trusts(&both, need_two),
        Case::found("one-key-three-times", too_few, "one key's signature in three files counts once", &twice)
            .trusts(&both, need_two),
        Case::found(
            "key-ended",
            not_allowed("a key that ended with number 1"),
            "the key may sign up to number 1, and this is number 2",
            &first,
        )
        .and(&second)
        .delivers(&first.envelopes())
        .trusts(&both, &rules(&format!("streams = [\"{STREAM}\"]\nuntil = 1"))),
        Case::found(
            "key-revoked",
            not_allowed("a key that is revoked"),
            "a revoked key signs nothing, however early the number",
            &honest(),
        )
        .trusts(&both, &rules(&format!("streams = [\"{STREAM}\"]\nuntil = 0"))),
        Case::found(
            "key-of-another-zone",
            not_allowed("may not sign for this zone"),
            "the key may sign for other zones only",
            &honest(),
        )
        .trusts(&both, &rules("zones = [\"elsewhere\"]")),
        Case::found(
            "key-of-another-stream",
            not_allowed("may not sign this stream"),
            "the key may sign other streams only",
            &honest(),
        )
        .trusts(&both, &rules("streams = [\"00000000-0000-4000-8000-000000000001\"]")),
        Case::found(
            "key-not-listed",
            (SIGNATURE, "unknown-key", "signed only by unknown keys"),
            "with a trust.toml, a key that it does not list signs nothing",
            &honest(),
        )
        .trusts(&both, "[[key]]\nfile = \"test-b.pub.pem\"\n"),
        Case::found(
            "wrong-zone",
            ("trust", "wrong-zone", "is meant for zone restricted"),
            "the batch is for another zone: not false, and not taken",
            &honest(),
        )
        .in_zone("elsewhere"),
    ]
}

fn key_id(letter: char) -> String {
    airpouch::trust::PrivateKey::from_seed(published(letter)).public().id()
}

fn manifest(name: &'static str, says: &'static str, why: &'static str, change: impl FnOnce(&mut J) + 'static) -> Case {
    Case::found(name, lie(MANIFEST, says), why, &three(|b| b.manifest(change)))
}

fn replaced(name: &'static str, says: &'static str, why: &'static str, from: &'static str, to: &'static str) -> Case {
    Case::found(name, lie(MANIFEST, says), why, &three(|b| b.replace(from, to)))
}

/// The same value in other bytes, or another shape.
fn forms() -> Vec<Case> {
    const BYTES: &str = "not in the one byte form";
    const SHAPE: &str = "not of the shape";
    let signed = |name, says, why, change: fn(&mut Vec<u8>)| {
        Case::found(name, lie(MANIFEST, says), why, &three(|b| b.bytes(change)))
    };
    vec![
        replaced("space-after-a-colon", BYTES, "white space", "\"zone\":", "\"zone\": "),
        replaced("space-after-the-tag", BYTES, "white space", "\"batch/1\",", "\"batch/1\", "),
        replaced(
            "keys-in-another-order",
            BYTES,
            "zone stands before succeeds",
            "\"succeeds\":null,\"zone\":\"restricted\"",
            "\"zone\":\"restricted\",\"succeeds\":null",
        ),
        replaced(
            "letter-as-an-escape",
            BYTES,
            "an escape where the letter belongs",
            "\"name\":\"Example",
            "\"name\":\"\\u0045xample",
        ),
        replaced(
            "solidus-escaped",
            BYTES,
            "an escape that JSON allows and the form does not",
            "indicator,report",
            "indicator\\/report",
        ),
        replaced("upper-case-digest", SHAPE, "digests are in lower case", "\"index\":{", "\"index\":{\"SHA256\":null,"),
        replaced(
            "unknown-key",
            SHAPE,
            "a key that the format does not have",
            "\"zone\":",
            "\"comment\":\"hello\",\"zone\":",
        ),
        replaced(
            "unknown-key-in-totals",
            SHAPE,
            "a key that the format does not have, further in",
            "\"totals\":{",
            "\"totals\":{\"files\":3,",
        ),
        replaced("key-missing", BYTES, "promise must stand there, as null at least", "\"promise\":null,", ""),
        replaced(
            "key-twice",
            SHAPE,
            "two readers might read two zones",
            "\"zone\":\"restricted\"",
            "\"zone\":\"elsewhere\",\"zone\":\"restricted\"",
        ),
        replaced(
            "key-twice-in-a-volume",
            SHAPE,
            "two readers might read two volumes",
            "\"volumes\":[{",
            "\"volumes\":[{\"envelopes\":3,",
        ),
        replaced(
            "null-left-out-of-scope",
            SHAPE,
            "a scope is a text, a list of texts or null",
            "\"scope\":\"indicator,report\"",
            "\"scope\":7",
        ),
        replaced("format-2", "does not begin as a manifest", "another format has another tag", "batch/1", "batch/2"),
        replaced(
            "stream-in-upper-case",
            SHAPE,
            "a UUID is in lower case",
            "\"stream\":\"3f0c6f3e",
            "\"stream\":\"3F0C6F3E",
        ),
        replaced(
            "stream-without-hyphens",
            SHAPE,
            "a UUID has hyphens",
            "3f0c6f3e-58a1-4d0b-9a6e-5b1f0c2d7e94\",\"seq",
            "3f0c6f3e58a14d0b9a6e5b1f0c2d7e94\",\"seq",
        ),
        signed("line-end-signed", BYTES, "a line end that the signer signed is still none of the form", |b| {
            b.push(b'\n')
        }),
        signed("text-after-the-manifest", SHAPE, "something follows the manifest, and is signed", |b| b.extend(b"{}")),
        signed("not-utf-8", SHAPE, "a name that is not UTF-8", |b| {
            let at = b.windows(12).position(|w| w == b"Example Feed").unwrap();
            b[at] = 0xff;
        }),
    ]
}

fn numbers() -> Vec<Case> {
    const SHAPE: &str = "not of the shape";
    let envelopes = |name, why, says, value: &'static str| {
        manifest(name, says, why, move |m| m.set("totals/envelopes", raw(value)))
    };
    vec![
        envelopes("number-negative", "numbers count", SHAPE, "-3"),
        envelopes("number-with-a-fraction", "3.0 is not the form of 3", SHAPE, "3.0"),
        envelopes("number-with-an-exponent", "3e0 is not the form of 3", SHAPE, "3e0"),
        envelopes("number-as-a-text", "a text is no number", SHAPE, "\"3\""),
        envelopes("number-with-a-zero-before", "03 is not JSON", SHAPE, "03"),
        envelopes("number-of-20-digits", "more than 64 bits", SHAPE, "18446744073709551616"),
        manifest(
            "promise-of-2-53",
            "a number is 2^53 or more",
            "numbers are below 2^53, which is what a double holds",
            |m| m.set("promise", raw(1u64 << 53)),
        ),
        manifest("bytes-of-2-53", "a number is 2^53 or more", "numbers are below 2^53", |m| {
            m.set("totals/bytes", raw(1u64 << 53))
        }),
        manifest("before-of-2-64", "a number is 2^53 or more", "the largest number of 64 bits", |m| {
            m.set("totals/packed", raw(u64::MAX))
        }),
        manifest(
            "volume-envelopes-overflow",
            "the envelopes of its volumes",
            "two counts whose sum is 3 modulo 2^64",
            |m| {
                let volume = m.at("volumes/0").clone();
                m.at("volumes").elements().push(volume);
                m.set("volumes/0/envelopes", raw(u64::MAX));
                m.set("volumes/1/envelopes", raw(4));
                let J::Text(name) = m.at("volumes/1/name") else { panic!() };
                *name = name.replace("v0001", "v0002");
            },
        ),
        manifest(
            "connector-envelopes-overflow",
            "the envelopes of its connectors",
            "two counts whose sum is 3 modulo 2^64",
            |m| {
                let second = m.at("connectors/0").clone();
                m.at("connectors").elements().push(second);
                m.set("connectors/1/name", text("Another Feed"));
                m.set("connectors/0/envelopes", raw(u64::MAX));
                m.set("connectors/1/envelopes", raw(4));
            },
        ),
        manifest("volume-too-large", "is larger than a volume may be", "a volume has at most 256 MiB unpacked", |m| {
            m.set("volumes/0/unpacked", raw((256 << 20) + 1))
        }),
        manifest("index-too-large", "its index is too large", "an index has at most 64 MiB", |m| {
            m.set("index/bytes", raw((64 << 20) + 1))
        }),
        manifest(
            "counters-of-2-53",
            "its counters are 2^53 or more",
            "before and totals together are below 2^53",
            |m| {
                m.set("sequence", raw(2));
                m.set("previous", text(sha256(b"one")));
                m.set("before/bytes", raw((1u64 << 53) - 1));
            },
        ),
        manifest("sequence-0", "no number from 1 to 99999999", "numbers begin with 1", |m| m.set("sequence", raw(0))),
        manifest("sequence-of-nine-digits", "no number from 1 to 99999999", "a file name shows eight digits", |m| {
            m.set("sequence", raw(100_000_000))
        }),
    ]
}

/// What contradicts itself, or the format.
fn rules() -> Vec<Case> {
    let second = |change: fn(&mut J)| {
        let mut chain = Chain::new(STREAM);
        chain.next("one");
        let items = vec![Item::made(2, "two")];
        chain.builder(items).manifest(change).build()
    };
    let succeeds =
        |stream: &str| object([("stream", text(stream)), ("sequence", raw(7)), ("sha256", text(sha256(b"seven")))]);
    let of_second = |name, says, why, change| Case::found(name, lie(MANIFEST, says), why, &second(change));
    vec![
        of_second("previous-null-in-number-2", "`previous` is null for number 1", "number 2 names number 1", |m| {
            m.set("previous", null())
        }),
        manifest("previous-in-number-1", "`previous` is null for number 1", "number 1 has none before it", |m| {
            m.set("previous", text(sha256(b"zero")))
        }),
        of_second("history-too-long", "its history has 1 digests, not 0", "number 2 has none before number 1", |m| {
            m.at("history").elements().push(text(sha256(b"zero")))
        }),
        manifest("history-too-short", "its history has 0 digests, not 1", "number 3 names number 1", |m| {
            m.set("sequence", raw(3));
            m.set("previous", text(sha256(b"two")));
        }),
        of_second(
            "succeeds-in-number-2",
            "`succeeds` stands in a number other than 1",
            "only a first number goes on from another stream",
            |m| {
                m.set(
                    "succeeds",
                    object([
                        ("stream", text("00000000-0000-4000-8000-000000000001")),
                        ("sequence", raw(7)),
                        ("sha256", text(sha256(b"seven"))),
                    ]),
                );
            },
        ),
        manifest("succeeds-itself", "the stream succeeds itself", "a stream cannot inherit from itself", move |m| {
            m.set("succeeds", succeeds(STREAM))
        }),
        manifest("before-number-1", "number 1 has nothing before it", "no envelopes came before number 1", |m| {
            m.set("before/envelopes", raw(1))
        }),
        manifest("zone-with-an-escape-code", "its zone is not of the form", "a zone is [a-z0-9-]{1,64}", |m| {
            m.set("zone", text("\u{1b}[2J"))
        }),
        manifest("zone-empty", "its zone is not of the form", "a zone has a letter at least", |m| {
            m.set("zone", text(""))
        }),
        manifest("created-with-an-offset", "its `created` is no time", "times are in UTC, whole seconds", |m| {
            m.set("created", text("2026-11-25T02:05:00+00:00"))
        }),
        manifest("producer-of-two-lines", "its producer is not", "a producer is a name and a version", |m| {
            m.set("producer", text("airpouch 0.1.0\nok"))
        }),
        manifest(
            "totals-of-other-envelopes",
            "the envelopes of its volumes are not the 4 of its totals",
            "volumes add up to the totals",
            |m| m.count("totals/envelopes", |n| n + 1),
        ),
        manifest(
            "packed-of-other-bytes",
            "its `packed` is not the sum of its files",
            "packed is the sum of index and volumes",
            |m| m.count("totals/packed", |n| n + 1),
        ),
        manifest("connector-counts-other", "the envelopes of its connectors", "connectors add up to the totals", |m| {
            m.count("connectors/0/envelopes", |n| n - 1)
        }),
        manifest("applicant-counts-other", "the envelopes of its applicants", "applicants add up to the totals", |m| {
            m.count("applicants/0/envelopes", |n| n + 1)
        }),
        manifest(
            "connector-of-no-envelopes",
            "the envelopes of its connectors",
            "each connector that is listed wrote something",
            |m| {
                let mut second = connector("of-nothing", "Of Nothing");
                second.members().push(("envelopes".into(), raw(0)));
                m.at("connectors").elements().push(second);
            },
        ),
        manifest("volume-of-no-envelopes", "the envelopes of its volumes", "each volume holds something", |m| {
            let mut second = m.at("volumes/0").clone();
            second.set("envelopes", raw(0));
            m.at("volumes").elements().push(second);
            m.set("volumes/1/name", text("airpouch-3f0c6f3e58a14d0b-00000001.v0002.tar.zst"));
        }),
        manifest("connector-twice", "a connector stands twice", "each definition stands there once", |m| {
            let mut second = m.at("connectors/0").clone();
            second.set("envelopes", raw(1));
            m.at("connectors").elements().push(second);
            m.set("connectors/0/envelopes", raw(2));
        }),
        manifest("applicant-twice", "an applicant stands twice", "each applicant stands there once", |m| {
            let mut second = m.at("applicants/0").clone();
            second.set("envelopes", raw(1));
            m.at("applicants").elements().push(second);
            m.set("applicants/0/envelopes", raw(2));
        }),
        manifest(
            "volume-name-with-a-path",
            "it names a file otherwise",
            "names follow from stream, sequence and position",
            |m| m.set("volumes/0/name", text("../../etc/cron.d/x")),
        ),
        manifest(
            "index-name-of-another-batch",
            "it names a file otherwise",
            "names follow from stream and sequence",
            |m| m.set("index/name", text("airpouch-3f0c6f3e58a14d0b-00000002.index.zst")),
        ),
        manifest("volumes-numbered-from-0", "it names a file otherwise", "volumes are numbered from 1", |m| {
            m.set("volumes/0/name", text("airpouch-3f0c6f3e58a14d0b-00000001.v0000.tar.zst"))
        }),
    ]
}

fn index(
    name: &'static str,
    says: &'static str,
    why: &'static str,
    change: impl FnOnce(&mut Vec<J>) + 'static,
) -> Case {
    Case::found(name, lie(INDEX, says), why, &three(|b| b.lines(change)))
}

fn indexes() -> Vec<Case> {
    const BYTES: &str = "not in the one byte form";
    const SHAPE: &str = "not of the shape";
    const MTIME: &str = "no time with nine decimals";
    let in_text = |name, says, why, change: fn(&mut Vec<u8>)| {
        Case::found(name, lie(INDEX, says), why, &three(|b| b.index_text(change)))
    };
    let declared =
        |name, says, why, change: fn(&mut J)| Case::found(name, lie(INDEX, says), why, &three(|b| b.manifest(change)));
    let mtime = |name, why, value: &'static str| index(name, MTIME, why, move |l| l[1].set("mtime", text(value)));
    vec![
        index("line-missing", "its index lists 2 envelopes, not 3", "one line an envelope", |l| drop(l.pop())),
        index("line-too-many", "more lines than envelopes", "one line an envelope", |l| l.push(l[3].clone())),
        index(
            "lines-out-of-order",
            "envelope 2 is not in the order of time and name",
            "lines are in the order of time and name",
            |l| l.swap(1, 2),
        ),
        index(
            "names-out-of-order",
            "envelope 2 is not in the order of time and name",
            "equal times are ordered by the bytes of the name",
            |l| {
                let mtime = l[1].at("mtime").clone();
                l[2].set("mtime", mtime);
                l[2].set("name", text("a.json"));
            },
        ),
        index(
            "connector-out-of-range",
            "a connector or applicant that the manifest does not list",
            "positions count from 0",
            |l| l[1].set("connector", raw(1)),
        ),
        index(
            "applicant-out-of-range",
            "a connector or applicant that the manifest does not list",
            "positions count from 0",
            |l| l[1].set("applicant", raw(1)),
        ),
        index(
            "position-of-64-bits",
            "a connector or applicant that the manifest does not list",
            "a position that is no index of anything",
            |l| l[1].set("applicant", raw(u64::MAX)),
        ),
        index("connector-negative", SHAPE, "positions count from 0", |l| l[1].set("connector", raw(-1))),
        index(
            "bytes-of-2-53-in-a-line",
            "larger than an envelope may be",
            "an envelope is smaller than a volume",
            |l| l[1].set("bytes", raw(1u64 << 53)),
        ),
        index(
            "bytes-of-2-64-in-a-line",
            "larger than an envelope may be",
            "an envelope is smaller than a volume",
            |l| l[1].set("bytes", raw(u64::MAX)),
        ),
        index("bytes-negative", SHAPE, "sizes count", |l| l[1].set("bytes", raw(-1))),
        index("bytes-as-a-float", SHAPE, "sizes are whole", |l| l[1].set("bytes", raw("1.5"))),
        index("sizes-other-than-totals", "the sizes in its index do not add up", "sizes add up to the totals", |l| {
            l[1].count("bytes", |n| n + 1)
        }),
        index(
            "first-line-of-two-connectors",
            "one entry for each connector",
            "the first line has an entry a connector",
            |l| {
                let one = l[0].at("objects/0").clone();
                l[0].at("objects").elements().push(one);
            },
        ),
        index("line-with-an-unknown-key", SHAPE, "keys are those of the format", |l| {
            l[1].members().push(("mode".into(), raw(420)))
        }),
        index("line-with-a-key-twice", SHAPE, "two readers might read two digests", |l| {
            let digest = l[1].at("sha256").clone();
            l[1].members().insert(0, ("sha256".into(), digest));
        }),
        index("line-keys-in-another-order", BYTES, "the byte form has one order", |l| l[1].members().swap(0, 1)),
        mtime("mtime-without-decimals", "times have nine decimals", "2026-11-25T02:01:00Z"),
        mtime("mtime-with-an-offset", "times end in Z", "2026-11-25T02:01:00.500000000+00:00"),
        mtime("mtime-with-a-space", "date and time are joined by T", "2026-11-25 02:01:00.500000000Z"),
        mtime("mtime-of-february-30", "there must be such a day", "2026-02-30T02:01:00.500000000Z"),
        mtime("mtime-of-second-60", "leap seconds have no number since 1970", "2026-11-25T02:01:60.500000000Z"),
        Case::found(
            "connector-counts-swapped",
            lie(INDEX, "counts connectors or applicants otherwise"),
            "counts in the manifest follow the index",
            &two_connectors(),
        ),
        in_text(
            "index-without-its-last-line-end",
            "an empty line, or none ends it",
            "each line ends with LF, the last too",
            cut,
        ),
        in_text("index-with-an-empty-line", "an empty line, or none ends it", "no line is empty", |t| t.push(b'\n')),
        in_text("index-with-crlf", BYTES, "lines end with LF alone", |t| {
            *t = String::from_utf8_lossy(t).replace('\n', "\r\n").into_bytes()
        }),
        in_text("index-with-a-space", BYTES, "white space", |t| {
            *t = String::from_utf8_lossy(t).replacen("\"mtime\":", "\"mtime\": ", 1).into_bytes();
        }),
        in_text("index-not-utf-8", SHAPE, "names are UTF-8; what is not becomes U+FFFD before it is written", |t| {
            let at = t.windows(7).position(|w| w == b"example").unwrap();
            t[at] = 0xff;
        }),
        in_text("index-empty-text", SHAPE, "the first line is always there", Vec::clear),
        declared("index-declared-smaller", "does not have the size", "the decoder stops at the declared size", |m| {
            m.count("index/unpacked", |n| n - 1)
        }),
        declared("index-declared-larger", "does not have the size", "the index has exactly the declared size", |m| {
            m.count("index/unpacked", |n| n + 1)
        }),
        declared(
            "volume-declared-smaller",
            "bytes unpacked, its envelopes need",
            "a volume's size follows from its envelopes",
            |m| m.count("volumes/0/unpacked", |n| n - 512),
        ),
        declared(
            "volume-declared-larger",
            "bytes unpacked, its envelopes need",
            "a volume's size follows from its envelopes",
            |m| m.count("volumes/0/unpacked", |n| n + 512),
        ),
    ]
}

/// Two connectors wrote one and two envelopes, and the manifest says two and one.
fn two_connectors() -> Batch {
    three(|b| {
        b.with(|b| {
            b.connectors.push(connector("second", "Second Feed"));
            b.items[2].connector = 1;
        })
        .manifest(|m| {
            m.set("connectors/0/envelopes", raw(1));
            m.set("connectors/1/envelopes", raw(2));
        })
    })
}

fn in_two(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [frame(first), frame(second)].concat()
}

fn bomb(_: &[u8]) -> Vec<u8> {
    frame(&vec![0; BOMB])
}

fn framed(name: &'static str, says: &'static str, why: &'static str, make: fn(&[u8]) -> Vec<u8>) -> Case {
    Case::found(name, lie(INDEX, says), why, &three(|b| b.index_frame(make)))
}

fn index_frames() -> Vec<Case> {
    const NO_FRAME: &str = "is no zstd frame of the format";
    vec![
        framed("index-not-compressed", NO_FRAME, "the index is one zstd frame", <[u8]>::to_vec),
        framed("index-in-two-frames", "does not have the size", "the index is one frame, not two", in_two),
        framed("index-with-a-second-empty-frame", "bytes follow the index's frame", "nothing follows the frame", |t| {
            [frame(t), frame(b"")].concat()
        }),
        framed("index-after-a-skippable-frame", "does not have the size", "nothing stands before the frame", |t| {
            [skippable(b"hidden"), frame(t)].concat()
        }),
        framed("index-before-a-skippable-frame", "bytes follow the index's frame", "nothing follows the frame", |t| {
            [frame(t), skippable(b"hidden")].concat()
        }),
        framed("index-with-trailing-bytes", "bytes follow the index's frame", "nothing follows the frame", |t| {
            [frame(t), b"hidden".to_vec()].concat()
        }),
        framed("index-window-of-2-28", NO_FRAME, "windows are at most 2^27", |t| frame_with_window(t, 28)),
        framed(
            "index-bomb",
            "does not have the size",
            "the frame holds 256 MiB, and a reader stops at the declared size",
            bomb,
        ),
        framed("index-frame-cut", NO_FRAME, "the frame has no end, and the digest is of just that", |t| {
            let mut frame = frame(t);
            frame.truncate(frame.len() - 6);
            frame
        }),
        framed("index-checksum-false", NO_FRAME, "the frame's own checksum does not hold", |t| {
            let mut frame = frame(t);
            *frame.last_mut().unwrap() ^= 1;
            frame
        }),
    ]
}

/// Changes of the tar stream after whose first fault the envelopes before it may have been delivered already.
fn volumes() -> Vec<Case> {
    let says = |n: usize| {
        ["", "the entry of envelope 1 is not", "the entry of envelope 2 is not", "the entry of envelope 3 is not"][n]
    };
    let entry = |name, first: usize, why, change: fn(&mut Vec<Entry>)| {
        let batch = three(|b| b.entries(change));
        let before = batch.envelopes()[..first - 1].to_vec();
        Case::found(name, lie(VOLUME, says(first)), why, &batch).delivers(&before)
    };
    let special = |name, why, kind: u8, entry_name: &'static str, link: &'static str| {
        let batch = three(|b| {
            b.entries(move |e| e.insert(1, Entry::special(entry_name, kind, link, b"")))
                .manifest(|m| m.count("volumes/0/unpacked", |n| n - 512))
        });
        let before = batch.envelopes()[..1].to_vec();
        Case::found(name, lie(VOLUME, says(2)), why, &batch).delivers(&before)
    };
    let mut cases = vec![
        entry("entry-with-a-path", 1, "no name from a medium is ever used, and this one is refused", |e| {
            e[0] = Entry::named("../../escape.json", e[0].seconds(), &e[0].body)
        }),
        entry("entry-with-an-absolute-path", 1, "no name from a medium is ever used", |e| {
            e[0] = Entry::named("/etc/passwd", e[0].seconds(), &e[0].body)
        }),
        entry("entry-with-a-prefix", 1, "the field for a longer path is empty", |e| e[0].patch(345, b"etc")),
        entry("entries-swapped", 1, "entries follow the index's order", |e| e.swap(0, 1)),
        entry("entry-mode-0777", 1, "the mode is 0644", |e| e[0].patch(100, b"0000777\0")),
        entry("entry-of-a-user", 1, "user and group are 0", |e| e[0].patch(108, b"0001750\0")),
        entry("entry-with-a-user-name", 1, "names of user and group are empty", |e| e[0].patch(265, b"root")),
        entry("entry-of-another-time", 1, "the time is the index's, in whole seconds", |e| {
            e[0].patch(136, b"00000000000\0")
        }),
        entry("entry-with-gnu-magic", 1, "the format is ustar", |e| e[0].patch(257, b"ustar  \0")),
        entry("entry-with-a-size-in-base-256", 1, "sizes are octal", |e| {
            let size = (e[0].body.len() as u64).to_be_bytes();
            e[0].patch(124, &[&[0x80, 0, 0, 0][..], &size].concat());
        }),
        entry("entry-checksum-as-gnu-writes-it", 1, "the checksum has seven digits, not six", |e| {
            let digits = String::from_utf8(e[0].header[148..155].to_vec()).unwrap();
            e[0].header[148..156].copy_from_slice(format!("{}\0 ", &digits[1..]).as_bytes());
        }),
        entry("entry-checksum-false", 1, "the checksum is that of the header", |e| e[0].header[150] ^= 1),
        entry("entry-of-type-7", 1, "the type is 0", |e| e[0].patch(156, b"7")),
        entry("entry-of-type-nul", 1, "the type is 0, not the NUL of old tars", |e| e[0].patch(156, b"\0")),
        entry(
            "second-entry-with-a-path",
            2,
            "what stood before the fault was whole and is delivered, what follows is not",
            |e| e[1] = Entry::named("../../escape.json", e[1].seconds(), &e[1].body),
        ),
        special("symbolic-link", "an entry of another type", b'2', "00000002.json", "/etc/passwd"),
        special("hard-link", "an entry of another type", b'1', "00000002.json", "00000001.json"),
        special("character-device", "an entry of another type", b'3', "00000002.json", ""),
        special("block-device", "an entry of another type", b'4', "00000002.json", ""),
        special("folder", "an entry of another type", b'5', "00000002.json", ""),
        special("fifo", "an entry of another type", b'6', "00000002.json", ""),
        special("entry-too-many", "a file that the index does not list", b'0', "00000002.json", ""),
    ];
    cases.extend(longer_entries());
    cases
}

/// Records that give the next entry another name or size, bodies that are not what the index says, and the end.
fn longer_entries() -> Vec<Case> {
    let faulty = |name, says, why, batch: Batch, delivered: usize| {
        let before = batch.envelopes()[..delivered].to_vec();
        Case::found(name, lie(VOLUME, says), why, &batch).delivers(&before)
    };
    let record = |name, why, kind: u8, body: &'static [u8]| {
        let batch = three(|b| {
            b.entries(move |e| e.insert(0, Entry::special("record", kind, "", body)))
                .manifest(|m| m.count("volumes/0/unpacked", |n| n - 1024))
        });
        faulty(name, "the entry of envelope 1 is not", why, batch, 0)
    };
    let larger = three(|b| {
        b.entries(|e| {
            let body = [&e[0].body[..], b" "].concat();
            e[0] = Entry::of(1, e[0].seconds(), &body);
        })
    });
    let other = three(|b| b.entries(|e| e[1].body[20] ^= 1));
    let bodies = three(|b| {
        b.with(|b| b.items[1].name = "example_feed-two, of the size of the first.json".into()).entries(|e| {
            let first = e[0].body.clone();
            e[0].body = e[2].body.clone();
            e[2].body = first;
        })
    });
    let dirty = three(|b| b.entries(|e| e[0].padding[7] = 1));
    let fewer = three(|b| b.entries(|e| drop(e.pop())).manifest(as_listed));
    let extra = three(|b| b.entries(|e| e.push(Entry::of(4, 1_795_572_300, b""))).manifest(as_listed));
    let tail = three(|b| b.tar(|t| *t.last_mut().unwrap() = 1));
    let one_block = three(|b| b.tar(|t| t.truncate(t.len() - 512)).manifest(as_listed));
    let blocks = three(|b| b.tar(|t| t.resize(t.len().next_multiple_of(10_240), 0)).manifest(as_listed));
    let behind = three(|b| b.tar(|t| t.extend(b"hidden behind the end".iter().chain(&[0; 491]))).manifest(as_listed));
    vec![
        record("pax-size", "a pax record may give the next entry another size", b'x', b"12 size=100\n"),
        record("pax-path", "a pax record may give the next entry another name", b'x', b"22 path=../escape.js\n\n"),
        record("pax-global", "a global pax record holds for all entries", b'g', b"13 mtime=0.5\n"),
        record("gnu-long-name", "a GNU record may give the next entry another name", b'L', b"../../escape.json\0"),
        record("gnu-sparse", "a GNU sparse file has another layout", b'S', b"00000001.json"),
        faulty(
            "envelope-larger-than-listed",
            "the entry of envelope 1 is not",
            "the index says one byte fewer than the entry holds",
            larger,
            0,
        ),
        faulty(
            "envelope-of-another-digest",
            "envelope 2 does not match the digest in its index line",
            "one bit of an envelope is not what the index's digest is of",
            other,
            1,
        ),
        faulty("bodies-swapped", "", "headers as listed, with each other's bytes", bodies, 0),
        faulty("padding-not-zero", "bytes that are not zero pad envelope 1", "padding is zeros", dirty, 0),
        faulty(
            "entry-missing",
            "is no zstd frame of the format",
            "the volume holds fewer envelopes than are listed",
            fewer,
            0,
        ),
        faulty(
            "entry-behind-the-last",
            "something else than two zero blocks",
            "the volume holds an entry more than is listed",
            extra,
            3,
        ),
        faulty("end-not-zero", "something else than two zero blocks", "the end is two blocks of zeros", tail, 3),
        faulty(
            "end-of-one-block",
            "is no zstd frame of the format",
            "the end is two blocks of zeros, not one",
            one_block,
            0,
        ),
        faulty(
            "end-of-many-blocks",
            "is no zstd frame of the format",
            "the end is two blocks, not padding to 10 KiB as tar writes",
            blocks,
            3,
        ),
        faulty(
            "bytes-behind-the-end",
            "is no zstd frame of the format",
            "nothing follows the two zero blocks",
            behind,
            3,
        ),
    ]
}

/// The size that the listed envelopes need, whatever the volume holds.
fn as_listed(manifest: &mut J) {
    let bytes: u64 =
        ["one", "two", "three"].iter().map(|n| 512 + (Item::made(1, n).body.len() as u64).next_multiple_of(512)).sum();
    manifest.set("volumes/0/unpacked", raw(bytes + 1024));
}

fn volume_frames() -> Vec<Case> {
    const NO_FRAME: &str = "is no zstd frame of the format";
    let framed = |name, delivered: usize, says, why, make: fn(&[u8]) -> Vec<u8>| {
        let batch = three(|b: Builder| b.volume_frame(make));
        let before = batch.envelopes()[..delivered].to_vec();
        Case::found(name, lie(VOLUME, says), why, &batch).delivers(&before)
    };
    vec![
        framed("volume-not-compressed", 0, NO_FRAME, "a volume is one zstd frame", <[u8]>::to_vec),
        framed("volume-in-two-frames", 0, NO_FRAME, "a volume is one frame, not two", in_two),
        framed("volume-with-a-second-empty-frame", 3, NO_FRAME, "nothing follows the frame", |t| {
            [frame(t), frame(b"")].concat()
        }),
        framed("volume-after-a-skippable-frame", 0, NO_FRAME, "nothing stands before the frame", |t| {
            [skippable(b"hidden"), frame(t)].concat()
        }),
        framed("volume-before-a-skippable-frame", 3, NO_FRAME, "nothing follows the frame", |t| {
            [frame(t), skippable(b"hidden")].concat()
        }),
        framed("volume-with-trailing-bytes", 3, NO_FRAME, "nothing follows the frame", |t| {
            [frame(t), b"hidden".to_vec()].concat()
        }),
        framed("volume-window-of-2-28", 0, NO_FRAME, "windows are at most 2^27", |t| frame_with_window(t, 28)),
        framed(
            "volume-bomb",
            0,
            "the entry of envelope 1 is not",
            "the frame holds 256 MiB of zeros, and a reader stops at the declared size",
            bomb,
        ),
        framed(
            "volume-bomb-behind-what-is-listed",
            3,
            NO_FRAME,
            "all that is listed, and then 256 MiB in the same frame",
            |t| {
                let mut bytes = t.to_vec();
                bytes.resize(BOMB, 0);
                frame(&bytes)
            },
        ),
        framed("volume-checksum-false", 0, NO_FRAME, "the frame's own checksum does not hold", |t| {
            let mut frame = frame(t);
            *frame.last_mut().unwrap() ^= 1;
            frame
        }),
    ]
}
