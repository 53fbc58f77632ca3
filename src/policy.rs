//! What may cross: an envelope and the site's settings in, a verdict out. Whole envelopes are judged, never cut.

mod record;

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Deserializer};

use crate::code::Code;
use crate::envelope::{Contents, EmbeddedFile, Envelope, Noticed};
pub use crate::opencti::Tlp;
use crate::text;
pub use record::{RecordField, RecordRules, SecondFor, is_one_name};

/// `policy.toml`. What has no setting here (commands, internal types, duplicate keys, counts, lengths) is always
/// quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Objects marked above this level hold their envelope; objects without such a marking pass. `None`: levels do not
    /// matter.
    pub max_tlp: Option<Tlp>,
    /// Markings that are no level of the traffic light protocol: statements, PAP, and whatever else.
    pub other_markings: OtherMarkings,
    /// Connectors of other types are held.
    pub connector_types: Vec<String>,
    /// The largest embedded file that passes, in bytes, decoded.
    #[serde(deserialize_with = "size")]
    pub max_file: u64,
    /// MIME types of embedded files that pass, in lower case; `None`: all. A file that names no type is an
    /// `application/octet-stream`, which is what pycti makes of it.
    #[serde(deserialize_with = "mime_types")]
    pub mime_types: Option<Vec<String>>,
    /// Embedded files that are bundles or feeds themselves, unless their `no_trigger_import` is true: the platform may
    /// import such a file as a bundle, with what is in it.
    pub nested_files: Stance,
    /// Access that a bundle gives to organizations.
    pub sharing: Stance,
    /// Words of the platform's own lists.
    pub vocabularies: Stance,
    /// When given: these connectors by id, and no others.
    pub connectors: Option<BTreeMap<String, Admission>>,
    /// What must be told for the record before anything is done, on either side.
    pub record: RecordRules,
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

/// What becomes of envelopes that hold something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// They are held.
    Hold,
    /// They pass.
    Pass,
}

/// Which markings pass that are no level of the traffic light protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherMarkings {
    /// All.
    Pass,
    /// None.
    Hold,
    /// These, by id, in lower case.
    Only(Vec<String>),
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
    /// What kind it is.
    pub code: Code,
    /// What it is, in words that are safe to print.
    pub what: String,
    /// A JSON pointer from the envelope's root.
    pub place: String,
    /// Among objections of one code: the highest is the worst.
    pub rank: u32,
}

impl Objection {
    /// An objection that is no worse than others of its code.
    pub fn new(code: Code, what: impl Into<String>, place: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: place.into(), rank: 0 }
    }

    /// Whether only a person can lift it: it is about what the envelope is, and not about the site's settings.
    pub fn is_for_a_person(&self) -> bool {
        is_for_a_person(self.code)
    }

    /// All objections in one, for a person who decides on it: each operation and each internal type, and of any other
    /// code the first and how many more there are. The code and the place are those of the first.
    pub fn of_all(objections: Vec<Self>) -> Option<Self> {
        let acts = [Code::Command, Code::InternalType];
        let mut parts: Vec<(String, u64)> = Vec::new();
        let mut codes: Vec<Code> = Vec::new();
        for objection in &objections {
            match codes.iter().rposition(|code| *code == objection.code) {
                Some(at) if !acts.contains(&objection.code) => parts[at].1 += 1,
                _ => {
                    codes.push(objection.code);
                    parts.push((objection.what.clone(), 0));
                }
            }
        }
        let in_words = |(what, more): &(String, u64)| match more {
            0 => what.clone(),
            more => format!("{what} (and {} more of this kind)", text::grouped(*more)),
        };
        let mut parts = parts.iter().map(in_words);
        let (first, others) = (parts.next()?, parts.collect::<Vec<_>>().join("; "));
        let what = if others.is_empty() { first } else { format!("{first}; also: {others}") };
        objections.into_iter().next().map(|first| Self { what, ..first })
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_tlp: None,
            other_markings: OtherMarkings::Pass,
            connector_types: vec!["EXTERNAL_IMPORT".to_owned()],
            max_file: 25 << 20,
            mime_types: None,
            nested_files: Stance::Hold,
            sharing: Stance::Hold,
            vocabularies: Stance::Hold,
            connectors: None,
            record: RecordRules::default(),
        }
    }
}

impl Policy {
    /// Reads `policy.toml`; what it does not name has its default.
    ///
    /// # Errors
    /// A sentence with the line: not TOML, an unknown key, or a value that is none.
    pub fn from_toml(toml: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(toml).map_err(|error| {
            let message = text::harmless(error.message());
            match error.span() {
                Some(span) => {
                    let before = toml.as_bytes().get(..span.start).unwrap_or_default();
                    format!("line {}: {message}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
                }
                None => message,
            }
        })?;
        policy.record.fault().map_or(Ok(policy), |fault| Err(fault.to_owned()))
    }

    /// Judges an envelope. [`Code::Unsplittable`] does not count here: whether it matters depends on the sink.
    pub fn judge(&self, envelope: &Envelope) -> Verdict {
        let contents = &envelope.contents;
        // The worst comes first: who releases an envelope must not be shown a lesser reason than there is.
        let acts = contents.acts.worst_first().into_iter();
        let mut objections: Vec<Objection> =
            acts.map(|act| Objection { rank: act.rank(), ..objection(act.code, act.in_words(), &act.place) }).collect();
        let mut findings: Vec<_> = contents.findings.iter().filter(|f| f.code != Code::Unsplittable).collect();
        findings.sort_by_key(|finding| finding.code);
        objections.extend(findings.iter().map(|f| objection(f.code, f.what.clone(), &f.place)));
        let quarantine = !objections.is_empty();
        self.judge_connector(envelope, &mut objections);
        self.judge_tlp(contents, &mut objections);
        self.judge_other_markings(contents, &mut objections);
        for (stance, code, noticed) in [
            (self.sharing, Code::Sharing, &contents.sharing),
            (self.vocabularies, Code::Vocabulary, &contents.vocabularies),
            (self.nested_files, Code::NestedFile, &contents.nested_files),
        ] {
            judge_noticed(stance, code, noticed, &mut objections);
        }
        self.judge_files(contents, &mut objections);
        match objections.is_empty() {
            true => Verdict::Pass,
            false if quarantine => Verdict::Quarantine(objections),
            false => Verdict::Hold(objections),
        }
    }

    fn judge_connector(&self, envelope: &Envelope, objections: &mut Vec<Objection>) {
        let connector = &envelope.connector;
        let name = || text::harmless(&connector.name);
        if !self.connector_types.contains(&connector.kind) {
            let what = format!("the connector {} is of the type {}", name(), text::harmless(&connector.kind));
            objections.push(objection(Code::ConnectorType, what, "/connector/type"));
        }
        let Some(listed) = &self.connectors else {
            return;
        };
        match listed.get(connector.id.as_str()) {
            Some(Admission::Pass) => {}
            Some(Admission::Pause) => {
                let what = format!("the connector {} ({}) is paused", name(), connector.id);
                objections.push(objection(Code::ConnectorPaused, what, "/connector/id"));
            }
            None => {
                let what = format!("the connector {} ({}) is not listed", name(), connector.id);
                objections.push(objection(Code::ConnectorNotListed, what, "/connector/id"));
            }
        }
    }

    /// The highest level comes first.
    fn judge_tlp(&self, contents: &Contents, objections: &mut Vec<Objection>) {
        let Some(max) = self.max_tlp else { return };
        let mut add = |tlp: Tlp, what| {
            objections.push(Objection { rank: tlp as u32, ..objection(Code::Tlp, what, "/bundle/objects") });
        };
        for (tlp, (count, marking)) in contents.tlp.range((Bound::Excluded(max), Bound::Unbounded)).rev() {
            add(*tlp, format!("{}, by {}", marked(*count, *tlp), text::harmless(marking)));
        }
        // A definition that comes along may say of another id that it is a level: pycti goes by what it says.
        let unnamed = contents.markings.contains_key("*");
        for (marking, tlp) in contents.claimed_tlp.iter().filter(|(_, tlp)| **tlp > max) {
            if let Some(count) = contents.markings.get(marking).copied().or(unnamed.then_some(1)) {
                let id = text::harmless(marking);
                add(*tlp, format!("{}, by {id}, which the bundle defines so", marked(count, *tlp)));
            }
        }
        if let Some(tlp) = contents.more_claimed_tlp.filter(|tlp| *tlp > max) {
            add(tlp, "the bundle defines more levels of the traffic light protocol than are kept".to_owned());
        }
    }

    fn judge_other_markings(&self, contents: &Contents, objections: &mut Vec<Objection>) {
        for (marking, count) in &contents.markings {
            let id = marking.trim().to_ascii_lowercase();
            let passes = match &self.other_markings {
                OtherMarkings::Pass => true,
                OtherMarkings::Hold => false,
                OtherMarkings::Only(ids) => ids.contains(&id),
            };
            if passes || Tlp::of_marking(marking).is_some() {
                continue;
            }
            let bear = if *count == 1 { "bears" } else { "bear" };
            let marked = format!("{} {bear}", text::count(*count, "object"));
            let what = match marking.as_str() {
                "*" => format!("{marked} markings that are too many or too long to list"),
                _ => format!("{marked} the marking {}, which is no level of the TLP", text::harmless(marking)),
            };
            objections.push(objection(Code::Marking, what, "/bundle/objects"));
        }
    }

    fn judge_files(&self, contents: &Contents, objections: &mut Vec<Objection>) {
        for file in contents.files.iter().filter(|file| file.bytes > self.max_file) {
            let (size, max) = (text::size(file.bytes), text::size(self.max_file));
            let what = format!("an embedded file of {size}, where {max} may pass");
            objections.push(objection(Code::FileTooLarge, what, &file.place));
        }
        for (mime, count) in &contents.file_types {
            let mime = if mime == "?" { "application/octet-stream" } else { mime };
            if self.allows_mime(mime) {
                continue;
            }
            let of_type = |file: &&EmbeddedFile| file.mime.as_deref().unwrap_or("application/octet-stream") == mime;
            let place = contents.files.iter().find(of_type).map_or("/bundle/objects", |file| &file.place);
            let what = format!("{} of the type {}", text::count(*count, "embedded file"), text::harmless(mime));
            objections.push(objection(Code::FileType, what, place));
        }
    }

    fn allows_mime(&self, mime: &str) -> bool {
        let essence = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.mime_types.as_ref().is_none_or(|allowed| allowed.contains(&essence))
    }
}

impl<'de> Deserialize<'de> for Tlp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::of_word(&word)
            .ok_or_else(|| serde::de::Error::custom("max_tlp is one of clear, green, amber, amber+strict, red"))
    }
}

impl<'de> Deserialize<'de> for OtherMarkings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum StanceText {
            Word(Stance),
            Ids(Vec<String>),
        }
        match StanceText::deserialize(deserializer) {
            Ok(StanceText::Word(Stance::Pass)) => Ok(Self::Pass),
            Ok(StanceText::Word(Stance::Hold)) => Ok(Self::Hold),
            Ok(StanceText::Ids(ids)) => Ok(Self::Only(ids.iter().map(|id| id.trim().to_ascii_lowercase()).collect())),
            Err(_) => Err(serde::de::Error::custom(
                "other_markings is \"pass\", \"hold\", or a list of ids of marking definitions",
            )),
        }
    }
}

/// Whether only a person can lift what is objected to under this code.
fn is_for_a_person(code: Code) -> bool {
    matches!(code, Code::Command | Code::InternalType | Code::DuplicateKey | Code::TooMany | Code::TooLong)
}

fn marked(count: u64, tlp: Tlp) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{} {are} marked TLP:{}", text::count(count, "object"), tlp.word().to_uppercase())
}

fn judge_noticed(stance: Stance, code: Code, noticed: &Noticed, objections: &mut Vec<Objection>) {
    if stance == Stance::Pass || noticed.count == 0 {
        return;
    }
    let what = match noticed.count {
        1 => noticed.what.clone(),
        count => format!("{} ({} times)", noticed.what, text::grouped(count)),
    };
    objections.push(objection(code, what, &noticed.place));
}

fn objection(code: Code, what: String, place: &str) -> Objection {
    Objection::new(code, what, place)
}

/// A size as `"25 MiB"` or as a plain number.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum SizeText {
        Number(u64),
        Text(String),
    }
    match SizeText::deserialize(deserializer) {
        Ok(SizeText::Number(bytes)) => Ok(bytes),
        Ok(SizeText::Text(size)) => text::parse_size(&size).map_err(serde::de::Error::custom),
        Err(_) => Err(serde::de::Error::custom("a size belongs here, for example \"25 MiB\"")),
    }
}

fn mime_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let types = Vec::<String>::deserialize(deserializer)?;
    Ok(Some(types.iter().map(|mime| mime.trim().to_ascii_lowercase()).collect()))
}

#[cfg(test)]
mod tests;
