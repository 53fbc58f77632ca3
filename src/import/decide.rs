//! decide: what becomes of one envelope. A function of the envelope, of what is known of it, and of the rules.

use crate::applicants::{Applicants, CameBy, Disagreement};
use crate::code::Code;
use crate::envelope::{self, Envelope, NotAnEnvelope};
use crate::fit::{Examined, Examiner, Unfit};
use crate::policy::{Objection, Policy, Verdict};
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

/// An envelope that is to be decided on.
pub struct Case<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What they say, if they are one.
    pub parsed: &'a Result<Envelope, NotAnEnvelope>,
    /// What the sink's examiner has said of it, if it was asked already.
    pub examined: Option<Result<Examined, Unfit>>,
    /// What is known of it.
    pub known: Known,
    /// Whether it goes again where it was delivered.
    pub redeliver: bool,
}

/// Decides what becomes of an envelope.
pub fn decide(case: Case<'_>, rules: Rules<'_>) -> Decision {
    let Case { bytes, parsed, examined, known, redeliver } = case;
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
