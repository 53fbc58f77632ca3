//! Envelopes: what a connector wrote, read once and without a tree.

mod acts;
mod bundle;
mod connector_id;
mod contents;
mod item;
mod meaning;
mod refusal;
#[cfg(test)]
mod tests;

use crate::json::keys::{KeySeen, Keys};
use crate::json::{JsonError, JsonEvent, Scanner, Text};
use crate::limits;
use crate::objects::ObjectKeys;

pub use acts::{Act, Acts};
pub use connector_id::ConnectorId;
pub use contents::{Contents, EmbeddedFile, Noticed, Remark};
pub use refusal::NotAnEnvelope;

/// A valid envelope, as pycti's `_create_message_bundle` makes them: who wrote it, for whom, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The connector that wrote it.
    pub connector: Connector,
    /// `applicant_id`: the OpenCTI user in whose name it was written. `None` if null or absent, which is routine.
    pub applicant: Option<String>,
    /// What the bundle holds.
    pub contents: Contents,
}

/// A connector, as its envelopes describe it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Its name, at most [`limits::PARTY_TEXT_MAX`] bytes, as all texts here.
    pub name: String,
    /// The JSON field `type`, usually `EXTERNAL_IMPORT`.
    pub kind: String,
    /// What it deals in.
    pub scope: Scope,
    /// `None` for null, absent and any other type.
    pub auto: Option<bool>,
    /// `None` for null, absent and any other type.
    pub validate_before_import: Option<bool>,
}

/// A connector's scope: pycti writes the raw configuration value, usually one text with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Null, absent, or neither text nor list of texts.
    #[default]
    None,
    /// One text, commas and all.
    Text(String),
    /// A list of texts; together at most [`limits::PARTY_TEXT_MAX`] bytes, one more counted for each.
    List(Vec<String>),
}

impl Envelope {
    /// Reads an envelope: size, UTF-8, then one pass over the JSON that also looks through the bundle.
    ///
    /// # Errors
    /// [`NotAnEnvelope`] unless the bytes are one JSON object (RFC 8259) of at most [`limits::DEPTH_MAX`] levels
    /// with `bundle_type` DIRECTORY_BUNDLE or S3_BUNDLE, `connector` with id, name and type, `bundle` with a list
    /// `objects`; `applicant_id` absent, null or text; `entities_types` absent, null, text or a list; and no key
    /// twice at the top or in `connector`. What is wrong inside the bundle is a finding, not an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAnEnvelope> {
        Self::parse_listing(bytes, None)
    }

    /// The same, and lists the objects on the way: those of bytes that are no envelope up to where that is seen.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn parse_listing(bytes: &[u8], objects: Option<&mut ObjectKeys>) -> Result<Self, NotAnEnvelope> {
        let text = checked_text(bytes)?;
        let mut scanner = Scanner::new(text);
        read_envelope(&mut scanner, objects).map_err(|refusal| refusal.named(text))
    }
}

/// The envelope with an applicant put in where `applicant_id` is null or absent; no other byte changes. Bytes
/// that name an applicant already, or are no envelope, come back as they are.
pub fn with_applicant(bytes: &[u8], id: &str) -> Vec<u8> {
    let Some((from, to)) = std::str::from_utf8(bytes).ok().and_then(null_applicant) else {
        return bytes.to_vec();
    };
    let value = serde_json::Value::from(id).to_string();
    let value = if from == to { format!("\"applicant_id\": {value}, ") } else { value };
    [&bytes[..from], value.as_bytes(), &bytes[to..]].concat()
}

/// Where the null of `applicant_id` is; behind the first brace, and empty, if there is no such key.
fn null_applicant(text: &str) -> Option<(usize, usize)> {
    let mut scanner = Scanner::new(text);
    let JsonEvent::ObjectStart = scanner.next().ok()? else {
        return None;
    };
    let behind_brace = scanner.offset();
    let mut members = 0;
    loop {
        match scanner.next().ok()? {
            JsonEvent::Key(key) => {
                let value = scanner.next().ok()?;
                if key.decoded().as_ref() == b"applicant_id" {
                    let end = scanner.offset();
                    return (value == JsonEvent::Null).then(|| (end - "null".len(), end));
                }
                scanner.skip(value).ok()?;
                members += 1;
            }
            _ => return (members > 0).then_some((behind_brace, behind_brace)),
        }
    }
}

/// Why reading stopped: the JSON, whose place is still to be found, or what it says.
enum ReadRefusal {
    Json(JsonError),
    Envelope(NotAnEnvelope),
}

impl From<JsonError> for ReadRefusal {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<NotAnEnvelope> for ReadRefusal {
    fn from(reason: NotAnEnvelope) -> Self {
        Self::Envelope(reason)
    }
}

impl ReadRefusal {
    fn named(self, text: &str) -> NotAnEnvelope {
        match self {
            Self::Json(error) => NotAnEnvelope::from_json(&error, text),
            Self::Envelope(reason) => reason,
        }
    }
}

/// The bytes as text, or what else they are: the reasons are told apart because people fix them differently.
fn checked_text(bytes: &[u8]) -> Result<&str, NotAnEnvelope> {
    let size = bytes.len() as u64;
    if size > limits::ENVELOPE_MAX {
        return Err(NotAnEnvelope::TooLarge { size });
    }
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => return Err(NotAnEnvelope::ByteOrderMark),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(NotAnEnvelope::Utf16),
        [0, ..] if bytes.iter().all(|byte| *byte == 0) => return Err(NotAnEnvelope::Zeros),
        [0, b'{', ..] | [b'{', 0, ..] => return Err(NotAnEnvelope::Utf16),
        _ => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        Some(_) => NotAnEnvelope::NotUtf8 { offset: error.valid_up_to() },
        None => {
            let offset = error.valid_up_to();
            let (line, column) = JsonError { fault: crate::json::JsonFault::CutOff, what: "", offset }.place(bytes);
            NotAnEnvelope::CutOff { line, column }
        }
    })?;
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
        return Err(NotAnEnvelope::Empty);
    }
    Ok(text)
}

fn read_envelope<'a>(
    scanner: &mut Scanner<'a>,
    mut objects: Option<&'a mut ObjectKeys>,
) -> Result<Envelope, ReadRefusal> {
    let first = scanner.next()?;
    if first != JsonEvent::ObjectStart {
        scanner.skip(first)?;
        scanner.next()?;
        return Err(NotAnEnvelope::NotAnObject { found: named(first) }.into());
    }
    let mut keys = Keys::default();
    keys.open();
    let (mut connector, mut applicant, mut contents, mut bundle_type) = (None, None, None, None);
    while let JsonEvent::Key(key) = scanner.next()? {
        if keys.take(key) == KeySeen::Twice {
            return Err(duplicate("", key));
        }
        let value = scanner.next()?;
        match key.lossy().as_ref() {
            "bundle_type" => bundle_type = Some(read_bundle_type(value)?),
            "applicant_id" if value == JsonEvent::Null => {}
            "applicant_id" => applicant = Some(party_text("applicant_id", "a text or null", value)?),
            "connector" => connector = Some(read_connector(scanner, value)?),
            "entities_types" => match value {
                JsonEvent::Null | JsonEvent::String(_) | JsonEvent::ArrayStart => scanner.skip(value)?,
                _ => return Err(wrong("entities_types", value, "a text, a list or null")),
            },
            "bundle" if value == JsonEvent::ObjectStart => contents = Some(bundle::read(scanner, objects.take())?),
            "bundle" => return Err(wrong("bundle", value, "a JSON object")),
            _ => scanner.skip(value)?,
        }
    }
    scanner.next()?;
    bundle_type.ok_or(NotAnEnvelope::Missing { field: "bundle_type" })?;
    Ok(Envelope {
        connector: connector.ok_or(NotAnEnvelope::Missing { field: "connector" })?,
        applicant,
        contents: contents.ok_or(NotAnEnvelope::Missing { field: "bundle" })?,
    })
}

fn read_bundle_type(value: JsonEvent<'_>) -> Result<(), ReadRefusal> {
    let found = party_text("bundle_type", "a text", value)?;
    match found.as_str() {
        "DIRECTORY_BUNDLE" | "S3_BUNDLE" => Ok(()),
        _ => Err(NotAnEnvelope::BundleType { found }.into()),
    }
}

fn read_connector<'a>(scanner: &mut Scanner<'a>, first: JsonEvent<'a>) -> Result<Connector, ReadRefusal> {
    if first != JsonEvent::ObjectStart {
        return Err(wrong("connector", first, "a JSON object"));
    }
    let mut keys = Keys::default();
    keys.open();
    let (mut id, mut name, mut kind, mut scope) = (None, None, None, Scope::None);
    let (mut auto, mut validate_before_import) = (None, None);
    while let JsonEvent::Key(key) = scanner.next()? {
        if keys.take(key) == KeySeen::Twice {
            return Err(duplicate("connector.", key));
        }
        let value = scanner.next()?;
        match (key.lossy().as_ref(), value) {
            ("id", _) => id = Some(connector_id(party_text("connector.id", "a text", value)?)?),
            ("name", _) => name = Some(party_text("connector.name", "a text", value)?),
            ("type", _) => kind = Some(party_text("connector.type", "a text", value)?),
            ("scope", JsonEvent::String(_)) => scope = Scope::Text(party_text("connector.scope", "a text", value)?),
            ("scope", JsonEvent::ArrayStart) => scope = read_scope(scanner)?,
            ("auto", JsonEvent::Bool(flag)) => auto = Some(flag),
            ("validate_before_import", JsonEvent::Bool(flag)) => validate_before_import = Some(flag),
            _ => scanner.skip(value)?,
        }
    }
    Ok(Connector {
        id: id.ok_or(NotAnEnvelope::Missing { field: "connector.id" })?,
        name: name.ok_or(NotAnEnvelope::Missing { field: "connector.name" })?,
        kind: kind.ok_or(NotAnEnvelope::Missing { field: "connector.type" })?,
        scope,
        auto,
        validate_before_import,
    })
}

fn connector_id(id: String) -> Result<ConnectorId, ReadRefusal> {
    ConnectorId::parse(&id).ok_or_else(|| NotAnEnvelope::ConnectorId { id }.into())
}

/// A scope that is a list; one with anything but texts in it counts as none.
fn read_scope(scanner: &mut Scanner<'_>) -> Result<Scope, ReadRefusal> {
    let (mut scope, mut only_texts, mut bytes) = (Vec::new(), true, 0);
    loop {
        match scanner.next()? {
            JsonEvent::ArrayEnd if only_texts => return Ok(Scope::List(scope)),
            JsonEvent::ArrayEnd => return Ok(Scope::None),
            value @ JsonEvent::String(_) => {
                let text = party_text("connector.scope", "a list of texts", value)?;
                bytes += text.len() + 1;
                if bytes > limits::PARTY_TEXT_MAX {
                    return Err(NotAnEnvelope::TooLong { field: "connector.scope" }.into());
                }
                scope.push(text);
            }
            other => {
                only_texts = false;
                scanner.skip(other)?;
            }
        }
    }
}

/// A text that goes into the manifest: no lone surrogates, which UTF-8 cannot hold, and not too long.
fn party_text(field: &'static str, expected: &'static str, value: JsonEvent<'_>) -> Result<String, ReadRefusal> {
    let JsonEvent::String(text) = value else {
        return Err(wrong(field, value, expected));
    };
    match text.text() {
        None => {
            let found = "a text with half of a surrogate pair";
            Err(NotAnEnvelope::WrongType { field, found, expected: "a text of whole characters" }.into())
        }
        Some(text) if text.len() > limits::PARTY_TEXT_MAX => Err(NotAnEnvelope::TooLong { field }.into()),
        Some(text) => Ok(text.into_owned()),
    }
}

fn duplicate(prefix: &str, key: Text<'_>) -> ReadRefusal {
    let field = format!("{prefix}{}", crate::text::harmless(&key.lossy()));
    NotAnEnvelope::DuplicateKey { field }.into()
}

fn wrong(field: &'static str, value: JsonEvent<'_>, expected: &'static str) -> ReadRefusal {
    NotAnEnvelope::WrongType { field, found: named(value), expected }.into()
}

/// What a value is, by its first event.
fn named(value: JsonEvent<'_>) -> &'static str {
    match value {
        JsonEvent::ObjectStart | JsonEvent::ObjectEnd | JsonEvent::Key(_) => "an object",
        JsonEvent::ArrayStart | JsonEvent::ArrayEnd => "a list",
        JsonEvent::String(_) => "a text",
        JsonEvent::Number(_) => "a number",
        JsonEvent::Bool(true) => "true",
        JsonEvent::Bool(false) => "false",
        JsonEvent::Null => "null",
        JsonEvent::End => "nothing",
    }
}
