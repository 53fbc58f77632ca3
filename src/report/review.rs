//! What was done in a month, for the person who goes through it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DossierReport, ExitStatus, Logged, NamedConnector, Page, Report, status_of};
use crate::text::{count, harmless};

/// What was done in a month.
#[derive(Debug, Default, Serialize)]
pub struct ReviewReport {
    /// The month, such as `2026-11`.
    pub month: String,
    /// Whether it was over when this was made.
    pub is_over: bool,
    /// Where the journal ended before the month.
    pub begin: JournalPoint,
    /// Where it ended at the end of the month, or ends now.
    pub end: JournalPoint,
    /// How much was done.
    pub totals: MonthTotals,
    /// The same by connector, the largest first.
    pub connectors: Vec<ConnectorTotals>,
    /// The batches with which something was done in the month, with what was done then.
    pub record: DossierReport,
}

/// How far a journal had come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalPoint {
    /// How many lines it had.
    pub lines: u64,
    /// The digest of the last one, in hex; none where it had none.
    pub sha256: Option<String>,
}

/// How much was done in a month.
#[derive(Debug, Default, Serialize)]
pub struct MonthTotals {
    /// Batches that were packed.
    pub packed: u64,
    /// Batches that were carried to a medium, each as often as it was.
    pub carried: u64,
    /// Batches that were taken from media.
    pub taken: u64,
    /// Batches that were delivered.
    pub delivered: u64,
    /// Batches that were delivered once more, because a person asked for it.
    pub redelivered: u64,
    /// Envelopes in batches that were packed or delivered.
    pub envelopes: u64,
    /// Envelopes that were held.
    pub held: u64,
    /// Envelopes that were quarantined.
    pub quarantined: u64,
    /// Envelopes that a person let through.
    pub released: u64,
    /// Packed, carried, taken or delivered without the name of a person.
    pub without_operator: u64,
    /// The same without a ticket.
    pub without_ticket: u64,
}

/// How much was done with the envelopes of one connector.
#[derive(Debug, Serialize)]
pub struct ConnectorTotals {
    /// The connector.
    #[serde(flatten)]
    pub connector: NamedConnector,
    /// Its envelopes in batches that were delivered.
    pub envelopes: u64,
    /// Those that were held.
    pub held: u64,
    /// Those that were quarantined.
    pub quarantined: u64,
    /// Those that a person let through.
    pub released: u64,
}

impl ConnectorTotals {
    fn none(connector: &NamedConnector) -> Self {
        Self { connector: connector.clone(), envelopes: 0, held: 0, quarantined: 0, released: 0 }
    }
}

impl ReviewReport {
    /// The review of a month, of what the journal has of it.
    pub fn of(month: &str, is_over: bool, begin: JournalPoint, end: JournalPoint, record: DossierReport) -> Self {
        let mut report = Self { month: month.to_owned(), is_over, begin, end, record, ..Self::default() };
        report.count();
        report
    }

    fn count(&mut self) {
        let mut connectors: BTreeMap<String, ConnectorTotals> = BTreeMap::new();
        let mut of = |connector: &NamedConnector, add: &dyn Fn(&mut ConnectorTotals)| {
            let totals = connectors.entry(connector.id.clone()).or_insert_with(|| ConnectorTotals::none(connector));
            add(totals);
        };
        let mut totals = MonthTotals::default();
        for batch in &self.record.batches {
            for connector in &batch.connectors {
                of(&connector.connector, &|totals| totals.envelopes += connector.envelopes);
            }
            for group in &batch.set_aside {
                let is_held = group.event == "held";
                let sum = if is_held { &mut totals.held } else { &mut totals.quarantined };
                *sum += group.envelopes;
                of(&group.connector, &|totals| {
                    let sum = if is_held { &mut totals.held } else { &mut totals.quarantined };
                    *sum += group.envelopes;
                });
            }
            totals.released += batch.released.len() as u64;
            batch.released.iter().for_each(|release| of(&release.connector, &|totals| totals.released += 1));
            for event in &batch.events {
                totals.count(event);
            }
        }
        self.totals = totals;
        self.connectors = connectors.into_values().collect();
        self.connectors.sort_by_key(|totals| std::cmp::Reverse(totals.envelopes));
    }

    /// What was packed, carried, taken, delivered and delivered again in the month, oldest first.
    pub fn transfers(&self) -> Vec<&Logged> {
        self.events(is_transfer)
    }

    /// What was held or quarantined, and what persons decided.
    pub fn decisions(&self) -> Vec<&Logged> {
        self.events(|event| {
            !is_transfer(event) && !["admitted", "pruned", "aside-delivered"].contains(&event.of("event"))
        })
    }

    fn events(&self, is: impl Fn(&Logged) -> bool) -> Vec<&Logged> {
        let of_batches = self.record.batches.iter().flat_map(|batch| &batch.events);
        let mut events: Vec<&Logged> = of_batches.chain(&self.record.others).filter(|event| is(event)).collect();
        events.sort_by_key(|event| event.count_of("n"));
        events
    }
}

fn is_transfer(event: &Logged) -> bool {
    ["packed", "carried", "taken", "delivered", "redelivered"].contains(&event.of("event"))
}

impl MonthTotals {
    fn count(&mut self, event: &Logged) {
        match event.of("event") {
            "packed" => self.packed += 1,
            "carried" => self.carried += 1,
            "taken" => self.taken += 1,
            "delivered" => self.delivered += 1,
            "redelivered" => self.redelivered += 1,
            _ => return,
        }
        if ["packed", "delivered"].contains(&event.of("event")) {
            self.envelopes += event.count_of("envelopes").unwrap_or(0);
        }
        self.without_operator += u64::from(event.of("operator").is_empty());
        self.without_ticket += u64::from(event.of("ticket").is_empty());
    }

    /// How much was done, in words.
    pub fn words(&self) -> Vec<String> {
        let all = [
            (self.packed, "batch", "packed"),
            (self.carried, "batch", "carried"),
            (self.taken, "batch", "taken"),
            (self.delivered, "batch", "delivered"),
            (self.envelopes, "envelope", "in them"),
            (self.redelivered, "batch", "delivered again"),
            (self.held, "envelope", "held"),
            (self.quarantined, "envelope", "quarantined"),
            (self.released, "envelope", "released"),
        ];
        let done = all.iter().filter(|(number, ..)| *number > 0);
        done.map(|(number, noun, verb)| format!("{} {verb}", count(*number, noun))).collect()
    }

    /// What names no person or no ticket, in words; nothing where all do.
    pub fn unnamed(&self) -> Option<String> {
        let (operator, ticket) = (self.without_operator, self.without_ticket);
        (operator + ticket > 0).then(|| {
            format!(
                "{} without the name of an operator, {} without a ticket",
                count(operator, "event"),
                count(ticket, "event")
            )
        })
    }
}

impl JournalPoint {
    /// The lines, and the digest of the last one.
    pub fn words(&self) -> String {
        let digest = self.sha256.as_ref().map(|sha256| format!(", the last one with SHA-256 {sha256}"));
        format!("{}{}", count(self.lines, "line"), digest.unwrap_or_default())
    }
}

impl Report for ReviewReport {
    fn exit(&self) -> ExitStatus {
        status_of(&self.record.findings)
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let record = &self.record;
        page.findings(&record.findings);
        page.result(format!("review of {} at the {} {}", self.month, record.side, record.site));
        if !self.is_over {
            page.result(format!("  the month was not over when this was made, {}", record.made));
        }
        page.result(format!("  journal: {}", record.verdict()));
        page.result(format!("  journal before the month: {}", self.begin.words()));
        page.result(format!("  journal at its end: {}", self.end.words()));
        let totals = self.totals.words();
        page.result(format!("  {}", if totals.is_empty() { "no transfers".to_owned() } else { totals.join(", ") }));
        if let Some(unnamed) = self.totals.unnamed() {
            page.result(format!("  {unnamed}"));
        }
        for (title, events) in [("transfers", self.transfers()), ("other events", self.decisions())] {
            if !events.is_empty() {
                page.result(format!("{title}:"));
                events.iter().for_each(|event| page.result(event.line()));
            }
        }
        if !self.connectors.is_empty() {
            page.result("connectors:");
        }
        for totals in &self.connectors {
            let name = harmless(&format!("{} ({})", totals.connector.name, totals.connector.id));
            page.result(format!(
                "  {name}: {}, {} held, {} quarantined, {} released",
                count(totals.envelopes, "envelope"),
                totals.held,
                totals.quarantined,
                totals.released
            ));
        }
    }
}
