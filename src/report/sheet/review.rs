//! The review of a month.

use super::event::events;
use super::{claims, fact, heads, sheet, table, time};
use crate::html::Html;
use crate::report::ReviewReport;
use crate::text::grouped;

impl ReviewReport {
    /// The page that a person prints and signs.
    pub fn html(&self) -> String {
        let record = &self.record;
        sheet(&format!("Review of {}", self.month), record, |html| {
            if !self.is_over {
                html.within("section class=\"state\"", |html| {
                    let made = time(&record.made);
                    html.element(
                        "b",
                        &format!("The month was not over when this was made, {made}: this is a part of it."),
                    );
                });
            }
            claims(html);
            html.within("dl", |html| {
                let totals = self.totals.words();
                fact(html, "Done", |html| {
                    html.text(&if totals.is_empty() { "no transfers".to_owned() } else { totals.join(", ") });
                });
                if let Some(unnamed) = self.totals.unnamed() {
                    fact(html, "Not named", |html| html.text(&unnamed));
                }
                fact(html, "Head before", |html| html.text(&self.begin.words()));
                fact(html, "Head at the end", |html| html.text(&self.end.words()));
            });
            if !self.connectors.is_empty() {
                connectors(html, self);
            }
            for (caption, list) in [
                ("What was held, quarantined, released, accepted and changed", self.decisions()),
                ("Transfers", self.transfers()),
            ] {
                match list.is_empty() {
                    true => html.element("p", &format!("{caption}: nothing in this month.")),
                    false => events(html, caption, &list, true),
                }
            }
        })
    }
}

fn connectors(html: &mut Html, report: &ReviewReport) {
    table(html, report.connectors.len(), "Envelopes by connector", |html| {
        heads(html, &["Connector", "In delivered batches", "Held", "Quarantined", "Released"]);
        html.within("tbody", |html| {
            for totals in &report.connectors {
                html.within("tr", |html| {
                    html.within("th scope=\"row\"", |html| {
                        html.name(&totals.connector.name);
                        html.text(" ");
                        html.element("code", &totals.connector.id);
                    });
                    for number in [totals.envelopes, totals.held, totals.quarantined, totals.released] {
                        html.element("td class=\"n\"", &grouped(number));
                    }
                });
            }
        });
    });
}
