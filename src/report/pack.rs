//! What `pack` did, and `carry` right after it.

use serde::Serialize;

use super::{BatchLine, CarryReport, ExitStatus, Finding, Page, Report, by_stream, lost_for_now, ranges, status_of};
use crate::stream::{Numbers, StreamId};
use crate::text::{count, grouped};

/// What `pack` did.
#[derive(Debug, Default, Serialize)]
pub struct PackReport {
    /// Batches that were sealed and signed in this run.
    pub packed: Vec<BatchLine>,
    /// Batches sealed by an earlier run that this one signed and placed.
    pub completed: Vec<BatchLine>,
    /// Batches that the outbox had lost parts of, completed or signed again.
    pub restored: Vec<BatchLine>,
    /// Batches that were given up in this run: they will never come.
    pub given_up: Vec<BatchLine>,
    /// What became of the envelopes of batches that were given up.
    pub lost: Vec<LostBatch>,
    /// Files with a name and a kind that is input.
    pub looked_at: u64,
    /// Files not opened, since nothing about them has changed.
    pub unchanged: u64,
    /// Files whose content this stream has packed already, under whatever name.
    pub already_packed: u64,
    /// Files that are no valid envelope, newly or as before.
    pub refused: u64,
    /// Those that an earlier run had told of.
    pub refused_before: u64,
    /// Files that were gone before they could be opened.
    pub gone: u64,
    /// Files that were being written while they were read.
    pub changing: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A batch that will never come, and what became of its envelopes.
#[derive(Debug, Serialize)]
pub struct LostBatch {
    /// Its stream.
    pub stream: StreamId,
    /// Its number, which stays used.
    pub sequence: u64,
    /// How many envelopes it had.
    pub envelopes: u64,
    /// How many of them were packed again.
    pub packed_again: u64,
    /// In which batches.
    #[serde(serialize_with = "ranges")]
    pub within: Numbers,
    /// Names of those that were not, as far as they are known: the first few.
    pub not_packed: Vec<String>,
}

/// What `pack` did, and `carry` right after it where a medium was named.
#[derive(Debug, Default, Serialize)]
pub struct PackAndCarryReport {
    /// What was packed.
    pub pack: PackReport,
    /// What was carried; nothing without a medium.
    pub carry: Option<CarryReport>,
}

impl Report for PackAndCarryReport {
    fn exit(&self) -> ExitStatus {
        let carried = self.carry.as_ref().map_or(ExitStatus::Done, Report::exit);
        let packed = self.pack.exit();
        if packed.code() >= carried.code() { packed } else { carried }
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        self.pack.write(page);
        if let Some(carry) = &self.carry {
            carry.write(page);
        }
    }
}

impl Report for PackReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for batch in &self.completed {
            let (sequence, envelopes) = (batch.sequence, count(batch.envelopes, "envelope"));
            page.result(format!("signed batch {sequence}, which an earlier run had sealed: {envelopes}"));
        }
        for (numbers, _) in by_stream(&self.restored).into_values() {
            let (is, takes) = if numbers.only().is_some() { ("is", "it") } else { ("are", "them") };
            page.result(format!("{} {is} whole in the outbox again: airpouch carry takes {takes}", numbers.words()));
        }
        self.write_given_up(page);
        page.findings(&self.findings);
        if self.changing > 0 {
            page.note(format!("{} being written; they are looked at in the next run", count(self.changing, "file")));
        }
        if self.gone > 0 && !self.packed.is_empty() {
            page.note(format!("{} gone before they could be read", count(self.gone, "file")));
        }
        if self.packed.is_empty() && self.findings.is_empty() {
            page.idle(format!(
                "nothing new: {} of {} packed before, {} no envelopes",
                grouped(self.already_packed),
                count(self.looked_at, "file"),
                grouped(self.refused)
            ));
        }
    }
}

impl PackReport {
    /// Batches that will never come: what became of them, where a pack knows it by now, and what the importer does.
    fn write_given_up(&self, page: &mut Page<'_>) {
        let is_told = |b: &&BatchLine| self.lost.iter().any(|l| l.stream == b.stream && l.sequence == b.sequence);
        let unknown: Vec<BatchLine> = self.given_up.iter().filter(|batch| !is_told(batch)).cloned().collect();
        for (numbers, size) in by_stream(&unknown).into_values() {
            page.result(lost_for_now(&numbers, "", size));
        }
        for lost in &self.lost {
            let numbers = Numbers::from_iter([lost.sequence]);
            page.result(never_comes(&numbers, lost.envelopes, lost.packed_again, &lost.within));
        }
        for (stream, (numbers, _)) in by_stream(&self.given_up) {
            page.note(format!(
                "the importer waits for {} until somebody accepts the loss there: airpouch stream accept {stream} {numbers} --reason \"lost at the exporter\"",
                numbers.words()
            ));
        }
    }
}

/// Batches that will never come, in one sentence.
pub fn never_comes(numbers: &Numbers, envelopes: u64, again: u64, within: &Numbers) -> String {
    let its = if numbers.only().is_some() { "its" } else { "their" };
    let all = count(envelopes, "envelope");
    let packed = match again {
        _ if envelopes == 0 => String::new(),
        0 => format!("; none of {its} {all} was packed again"),
        _ => {
            let part = if again < envelopes { format!("{} of ", grouped(again)) } else { String::new() };
            let verb = if again == 1 { "was" } else { "were" };
            let within = if within.is_empty() { String::new() } else { format!(" in {}", within.words()) };
            format!("; {part}{its} {all} {verb} packed again{within}")
        }
    };
    format!("{} will never come: {its} files were lost{packed}", numbers.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_batches_are_reported_in_one_sentence() {
        let of = |n: &str| n.parse::<Numbers>().unwrap();
        let none = Numbers::default();
        assert_eq!(
            never_comes(&of("2"), 14, 14, &of("8")),
            "batch 2 will never come: its files were lost; its 14 envelopes were packed again in batch 8"
        );
        assert_eq!(
            never_comes(&of("2,5"), 14, 1, &of("8-9")),
            "batches 2 and 5 will never come: their files were lost; 1 of their 14 envelopes was packed again in batches 8 to 9"
        );
        assert_eq!(
            never_comes(&of("2"), 3, 0, &none),
            "batch 2 will never come: its files were lost; none of its 3 envelopes was packed again"
        );
        assert_eq!(never_comes(&of("2"), 0, 0, &none), "batch 2 will never come: its files were lost");
    }
}
