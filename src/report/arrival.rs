//! What has arrived: at the importer the code that says so, at the exporter what is acknowledged by it.

use serde::Serialize;
use zeroize::Zeroizing;

use super::{ExitStatus, Finding, Page, Report, ranges, status_of};
use crate::arrival::{ArrivalCode, ArrivedHead};
use crate::stream::{Numbers, StreamId};

/// What an importer says of a stream that is paired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArrivalLine {
    /// The stream.
    pub stream: StreamId,
    /// The batch up to which nothing is missing; none where nothing has arrived without a gap before it.
    pub sequence: Option<u64>,
    /// Lower numbers that have not arrived and are not waited for any more.
    #[serde(serialize_with = "ranges")]
    pub without: Numbers,
    /// The code that says so to the exporter.
    pub code: Option<String>,
    /// The code as it is spelled.
    #[serde(skip)]
    spelled: String,
}

impl ArrivalLine {
    /// Of what has arrived of a stream.
    pub fn of(stream: StreamId, arrived: Option<(&ArrivedHead, ArrivalCode)>) -> Self {
        Self {
            stream,
            sequence: arrived.map(|(head, _)| head.sequence),
            without: arrived.map(|(head, _)| head.without.clone()).unwrap_or_default(),
            code: arrived.map(|(_, code)| code.to_string()),
            spelled: arrived.map(|(_, code)| code.spelled()).unwrap_or_default(),
        }
    }

    /// The code and what it says; `of` names the stream, where that is not clear.
    pub(super) fn words(&self, of: &str) -> String {
        let (Some(sequence), Some(code)) = (self.sequence, &self.code) else {
            return format!("no arrival code{of} yet: batch 1 has not arrived");
        };
        let without = match self.without.is_empty() {
            true => String::new(),
            false => format!(", but {}", self.without.words()),
        };
        format!("arrival code {code} ({}): all up to batch {sequence}{of} is here{without}", self.spelled)
    }

    /// The command by which the exporter notes it; none where there is no code.
    pub(super) fn command(&self) -> Option<String> {
        let code = self.code.as_ref()?;
        let without = match self.without.is_empty() {
            true => String::new(),
            false => format!(" --without {}", self.without),
        };
        Some(format!("airpouch arrived {code}{without}"))
    }
}

/// What `arrived` noted.
#[derive(Debug, Default, Serialize)]
pub struct ArrivedReport {
    /// What the code says; none if it fits no batch.
    pub said: Option<AcknowledgedLine>,
    /// What was packed and is not acknowledged, by stream.
    pub open: Vec<UnacknowledgedLine>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What a code of arrival said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcknowledgedLine {
    /// The stream.
    pub stream: StreamId,
    /// The batch up to which nothing is missing there.
    pub sequence: u64,
    /// The code.
    pub code: String,
    /// Lower numbers that have not arrived there.
    #[serde(serialize_with = "ranges")]
    pub without: Numbers,
    /// The batches that this code was the first to acknowledge; none if it says nothing new.
    #[serde(serialize_with = "ranges")]
    pub new: Numbers,
    /// All batches of the stream that are acknowledged.
    #[serde(serialize_with = "ranges")]
    pub acknowledged: Numbers,
}

/// Batches of a stream that were packed and are not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnacknowledgedLine {
    /// The stream.
    pub stream: StreamId,
    /// The batches.
    #[serde(serialize_with = "ranges")]
    pub sequences: Numbers,
}

impl Report for ArrivedReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        if let Some(said) = &self.said {
            let (stream, sequence) = (said.stream, said.sequence);
            if said.new.is_empty() {
                page.result(format!(
                    "nothing new: all up to batch {sequence} of stream {stream} was acknowledged before"
                ));
            } else {
                page.result(format!("acknowledged: {} of stream {stream}", said.new.words()));
            }
            page.result(format!("acknowledged in all: {}", said.acknowledged.words()));
            if !said.without.is_empty() {
                page.result(format!("not there, and not waited for: {}", said.without.words()));
            }
            for open in &self.open {
                let (stream, sequences) = (open.stream, &open.sequences);
                page.result(format!("packed and not acknowledged: {} of stream {stream}", sequences.words()));
                page.result(format!(
                    "  to send again what was lost: airpouch carry MEDIUM --resend {stream}:{sequences}"
                ));
            }
        }
        page.findings(&self.findings);
    }
}

/// What `pair` made, or took from paper. It is never a document: it may hold the secret.
#[derive(Debug, Serialize)]
pub struct PairReport {
    /// By what people see that both sites have the same key.
    pub id: String,
    /// With whom, in words.
    pub with: String,
    /// At the exporter the secret, for paper.
    #[serde(skip)]
    pub paper: Option<Zeroizing<String>>,
    /// The stream for which the importer types it, where there is one.
    pub stream: Option<StreamId>,
}

impl Report for PairReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        match &self.paper {
            Some(paper) => {
                page.result(paper.as_str());
                page.note(format!(
                    "pairing {} {}: write the line above on paper, and keep it from the media",
                    self.id, self.with
                ));
                let of = self.stream.map_or_else(String::new, |stream| format!(" --stream {stream}"));
                page.note(format!(
                    "type it at the importer, once: airpouch pair{of}; it shows pairing {} too",
                    self.id
                ));
            }
            None => page.result(format!("pairing {} {}: the exporter shows the same", self.id, self.with)),
        }
    }
}
