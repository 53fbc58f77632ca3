//! Where journals end, as codes that people say.

use serde::Serialize;

use super::{Page, Report};
use crate::stream::StreamId;
use crate::text::count;

/// What `witness` shows, and what it noted.
#[derive(Debug, Default, Serialize)]
pub struct WitnessReport {
    /// Where the journal of this site ends; none where it has none yet.
    pub own: Option<HeadCode>,
    /// Where the journals of the other side ended when their media came.
    pub others: Vec<HeadCode>,
    /// The code that was noted.
    pub noted: Option<String>,
}

/// The end of a journal.
#[derive(Debug, Serialize)]
pub struct HeadCode {
    /// Its code.
    pub code: String,
    /// How many lines it had.
    pub lines: u64,
    /// The stream with whose batches it came; none for that of this site.
    pub stream: Option<StreamId>,
    /// When it came.
    pub at: Option<String>,
}

impl Report for WitnessReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        if let Some(code) = &self.noted {
            page.result(format!("noted: the journal of the other side has the code {code}"));
            return;
        }
        match &self.own {
            Some(own) => {
                page.result(format!("{}  the journal of this site, {}", own.code, count(own.lines, "line")));
                page.note("say it to the other side, which notes it: airpouch witness CODE");
            }
            None => page.result("this site has no journal yet"),
        }
        for other in &self.others {
            let (lines, at) = (count(other.lines, "line"), other.at.as_deref().unwrap_or("-"));
            let stream = other.stream.map(|stream| stream.to_string()).unwrap_or_default();
            page.result(format!(
                "{}  the journal of the exporter of stream {stream}, {lines}, as it came {at}",
                other.code
            ));
        }
        if !self.others.is_empty() {
            page.note("say these to the exporter, which looks for them in its journal: airpouch audit --code CODE");
        }
    }
}
