//! What may cross: an envelope and the site's settings in, a verdict out. Whole envelopes are judged, never cut.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::envelope::{Code, Contents, EmbeddedFile, Envelope};
use crate::text;

/// `policy.toml`. What has no setting here (commands, internal types, duplicate keys, counts, lengths) is always
/// quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Objects marked above this level, or with a marking that is no TLP, hold their envelope; objects without
    /// a marking pass. `None`: markings do not matter.
    pub max_tlp: Option<Tlp>,
    /// Connectors of other types are held.
    pub connector_types: Vec<String>,
    /// The largest embedded file that passes, in bytes, decoded.
    #[serde(deserialize_with = "size")]
    pub max_file: u64,
    /// MIME types of embedded files that pass, in lower case; `None`: all. A file that names no type is an
    /// `application/octet-stream`, which is what pycti makes of it.
    #[serde(deserialize_with = "mime_types")]
    pub mime_types: Option<Vec<String>>,
    /// When given: these connectors by id, and no others.
    pub connectors: Option<BTreeMap<String, Admission>>,
}

/// What a listed connector may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Its envelopes pass.
    Pass,
    /// Its envelopes are held for now.
    Pause,
}

/// The levels of the traffic light protocol, from the lowest. CLEAR was called WHITE in its first version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlp {
    /// TLP:CLEAR, TLP:WHITE
    Clear,
    /// TLP:GREEN
    Green,
    /// TLP:AMBER
    Amber,
    /// TLP:AMBER+STRICT
    AmberStrict,
    /// TLP:RED
    Red,
}

/// What the policy says of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may cross.
    Pass,
    /// It is kept until the reason is gone.
    Hold(Vec<Objection>),
    /// It is kept, and crosses only if a person releases it. The reasons for that come first.
    Quarantine(Vec<Objection>),
}

/// One reason not to let an envelope cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The word for it: that of a [`Code`], or `connector-type`, `connector-not-listed`, `connector-paused`, `tlp`,
    /// `file-too-large`, `file-type`.
    pub code: &'static str,
    /// What it is, in words that are safe to print.
    pub what: String,
    /// A JSON pointer from the envelope's root.
    pub place: String,
}

impl Objection {
    /// Whether only a person can lift it: it is about what the envelope is, and not about the site's settings.
    pub fn is_for_a_person(&self) -> bool {
        [Code::Command, Code::InternalType, Code::DuplicateKey, Code::TooMany, Code::TooLong]
            .iter()
            .any(|code| code.word() == self.code)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_tlp: None,
            connector_types: vec!["EXTERNAL_IMPORT".to_owned()],
            max_file: 25 << 20,
            mime_types: None,
            connectors: None,
        }
    }
}

impl Policy {
    /// Reads `policy.toml`; what it does not name has its default.
    ///
    /// # Errors
    /// A sentence with the line: not TOML, an unknown key, or a value that is none.
    pub fn from_toml(toml: &str) -> Result<Self, String> {
        toml::from_str(toml).map_err(|error| {
            let message = text::harmless(error.message());
            match error.span() {
                Some(span) => {
                    let before = toml.as_bytes().get(..span.start).unwrap_or_default();
                    format!("line {}: {message}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
                }
                None => message,
            }
        })
    }

    /// Judges an envelope. [`Code::Unsplittable`] does not count here: whether it matters depends on the sink.
    pub fn judge(&self, envelope: &Envelope) -> Verdict {
        let mut findings: Vec<_> = envelope.contents.findings.iter().filter(|f| f.code != Code::Unsplittable).collect();
        // The worst comes first: who releases an envelope must not be shown a lesser reason than there is.
        findings.sort_by_key(|finding| finding.code);
        let mut objections: Vec<Objection> =
            findings.iter().map(|f| objection(f.code.word(), f.what.clone(), &f.place)).collect();
        let quarantine = !objections.is_empty();
        self.judge_connector(envelope, &mut objections);
        self.judge_markings(&envelope.contents, &mut objections);
        self.judge_files(&envelope.contents, &mut objections);
        match objections.is_empty() {
            true => Verdict::Pass,
            false if quarantine => Verdict::Quarantine(objections),
            false => Verdict::Hold(objections),
        }
    }

    fn judge_connector(&self, envelope: &Envelope, objections: &mut Vec<Objection>) {
        let connector = &envelope.connector;
        let name = text::harmless(&connector.name);
        if !self.connector_types.contains(&connector.kind) {
            let what = format!("the connector {name} is of the type {}", text::harmless(&connector.kind));
            objections.push(objection("connector-type", what, "/connector/type"));
        }
        let Some(listed) = &self.connectors else {
            return;
        };
        match listed.get(&connector.id) {
            Some(Admission::Pass) => {}
            Some(Admission::Pause) => {
                let what = format!("the connector {name} ({}) is paused", connector.id);
                objections.push(objection("connector-paused", what, "/connector/id"));
            }
            None => {
                let what = format!("the connector {name} ({}) is not listed", connector.id);
                objections.push(objection("connector-not-listed", what, "/connector/id"));
            }
        }
    }

    fn judge_markings(&self, contents: &Contents, objections: &mut Vec<Objection>) {
        let Some(max) = self.max_tlp else { return };
        for (marking, count) in &contents.markings {
            let times = text::count(*count, "time");
            let what = match Tlp::of_marking(marking) {
                Some(tlp) if tlp <= max => continue,
                Some(tlp) => format!("TLP:{} stands there {times}, {marking}", tlp.word().to_uppercase()),
                None if marking == "*" => {
                    format!("markings too many or too long to name stand there {times}")
                }
                None => format!("the marking {} stands there {times} and is no TLP", text::harmless(marking)),
            };
            objections.push(objection("tlp", what, "/bundle/objects"));
        }
    }

    fn judge_files(&self, contents: &Contents, objections: &mut Vec<Objection>) {
        for file in contents.files.iter().filter(|file| file.bytes > self.max_file) {
            let (size, max) = (text::size(file.bytes), text::size(self.max_file));
            let what = format!("an embedded file of {size}, where {max} may pass");
            objections.push(objection("file-too-large", what, &file.place));
        }
        for (mime, count) in &contents.file_types {
            let mime = if mime == "?" { "application/octet-stream" } else { mime };
            if self.allows_mime(mime) {
                continue;
            }
            let of_type = |file: &&EmbeddedFile| file.mime.as_deref().unwrap_or("application/octet-stream") == mime;
            let place = contents.files.iter().find(of_type).map_or("/bundle/objects", |file| &file.place);
            let what = format!("{} of the type {}", text::count(*count, "embedded file"), text::harmless(mime));
            objections.push(objection("file-type", what, place));
        }
    }

    fn allows_mime(&self, mime: &str) -> bool {
        let essence = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.mime_types.as_ref().is_none_or(|allowed| allowed.contains(&essence))
    }
}

impl Tlp {
    /// The level as `policy.toml` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::AmberStrict => "amber+strict",
            Self::Red => "red",
        }
    }

    /// The level that a marking definition's id stands for: those of STIX 2.1 (section 7.2.1.4), those of TLP 2.0
    /// as OASIS publishes them, and OpenCTI's own for AMBER+STRICT (pycti's `MarkingDefinition.generate_id`).
    pub fn of_marking(id: &str) -> Option<Self> {
        match id.strip_prefix("marking-definition--")? {
            "613f2e26-407d-48c7-9eca-b8e91df99dc9" | "94868c89-83c2-464b-929b-a1a8aa3c8487" => Some(Self::Clear),
            "34098fce-860f-48ae-8e50-ebd3cc5e41da" | "bab4a63c-aed9-4cf5-a766-dfca5abac2bb" => Some(Self::Green),
            "f88d31f6-486f-44da-b317-01333bde0b82" | "55d920b0-5e8b-4f79-9ee9-91f868d9b421" => Some(Self::Amber),
            "939a9414-2ddd-4d32-a0cd-375ea402b003" | "826578e1-40ad-459f-bc73-ede076f81f37" => Some(Self::AmberStrict),
            "5e57c739-391a-4eb3-b6be-7d15ca92d5ed" | "e828b379-4e03-4974-9ac4-e53a884c97c1" => Some(Self::Red),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tlp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        match text.strip_prefix("tlp:").unwrap_or(&text) {
            "clear" | "white" => Ok(Self::Clear),
            "green" => Ok(Self::Green),
            "amber" => Ok(Self::Amber),
            "amber+strict" => Ok(Self::AmberStrict),
            "red" => Ok(Self::Red),
            _ => Err(serde::de::Error::custom("max_tlp is one of clear, green, amber, amber+strict, red")),
        }
    }
}

fn objection(code: &'static str, what: String, place: &str) -> Objection {
    Objection { code, what, place: place.to_owned() }
}

/// A size as `"25 MiB"` or as a plain number.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::Number(bytes)) => Ok(bytes),
        Ok(Written::Text(size)) => text::parse_size(&size).map_err(serde::de::Error::custom),
        Err(_) => Err(serde::de::Error::custom("a size belongs here, for example \"25 MiB\"")),
    }
}

fn mime_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let types = Vec::<String>::deserialize(deserializer)?;
    Ok(Some(types.iter().map(|mime| mime.trim().to_ascii_lowercase()).collect()))
}

#[cfg(test)]
mod tests;
