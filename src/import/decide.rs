//! decide: what becomes of one envelope. A function of the envelope, of what is known of it, and of the rules.

use super::applicants::{Applicants, CameBy, Disagreement};
use crate::code::Code;
use crate::envelope::{self, Envelope, NotAnEnvelope};
use crate::policy::{Objection, Policy, Verdict};
use crate::sink::{Examined, Examiner, Unfit};
use crate::text::harmless;

/// What becomes of an envelope.
#[derive(Debug)]
pub enum Decision {
    /// It goes, with these bytes in the place of its own where an applicant had to be put in.
    Deliver {
        /// What the sink's examiner has made of it.
        examined: Examined,
        /// The bytes to deliver if they are not the envelope's own.
        instead: Option<Vec<u8>>,
        /// In whose name.
        applicant: Option<String>,
    },
    /// The destination has it.
    AlreadyDelivered,
    /// It was quarantined before, and stays so.
    AsBefore,
    /// There is nothing in it to deliver: no object, or none but so many that are passed over.
    Empty(u64),
    /// It waits.
    Hold(Objection),
    /// It stays until a person releases it.
    Quarantine(Objection),
}

impl Decision {
    /// What becomes of an envelope that the destination cannot take.
    pub fn of_unfit(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Empty => Self::Empty(0),
            Unfit::Hold { code, what, place } => Self::Hold(Objection::new(code, what, place)),
            Unfit::Quarantine { code, what, place } => Self::Quarantine(Objection::new(code, what, place)),
        }
    }
}

/// What is known of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// It was delivered to this destination.
    Delivered,
    /// It goes, or is set aside, in this very run.
    InThisRun,
    /// It waits since an earlier run.
    Held,
    /// It was quarantined by an earlier run.
    Quarantined,
    /// A person released it.
    Released,
}

/// The rules of a run.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What may cross.
    pub policy: &'a Policy,
    /// In whose name.
    pub applicants: &'a Applicants,
    /// The streams and signers by which it came.
    pub came_by: &'a CameBy,
    /// How the sink looks at envelopes.
    pub examiner: Examiner,
}

/// Decides. `examined` is what the sink's examiner has said of an envelope; there is none where it is no envelope.
pub fn decide(
    bytes: &[u8],
    parsed: &Result<Envelope, NotAnEnvelope>,
    examined: Option<Result<Examined, Unfit>>,
    known: Known,
    redeliver: bool,
    rules: Rules<'_>,
) -> Decision {
    match known {
        Known::Delivered if !redeliver => return Decision::AlreadyDelivered,
        Known::InThisRun => return Decision::AlreadyDelivered,
        Known::Quarantined => return Decision::AsBefore,
        _ => {}
    }
    let envelope = match parsed {
        Ok(envelope) => envelope,
        Err(fault) => {
            return Decision::Quarantine(Objection::new(fault.code(), fault.to_string(), ""));
        }
    };
    match rules.policy.judge(envelope) {
        Verdict::Pass => {}
        // A person looked at it and said so, with a reason that the ledger keeps. The site's settings still hold.
        Verdict::Quarantine(objections) if known == Known::Released => {
            let rest = objections.into_iter().filter(|o| !o.is_for_a_person()).collect();
            if let Some(objection) = Objection::of_all(rest) {
                return Decision::Hold(objection);
            }
        }
        Verdict::Quarantine(objections) => {
            if let Some(objection) = Objection::of_all(objections) {
                return Decision::Quarantine(objection);
            }
        }
        Verdict::Hold(objections) => {
            if let Some(objection) = Objection::of_all(objections) {
                return Decision::Hold(objection);
            }
        }
    }
    match examined.unwrap_or_else(|| rules.examiner.examine(bytes, envelope)) {
        Ok(Examined::Messages(messages)) if messages.count() == 0 => {
            Decision::Empty(messages.split().incompatible().len() as u64)
        }
        Ok(examined) => in_whose_name(bytes, envelope, examined, rules),
        Err(unfit) => Decision::of_unfit(unfit),
    }
}

/// `dir:` never rewrites an envelope: there the stock connector maps, and the map only decides what waits; only where
/// an envelope names nobody, and somebody is named for such, is that one value put in. Into messages goes the id that
/// the applicant has here.
fn in_whose_name(bytes: &[u8], envelope: &Envelope, examined: Examined, rules: Rules<'_>) -> Decision {
    let here = rules.examiner.maps_applicants();
    let user = match rules.applicants.user_of(rules.came_by, envelope.applicant.as_deref()) {
        Ok(user) => user,
        Err(Disagreement { keys: [one, other] }) => {
            let id = harmless(envelope.applicant.as_deref().unwrap_or_default());
            let what = format!(
                "two keys signed its batch, and the applicant {id} is mapped to {} for key {} and to {} for key {}",
                one.1, one.0, other.1, other.0
            );
            return Decision::Hold(Objection::new(Code::ApplicantOfTwoKeys, what, "/applicant_id"));
        }
    };
    match (&envelope.applicant, user) {
        (Some(id), None) => Decision::Hold(unmapped(&match rules.applicants.knows(Some(id)) {
            true => format!("the applicant {} is mapped for other streams or keys only; {}", harmless(id), came(rules)),
            false => format!("applicant {} is not mapped", harmless(id)),
        })),
        (None, None) => Decision::Hold(unmapped("the envelope names no applicant, and there is no default for those")),
        (_, Some(to)) if here => Decision::Deliver { examined, instead: None, applicant: Some(to.to_string()) },
        (Some(id), Some(_)) => Decision::Deliver { examined, instead: None, applicant: Some(id.clone()) },
        (None, Some(to)) => {
            let to = to.to_string();
            let instead = Some(envelope::with_applicant(bytes, &to));
            Decision::Deliver { examined, instead, applicant: Some(to) }
        }
    }
}

/// What is said of an envelope that is held since a run died of it; `how` the process of its own ended.
pub fn stopped_a_run(how: &str) -> Objection {
    let what = format!("a run died while it examined this envelope, and so did a process of its own: {how}");
    Objection::new(Code::StoppedARun, what, "")
}

/// What is said of an envelope of which that many runs died.
pub fn stops_runs(deaths: u32) -> Objection {
    let what = format!("{deaths} runs died while they examined this envelope; a process of its own does not");
    Objection::new(Code::StopsRuns, what, "")
}

/// By which stream and which keys an envelope came, for those who narrow a mapping.
fn came(rules: Rules<'_>) -> String {
    let CameBy { streams, signers } = rules.came_by;
    let stream = streams.first().map(|stream| format!("stream {stream}"));
    let keys = signers.iter().map(|key| format!("key {key}"));
    let all: Vec<String> = stream.into_iter().chain(keys).collect();
    format!("this one came by {}", all.join(", "))
}

fn unmapped(what: &str) -> Objection {
    Objection::new(Code::Applicant, what, "/applicant_id")
}

/// What a person can do about a connector whose id the platform has under another name.
pub const CONNECTOR_EXISTS: &str = "if it is the same feed: `airpouch import --take-over`, once; else give this one another id here: [connectors] in airpouch.toml";

/// What a person can do where the platform does not say whether it has a connector.
pub const CONNECTOR_UNKNOWN: &str = "give airpouch's user the right to look (MODULES), then `airpouch import`; or, if nobody there has that id: `airpouch import --take-over`, once";

/// What a person can do about an objection to an envelope of a connector, with the command.
pub fn advice(code: Code, sha256: crate::digest::Digest, connector: &str) -> String {
    match code {
        Code::Applicant => {
            "run `airpouch applicants`, add its lines to airpouch.toml, then `airpouch import` (no medium needed)".into()
        }
        Code::ApplicantOfTwoKeys => {
            "map it for its stream in airpouch.toml, or to one user for both keys; then `airpouch import` (no medium needed)".into()
        }
        Code::ConnectorType => {
            "allow its type in policy.toml (connector_types), if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Code::UnknownConnectorType => {
            "deliver through the platform (opencti+https://), by a site of its own: it says itself which types it knows"
                .into()
        }
        Code::ConnectorNotListed | Code::ConnectorPaused => {
            "let it pass in policy.toml ([connectors]), then `airpouch import` (no medium needed)".into()
        }
        Code::Tlp => "raise max_tlp in policy.toml, if it may cross, then `airpouch import` (no medium needed)".into(),
        Code::StoppedARun => {
            "each import tries it again in a process of its own; give the machine more memory, or fix the envelope at the exporter".into()
        }
        Code::Marking => {
            "let it pass in policy.toml (other_markings), if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Code::Sharing | Code::Vocabulary | Code::NestedFile => {
            let key = match code {
                Code::Sharing => "sharing",
                Code::Vocabulary => "vocabularies",
                _ => "nested_files",
            };
            format!("set {key} = \"pass\" in policy.toml, if such may cross, then `airpouch import` (no medium needed)")
        }
        Code::FileTooLarge | Code::FileType => {
            "allow it in policy.toml, if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Code::ConnectorName => "give the connector a longer name at the exporter; the platform would reject this one".into(),
        Code::ValidateBeforeImport => {
            "deliver through a platform of 6.4 or newer (opencti+https://), with works; or have the connector write without it"
                .into()
        }
        Code::ConnectorExists => CONNECTOR_EXISTS.into(),
        Code::ConnectorUnknown => CONNECTOR_UNKNOWN.into(),
        Code::ConnectorOfAnotherStream => format!(
            "if it is the same feed: `airpouch import --take-over={}`, once; if not, ask the exporter of that stream why",
            harmless(connector)
        ),
        Code::NotRegistered => "fix what the platform complains about, or the connector at the exporter; then `airpouch import` (no medium needed)".into(),
        Code::MessageTooLarge | Code::MessageRefused => format!(
            "raise max_message_size of the broker (and --max-message-size), then: airpouch quarantine release {} --reason TEXT",
            sha256.short()
        ),
        Code::Empty | Code::Zeros | Code::TooLarge | Code::ByteOrderMark | Code::Utf16 | Code::NotUtf8 | Code::CutOff | Code::NotJson
        | Code::TooDeep | Code::NotAnObject | Code::MissingField | Code::WrongType | Code::ConnectorId | Code::BundleType => {
            "no destination can take it; ask the exporter how it came to be packed".into()
        }
        Code::Unsplittable => "fix it at the exporter's connector: OpenCTI's own client would stop at it, or corrupt it".into(),
        _ => format!("to let it through: airpouch quarantine release {} --reason TEXT", sha256.short()),
    }
}
