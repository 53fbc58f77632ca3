//! What goes into a connector's queue: `QUEUE_BUNDLE` messages, as pycti's `_send_bundle` makes them of the parts of
//! a bundle. There is no work in them: a work is opened by whoever sends them on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::python;
use super::split::{Split, Unsplittable};
use crate::digest::Digest;
use crate::json::{JsonError, JsonEvent, Scanner, Value};
use crate::text::size;

/// Bytes that an envelope may repeat in its messages, beside four times its own size.
const REPEATED_MAX: u64 = 64 << 20;

/// To whom a message goes, and how: what an envelope does not say by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addressee<'a> {
    /// The user of this platform in whose name it goes.
    pub applicant: Option<&'a str>,
    /// The work that it is a part of. Workers pass over a message whose work is gone.
    pub work: Option<&'a str>,
    /// The draft that it goes into.
    pub draft: Option<&'a str>,
}

/// An envelope taken apart: all that its messages say, but for the applicant. It holds places in the envelope's text.
#[derive(Debug)]
pub struct Messages {
    split: Split,
    /// `entities_types` and `update` as they stand in each message.
    entities_types: String,
    update: String,
}

impl Messages {
    /// Takes an envelope apart.
    ///
    /// # Errors
    /// As [`Split::of`].
    pub fn of(envelope: &str) -> Result<Self, Unsplittable> {
        let broken = |error: JsonError| at("", format!("the envelope is no JSON: {error}"));
        let mut scanner = Scanner::new(envelope);
        scanner.next().map_err(broken)?;
        // pycti sends an empty list for null; the worker drops a message with null there, without a word.
        let (mut split, mut entities_types, mut update) = (None, "[]".to_owned(), "false".to_owned());
        while let JsonEvent::Key(key) = scanner.next().map_err(broken)? {
            let first = scanner.next().map_err(broken)?;
            match (key.decoded().as_ref(), first) {
                (b"bundle", _) => split = Some(Split::read(&mut scanner, first)?),
                (b"entities_types", JsonEvent::Null) => {}
                (b"entities_types", _) => {
                    entities_types = beside(scanner.value_of(first).map_err(broken)?, "/entities_types")?;
                }
                (b"update", _) => update = beside(scanner.value_of(first).map_err(broken)?, "/update")?,
                _ => scanner.skip(first).map_err(broken)?,
            }
        }
        let split = split.ok_or_else(|| at("/bundle", "the envelope has no bundle".into()))?;
        // These stand in every message, and may be as long as they like in one envelope.
        let each = (split.id_bytes() + entities_types.len() + update.len()) as u64;
        let repeated = each * split.expectations() as u64 + split.counted_digits();
        if repeated > REPEATED_MAX + 4 * envelope.len() as u64 {
            let what = format!(
                "its bundle's id, entities_types, update and numbers of dependencies would make {} of messages",
                size(repeated)
            );
            return Err(at("/bundle", what));
        }
        Ok(Self { split, entities_types, update })
    }

    /// The bundle taken apart.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.split.expectations()
    }

    /// The object of a message: its position in the bundle's `objects`, from 0, and its id, safe to print.
    pub fn object(&self, envelope: &str, at: usize) -> (usize, String) {
        let object = self.split.object(at);
        (object, self.split.shown_id(envelope, object))
    }

    /// Writes the bundle of a message, which goes into it as base64. `envelope` is the one that was taken apart.
    pub fn write_bundle(&self, out: &mut String, envelope: &str, at: usize, spare_id: &str) {
        self.split.write_part(out, envelope, at, spare_id);
    }

    /// Writes a message, its keys in pycti's order.
    #[expect(clippy::too_many_arguments, reason = "called for each message: a struct would only name them twice")]
    pub fn write(&self, out: &mut String, envelope: &str, at: usize, to: &Addressee<'_>, spare_id: &str) {
        // Of most envelopes the objects are alike; where they are not, it grows.
        let mut bundle = String::with_capacity(envelope.len() / self.count().max(1) * 5 / 4 + 256);
        self.write_bundle(&mut bundle, envelope, at, spare_id);
        out.reserve(bundle.len().div_ceil(3) * 4 + self.entities_types.len() + self.update.len() + 512);
        out.push_str("{\"bundle_type\": \"QUEUE_BUNDLE\", \"applicant_id\": ");
        write_text_or_null(out, to.applicant);
        out.push_str(", \"action_sequence\": ");
        out.push_str(&(at + 1).to_string());
        out.push_str(", \"entities_types\": ");
        out.push_str(&self.entities_types);
        out.push_str(", \"content\": \"");
        STANDARD.encode_string(&bundle, out);
        out.push_str("\", \"update\": ");
        out.push_str(&self.update);
        out.push_str(", \"draft_id\": ");
        write_text_or_null(out, to.draft);
        out.push_str(", \"no_split\": false}");
        if let Some(work) = to.work {
            out.pop();
            write_work(out, work);
        }
    }
}

fn write_text_or_null(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => python::write_str(out, text),
        None => out.push_str("null"),
    }
}

/// A message that has no work, with one: last, as pycti puts it.
pub fn with_work(message: &str, work: &str) -> String {
    let mut out = message.strip_suffix('}').unwrap_or(message).to_owned();
    write_work(&mut out, work);
    out
}

fn write_work(out: &mut String, work: &str) {
    out.push_str(", \"work_id\": ");
    python::write_str(out, work);
    out.push('}');
}

/// The id of a bundle that has none: made of the envelope's digest, so that it is the same at every import.
pub fn spare_bundle_id(envelope: Digest) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&envelope.as_bytes()[..16]);
    // A UUID of version 4 (RFC 9562), as pycti makes them.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("bundle--{}", uuid::Uuid::from_bytes(bytes))
}

/// A value that goes into a message as it is.
fn beside(value: Value<'_>, place: &str) -> Result<String, Unsplittable> {
    let broken = |error: JsonError| at(place, error.to_string());
    let mut scanner = Scanner::new(value.text());
    loop {
        match scanner.next().map_err(broken)? {
            JsonEvent::End => break,
            JsonEvent::Number(digits) => python::check_number(digits)
                .map_err(|_| at(place, format!("{place} holds a number that Python does not read as it is")))?,
            _ => {}
        }
    }
    let plain = python::without_duplicate_keys(value.text()).map_err(|cause| at(place, format!("{place} {cause}")))?;
    let mut out = String::new();
    python::write_value(&mut out, Value::of(&plain));
    Ok(out)
}

fn at(place: &str, what: String) -> Unsplittable {
    Unsplittable { what, place: place.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(envelope: &str) -> Vec<String> {
        let messages = Messages::of(envelope).unwrap();
        let write = |at| {
            let mut out = String::new();
            let to = Addressee { applicant: Some("0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"), ..Addressee::default() };
            messages.write(&mut out, envelope, at, &to, "bundle--x");
            out
        };
        (0..messages.count()).map(write).collect()
    }

    #[test]
    fn message_is_what_pycti_would_publish() {
        let envelope = r#"{"bundle_type":"DIRECTORY_BUNDLE","entities_types":"tool,report","bundle":{"type":"bundle","id":"bundle--1","objects":[{"id":"identity--1","type":"identity"},{"id":"tool--1","type":"tool","created_by_ref":"identity--1"}]},"update":true}"#;
        let messages = messages(envelope);
        assert_eq!(messages.len(), 2);
        let content = "eyJ0eXBlIjogImJ1bmRsZSIsICJpZCI6ICJidW5kbGUtLTEiLCAic3BlY192ZXJzaW9uIjogIjIuMSIsICJ4X29wZW5jdGlfc2VxIjogMSwgIm9iamVjdHMiOiBbeyJpZCI6ICJpZGVudGl0eS0tMSIsICJ0eXBlIjogImlkZW50aXR5IiwgIm5iX2RlcHMiOiAxfV19";
        assert_eq!(
            messages[0],
            format!(
                r#"{{"bundle_type": "QUEUE_BUNDLE", "applicant_id": "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10", "action_sequence": 1, "entities_types": "tool,report", "content": "{content}", "update": true, "draft_id": null, "no_split": false}}"#
            )
        );
        assert!(messages[1].contains("\"action_sequence\": 2"));
    }

    #[test]
    fn message_has_a_list_where_the_envelope_has_null() {
        for types in ["", "\"entities_types\":null,"] {
            let envelope = format!(r#"{{{types}"bundle":{{"objects":[{{"id":"tool--1","type":"tool"}}]}}}}"#);
            assert!(messages(&envelope)[0].contains("\"entities_types\": [], "), "{types}");
            assert!(messages(&envelope)[0].contains("\"update\": false, "));
        }
    }

    #[test]
    fn message_is_not_a_thousand_times_as_large_as_its_envelope() {
        let objects: Vec<String> = (0..3_000).map(|n| format!(r#"{{"id":"tool--{n}","type":"tool"}}"#)).collect();
        let envelope = |types: usize| {
            let (types, objects) = ("x".repeat(types), objects.join(","));
            format!(r#"{{"entities_types":"{types}","bundle":{{"objects":[{objects}]}}}}"#)
        };
        assert!(Messages::of(&envelope(1_000)).is_ok());
        assert!(Messages::of(&envelope(100_000)).unwrap_err().what.contains("of messages"));
    }

    #[test]
    fn message_has_no_number_that_is_no_json() {
        let fault = Messages::of(r#"{"update":[1e400],"bundle":{"objects":[]}}"#).unwrap_err();
        assert_eq!(fault.place, "/update");
    }

    #[test]
    fn message_of_a_bundle_without_id_has_the_same_id_each_time() {
        let id = spare_bundle_id(Digest::of(b"an envelope"));
        assert_eq!(id, spare_bundle_id(Digest::of(b"an envelope")));
        assert_ne!(id, spare_bundle_id(Digest::of(b"another")));
        let uuid: uuid::Uuid = id.strip_prefix("bundle--").unwrap().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }
}
