//! When two external references, or two kill chain phases, are one: when pycti's
//! `external_reference_generate_id` or `kill_chain_phase_generate_id` gives them one id. Those digest the canonical
//! JSON (RFC 8785) of some of their fields; here its equality alone counts.

use crate::digest::{Digest, Hasher};
use crate::json::{JsonEvent, Scanner, Value, ValueKind};
use crate::opencti::python;

/// What is compared, or why pycti raises.
type Canonical = Result<Vec<u8>, &'static str>;

/// What an external reference is known by: its url, else its source and external id, else nothing.
pub fn of_external_reference(reference: Value<'_>) -> Result<Option<Vec<u8>>, &'static str> {
    let field = |name| reference.get(name).filter(|v| v.kind() != ValueKind::Null);
    if let Some(url) = field("url") {
        return canonical(&[url]).map(Some);
    }
    match (field("source_name"), field("external_id")) {
        (Some(source), Some(id)) => canonical(&[source, id]).map(Some),
        _ => Ok(None),
    }
}

/// What a kill chain phase is known by: its chain and its name, null where there is none.
pub fn of_kill_chain_phase(phase: Value<'_>) -> Canonical {
    let null = Value::NULL;
    let field = |name| phase.get(name).unwrap_or(null);
    canonical(&[field("kill_chain_name"), field("phase_name")])
}

fn canonical(values: &[Value<'_>]) -> Canonical {
    let mut out = Vec::new();
    values.iter().try_for_each(|value| write(&mut out, *value)).map(|()| out)
}

/// Every value begins with a letter for its kind; texts say how long they are; what is in a list or an object is
/// digested when it ends, so that it is gone through once, however deep it lies.
fn write(out: &mut Vec<u8>, value: Value<'_>) -> Result<(), &'static str> {
    let (mut scanner, mut open) = (Scanner::new(value.text()), Vec::new());
    loop {
        let mut done = Vec::new();
        // The text was read before; a fault can only be its end.
        match scanner.next().unwrap_or(JsonEvent::End) {
            JsonEvent::End => return Ok(()),
            JsonEvent::ObjectStart => {
                open.push(OpenObject::Object(Vec::new(), String::new()));
                continue;
            }
            JsonEvent::ArrayStart => {
                open.push(OpenObject::List(Hasher::new()));
                continue;
            }
            JsonEvent::Key(name) => {
                if let Some(OpenObject::Object(_, key)) = open.last_mut() {
                    *key = name.text().ok_or(HALF)?.into_owned();
                }
                continue;
            }
            JsonEvent::ObjectEnd | JsonEvent::ArrayEnd => {
                done.extend(open.pop().map(OpenObject::closed).unwrap_or_default())
            }
            JsonEvent::Null => done.push(b'n'),
            JsonEvent::Bool(flag) => done.push(if flag { b't' } else { b'f' }),
            JsonEvent::Number(digits) => {
                let number = python::float(digits);
                if !number.is_finite() {
                    return Err("an integer beyond what a double holds");
                }
                done.push(b'd');
                // Minus zero is zero there.
                done.extend((number + 0.0).to_bits().to_le_bytes());
            }
            JsonEvent::String(text) => write_text(&mut done, text.text().ok_or(HALF)?.as_bytes()),
        }
        match open.last_mut() {
            None => {
                out.extend(done);
                return Ok(());
            }
            Some(OpenObject::List(values)) => values.update(&done),
            Some(OpenObject::Object(members, key)) => members.push(of_member(&std::mem::take(key), &done)),
        }
    }
}

/// A list or an object whose end has not come. It keeps no value, so that it takes no more memory than its text.
enum OpenObject {
    List(Hasher),
    /// The digests of the members so far, and the key of the next one.
    Object(Vec<Digest>, String),
}

impl OpenObject {
    fn closed(self) -> Vec<u8> {
        let (letter, inside) = match self {
            Self::List(values) => (b'l', values.finish()),
            Self::Object(mut members, _) => {
                // In which order they stood does not matter.
                members.sort_unstable();
                let mut inside = Hasher::new();
                members.iter().for_each(|member| inside.update(member.as_bytes()));
                (b'o', inside.finish())
            }
        };
        [&[letter], inside.as_bytes().as_slice()].concat()
    }
}

fn of_member(key: &str, value: &[u8]) -> Digest {
    let mut member = Vec::new();
    write_text(&mut member, key.as_bytes());
    member.extend(value);
    Digest::of(&member)
}

const HALF: &str = "half of a surrogate pair";

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b's');
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Result<Option<Vec<u8>>, &'static str> {
        of_external_reference(Value::read(text).unwrap())
    }

    #[test]
    fn references_of_one_url_are_one() {
        let one = id(r#"{"url":"https://a","external_id":"1"}"#);
        assert_eq!(one, id(r#"{"source_name":"x","url":"https:\/\/a"}"#));
        assert_ne!(one, id(r#"{"url":"https://b"}"#));
        assert!(id(r#"{"url":""}"#).unwrap().is_some());
    }

    #[test]
    fn references_without_url_are_one_by_source_and_id() {
        assert_eq!(
            id(r#"{"source_name":"a","external_id":1}"#),
            id(r#"{"external_id":1.0,"source_name":"a","url":null}"#)
        );
        assert_eq!(id(r#"{"source_name":"a"}"#), Ok(None));
        assert_eq!(id(r#"{"url":-0.0}"#), id(r#"{"url":0}"#));
        assert_eq!(id(r#"{"url":{"b":[1],"a":2}}"#), id(r#"{"url":{"a":2.0,"b":[1]}}"#));
        assert_ne!(id(r#"{"url":["ab"]}"#), id(r#"{"url":["a","b"]}"#));
    }

    #[test]
    fn references_that_pycti_raises_on_are_errors() {
        assert!(id(r#"{"url":"\ud800"}"#).is_err() && id(r#"{"url":{"\udfff":1}}"#).is_err());
        assert!(id(&format!(r#"{{"url":{}}}"#, "9".repeat(310))).is_err());
    }

    #[test]
    fn phases_are_compared_with_missing_fields_as_null() {
        let phase = |text| of_kill_chain_phase(Value::read(text).unwrap());
        assert_eq!(phase("{}"), phase(r#"{"phase_name":null}"#));
        assert_ne!(phase(r#"{"phase_name":"a"}"#), phase(r#"{"kill_chain_name":"a"}"#));
    }
}
