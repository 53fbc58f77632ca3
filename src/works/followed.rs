//! What the platform says of works that were closed.

use super::SentWork;
use crate::code::Code;
use crate::opencti::work::{ErrorKind, IngestError, WorkThere};
use crate::report::{Finding, NamedConnector};
use crate::stream::StreamId;
use crate::text::{count, harmless};

/// A work that was closed, and what the platform says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedWork {
    /// The work.
    pub work: SentWork,
    /// What it was for.
    pub about: AboutWork,
    /// How far it has come.
    pub state: FollowState,
    /// Messages that workers have reported; at the end all that it had.
    pub processed: u64,
    /// Messages that the platform expects; none where it does not say.
    pub expected: Option<u64>,
    /// Objects that were not ingested.
    pub failed: u64,
    /// Objects that the platform's own rules refuse.
    pub refused: u64,
    /// The first errors, [`FIRST_ERRORS`] at most, those of failures before those of rules.
    pub first: Vec<IngestError>,
}

/// How far a work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowState {
    /// Messages of it still wait, as far as the platform knows.
    Waiting,
    /// Workers have reported all of it.
    Ended,
    /// The platform removes works some days after they ended, and so it has done.
    Removed,
    /// It is gone before that: somebody cleared it. Workers skip what still waited.
    Cleared,
}

impl FollowState {
    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Removed => "removed",
            Self::Cleared => "cleared",
        }
    }
}

/// How many errors of a work are kept.
pub const FIRST_ERRORS: usize = 3;

impl FollowedWork {
    /// A work that the platform has, with its errors.
    pub fn there(work: SentWork, about: AboutWork, there: &WorkThere, errors: &[IngestError]) -> Self {
        let of_kind = |kind| errors.iter().filter(move |error| error.kind == kind);
        let known = |kind| of_kind(kind).count() as u64;
        // Beyond those that were read nobody knows the kind.
        let failed = (there.errors as u64).saturating_sub(known(ErrorKind::Refused) + known(ErrorKind::Ours));
        let first = of_kind(ErrorKind::Failed).chain(of_kind(ErrorKind::Refused)).take(FIRST_ERRORS).cloned().collect();
        Self {
            work,
            about,
            state: if there.is_complete { FollowState::Ended } else { FollowState::Waiting },
            processed: there.processed.unwrap_or_default(),
            expected: there.expected,
            failed,
            refused: known(ErrorKind::Refused),
            first,
        }
    }

    /// A work that is gone.
    pub fn gone(work: SentWork, about: AboutWork, is_removed: bool) -> Self {
        let state = if is_removed { FollowState::Removed } else { FollowState::Cleared };
        Self { work, about, state, processed: 0, expected: None, failed: 0, refused: 0, first: Vec::new() }
    }

    /// What failed first, in words; none if nothing did.
    pub fn what(&self) -> Option<String> {
        let first = self.first.iter().find(|error| error.kind == ErrorKind::Failed);
        (self.failed > 0).then(|| first.map(in_words).unwrap_or_default())
    }
}

/// An error in words: its code, the platform's words and the object.
pub fn in_words(error: &IngestError) -> String {
    let code = error.code.as_deref().map_or_else(String::new, |code| format!("{}: ", harmless(code)));
    let object = error.object.as_deref().map_or_else(String::new, |object| format!(" ({})", harmless(object)));
    format!("{code}{}{object}", harmless(&error.words))
}

/// What a work was for, as findings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AboutWork {
    /// Its id.
    pub work: String,
    /// The stream of its batch.
    pub stream: StreamId,
    /// The number of its batch.
    pub sequence: u64,
    /// The connector's id.
    pub connector: String,
    /// The connector's name.
    pub name: String,
}

impl AboutWork {
    /// Its connector, safe to print.
    pub fn named_connector(&self) -> NamedConnector {
        NamedConnector { id: harmless(&self.connector), name: harmless(&self.name) }
    }

    fn finding(&self, code: Code, what: String) -> Finding {
        Finding::new(code, what)
            .of_batch(self.stream, self.sequence)
            .of_connector(harmless(&self.connector), harmless(&self.name))
            .at(harmless(&self.work))
    }

    fn objects(&self, number: u64) -> String {
        format!("{} of {} in batch {}", count(number, "object"), harmless(&self.name), self.sequence)
    }

    /// The finding about objects that were not ingested, the first of them in words.
    pub fn failed(&self, errors: u64, what: &str) -> Finding {
        let first = if what.is_empty() { String::new() } else { format!("; the first: {what}") };
        let were = if errors == 1 { "was" } else { "were" };
        let what = format!("{} {were} not ingested by the platform{first}", self.objects(errors));
        self.finding(Code::IngestFailed, what).advise(format!(
            "mend what the platform names; then deliver again what is in the inbox: airpouch import --redeliver; or accept the loss: airpouch stream accept {} {} --reason TEXT",
            self.stream, self.sequence
        ))
    }

    /// The finding about objects that the platform's rules refuse.
    pub fn refused(&self, errors: u64, first: Option<&IngestError>) -> Finding {
        let first = first.map_or_else(String::new, |error| format!("; the first: {}", in_words(error)));
        let what = format!("the platform's own rules refuse {}{first}", self.objects(errors));
        self.finding(Code::IngestRefused, what)
            .advise("they are refused again whenever they come; change the rule there, or the feed")
    }

    /// The finding about a work that was removed before anybody asked.
    pub fn removed(&self, days: u64) -> Finding {
        let what = format!(
            "the work of {} for batch {} was gone, as the platform removes works {} after they ended; nobody knows how it ended",
            harmless(&self.name),
            self.sequence,
            count(days, "day")
        );
        self.finding(Code::WorkUnknown, what).advise("run airpouch follow more often, such as each hour")
    }
}
