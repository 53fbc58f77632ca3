//! What is told while a run goes on: the first batches one by one, then in groups, each ten times as large as the one
//! before. Thousands of batches are a few lines, and whoever looks on still sees that it goes on.

use super::{BatchLine, DeliveredBatch, Event, Outcome};
use crate::stream::{Numbers, StreamId};
use crate::text::{count, grouped, size};

/// Batches that are told one by one.
const ONE_BY_ONE: u32 = 5;

/// Lines of events, with those that are not told yet.
#[derive(Debug, Default)]
pub struct News {
    /// Batches that are alike and not told yet.
    group: Option<BatchGroup>,
    /// The last kind, and how many lines it had.
    lines: Option<(EventKind, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventKind {
    Packed,
    Taken,
    Delivered,
}

/// Batches of one stream with which the same was done.
#[derive(Debug)]
struct BatchGroup {
    kind: EventKind,
    stream: StreamId,
    zone: String,
    late: bool,
    numbers: Vec<u64>,
    envelopes: u64,
    bytes: u64,
    packed: u64,
    outcome: Outcome,
}

impl News {
    /// The lines to print now.
    pub fn event(&mut self, event: &Event<'_>) -> Vec<String> {
        let (kind, batch, late, outcome) = match event {
            Event::InCustody(batches) => return self.rest().into_iter().chain([in_custody(*batches)]).collect(),
            Event::Packed(batch) => (EventKind::Packed, *batch, false, Outcome::default()),
            Event::Taken(batch) => (EventKind::Taken, *batch, false, Outcome::default()),
            Event::Delivered(DeliveredBatch { batch, late, outcome }) => (EventKind::Delivered, batch, *late, *outcome),
        };
        let before = self.rest_unless(|group| group.kind == kind && group.stream == batch.stream && group.late == late);
        let group = self.group.get_or_insert_with(|| BatchGroup::new(kind, batch, late));
        group.add(batch, outcome);
        let lines = self.lines.filter(|(of, _)| *of == kind).map_or(0, |(_, lines)| lines);
        let full = 10_usize.saturating_pow((lines + 1).saturating_sub(ONE_BY_ONE));
        let now = if group.numbers.len() >= full { self.rest() } else { None };
        before.into_iter().chain(now).collect()
    }

    /// The line of what is not told yet.
    pub fn rest(&mut self) -> Option<String> {
        self.rest_unless(|_| false)
    }

    fn rest_unless(&mut self, goes_on: impl Fn(&BatchGroup) -> bool) -> Option<String> {
        let group = self.group.take_if(|group| !goes_on(group))?;
        let lines = self.lines.filter(|(of, _)| *of == group.kind).map_or(0, |(_, lines)| lines);
        self.lines = Some((group.kind, lines + 1));
        Some(group.line())
    }
}

impl BatchGroup {
    fn new(kind: EventKind, batch: &BatchLine, late: bool) -> Self {
        let (stream, zone) = (batch.stream, batch.zone.clone());
        let outcome = Outcome::default();
        Self { kind, stream, zone, late, numbers: Vec::new(), envelopes: 0, bytes: 0, packed: 0, outcome }
    }

    fn add(&mut self, batch: &BatchLine, outcome: Outcome) {
        self.numbers.push(batch.sequence);
        self.envelopes += batch.envelopes;
        self.bytes += batch.bytes;
        self.packed += batch.packed;
        self.outcome = self.outcome.and(outcome);
    }

    fn line(&self) -> String {
        let numbers = self.numbers.iter().copied().collect::<Numbers>().words();
        let envelopes = count(self.envelopes, "envelope");
        let in_it = match (self.envelopes, self.numbers.len()) {
            (0, 1) => "a heartbeat".to_owned(),
            (0, _) => "heartbeats".to_owned(),
            _ => format!("{envelopes}, {}", size(self.bytes)),
        };
        match self.kind {
            EventKind::Packed => {
                format!("packed {numbers} for zone {}: {in_it}, {} packed", self.zone, size(self.packed))
            }
            EventKind::Taken => format!("taken {numbers} of stream {}: {in_it}", self.stream),
            EventKind::Delivered => {
                let late = if self.late { " (arrived late)" } else { "" };
                format!("{numbers}{late}: {}", self.became(&envelopes))
            }
        }
    }

    /// What became of the envelopes, the zeros left out.
    fn became(&self, envelopes: &str) -> String {
        let outcome = &self.outcome;
        let others = [
            (outcome.already_delivered, "delivered before"),
            (outcome.empty, "with nothing to deliver"),
            (outcome.held, "held"),
            (outcome.quarantined, "quarantined"),
            (outcome.deferred, "not delivered yet"),
        ];
        if self.envelopes == 0 {
            return "heartbeat (no new envelopes)".to_owned();
        }
        let all = [(outcome.delivered, "delivered")].into_iter().chain(others).find(|(n, _)| *n == self.envelopes);
        if let Some((_, word)) = all {
            return format!("{envelopes} {word}");
        }
        let others: Vec<String> =
            others.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", grouped(*n))).collect();
        if outcome.delivered == 0 && others.is_empty() {
            return format!("nothing new in {envelopes}");
        }
        let delivered = format!("{} of {envelopes} delivered", grouped(outcome.delivered));
        [vec![delivered], others].concat().join(", ")
    }
}

fn in_custody(batches: u64) -> String {
    match batches {
        1 => "the medium may leave: its batch is in custody".to_owned(),
        batches => format!("the medium may leave: {} are in custody", count(batches, "batch")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn batch(sequence: u64) -> BatchLine {
        let stream = StreamId::parse("3f0c6f3e-58a1-4d0b-9a6e-5b1f0c2d7e94").unwrap();
        let sha256 = Digest::of(b"");
        BatchLine { stream, sequence, sha256, zone: "default".to_owned(), envelopes: 20, bytes: 1024, packed: 512 }
    }

    #[test]
    fn news_of_3_600_batches_are_a_few_lines() {
        let (mut news, mut lines) = (News::default(), Vec::new());
        (1..=3600).for_each(|n| lines.extend(news.event(&Event::Taken(&batch(n)))));
        lines.extend(news.event(&Event::InCustody(3600)));
        for n in 1..=3600 {
            let outcome = Outcome { delivered: 19, held: 1, ..Outcome::default() };
            lines.extend(news.event(&Event::Delivered(&DeliveredBatch { batch: batch(n), late: false, outcome })));
        }
        lines.extend(news.rest());
        assert_eq!(lines.len(), 9 + 1 + 9, "{lines:#?}");
        assert!(lines[0].starts_with("taken batch 1 of stream 3f0c6f3e") && lines[4].starts_with("taken batch 5 of"));
        assert!(lines[5].starts_with("taken batches 6 to 15 of stream"), "{}", lines[5]);
        assert!(lines[5].ends_with(": 200 envelopes, 10 KiB"), "{}", lines[5]);
        assert_eq!(lines[9], "the medium may leave: 3,600 batches are in custody");
        assert_eq!(lines[10], "batch 1: 19 of 20 envelopes delivered, 1 held");
        assert_eq!(lines[18], "batches 1116 to 3600: 47,215 of 49,700 envelopes delivered, 2,485 held");
        assert_eq!(news.rest(), None);
    }

    #[test]
    fn news_of_late_batches_and_heartbeats_have_lines_of_their_own() {
        let mut news = News::default();
        let beat = |n| BatchLine { envelopes: 0, bytes: 0, ..batch(n) };
        assert_eq!(
            news.event(&Event::Packed(&beat(1))),
            ["packed batch 1 for zone default: a heartbeat, 512 bytes packed"]
        );
        for n in 2..=7 {
            let done = DeliveredBatch { batch: batch(n), late: false, outcome: Outcome::default() };
            news.event(&Event::Delivered(&done));
        }
        let late = DeliveredBatch { batch: batch(1), late: true, outcome: Outcome::default() };
        assert_eq!(news.event(&Event::Delivered(&late)), ["batch 7: nothing new in 20 envelopes"]);
        assert_eq!(news.rest().unwrap(), "batch 1 (arrived late): nothing new in 20 envelopes");
    }
}
