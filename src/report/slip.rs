//! The slip that goes into the bag with a medium. It lies open to whoever finds the bag: it has neither keys nor the names
//! of connectors nor what kind of content it is (BSI M 2.45).

use crate::html::Html;
use crate::text::{count, size};

/// A5. Nothing on it is told by colour.
const STYLE: &str = "
@page { size: A5; margin: 12mm; }
* { box-sizing: border-box; }
body { font: 10pt/1.4 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif; color: #000; background: #fff; max-width: 124mm; margin: 0 auto; padding: 4mm; }
h1 { font-size: 16pt; margin: 0 0 3mm; }
table { border-collapse: collapse; width: 100%; margin: 0 0 4mm; }
caption { text-align: left; font-weight: bold; padding: 1mm 0; }
th, td { border: 0.5pt solid #000; padding: 1.1mm 2mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 30mm; }
tr { break-inside: avoid; }
.code { font-size: 13pt; font-weight: bold; letter-spacing: 0.5pt; }
.sign th { width: auto; }
.sign tbody td { height: 9mm; }
.sign th:first-child, .sign td:first-child { width: 27mm; }
p { font-size: 8pt; margin: 0; }
@media print { body { padding: 0; max-width: none; } }
";

/// What a slip says.
#[derive(Debug, Default)]
pub struct Slip {
    /// The site from which it comes.
    pub from: String,
    /// The zone to which it goes.
    pub to: String,
    /// The numbers of its batches, each stream in a text of its own.
    pub batches: Vec<String>,
    /// How many there are.
    pub number: u64,
    /// Their bytes on the medium.
    pub bytes: u64,
    /// The code of the newest batch, which the other side shows too.
    pub code: Option<String>,
    /// When they were packed, the first and the last one.
    pub packed: Option<(String, String)>,
    /// When they were carried to the medium.
    pub carried: String,
    /// When they must have arrived; none if nothing was promised.
    pub latest: Option<String>,
    /// What is known of the medium, each with its word; empty to be filled in by hand.
    pub medium: [(&'static str, String); 2],
    /// Who carries, who looked on, and by which ticket, each with its word.
    pub persons: [(&'static str, String); 3],
}

impl Slip {
    /// The slip as a page.
    pub fn html(&self) -> String {
        Html::page("Slip for a medium", STYLE, |html| {
            html.element("h1", "Medium in transfer");
            html.within("table", |html| {
                html.element("caption", "What is in this bag");
                html.within("tbody", |html| {
                    self.rows(html);
                });
            });
            html.within("table class=\"sign\"", |html| {
                html.element("caption", "Handed over");
                html.within("thead", |html| {
                    html.within("tr", |html| {
                        for head in ["", "Name", "Date, time", "Signature"] {
                            html.element(if head.is_empty() { "td" } else { "th scope=\"col\"" }, head);
                        }
                    });
                });
                html.within("tbody", |html| {
                    for who in ["Given by", "Taken by", "Received by"] {
                        html.within("tr", |html| {
                            html.element("th scope=\"row\"", who);
                            (0..3).for_each(|_| html.element("td", ""));
                        });
                    }
                });
            });
            html.element(
                "p",
                "Times are those of the clock at the origin, in UTC. Names and ticket are as they were given there.",
            );
        })
    }

    fn rows(&self, html: &mut Html) {
        let row = |html: &mut Html, name: &str, value: &str| {
            html.within("tr", |html| {
                html.element("th scope=\"row\"", name);
                html.within("td", |html| html.name(value));
            });
        };
        row(html, "From", &self.from);
        row(html, "To zone", &self.to);
        row(html, "Batches", &self.batches.join("; "));
        row(html, "Number, size", &format!("{}, {}", count(self.number, "batch"), size(self.bytes)));
        if let Some(code) = &self.code {
            html.within("tr", |html| {
                html.element("th scope=\"row\"", "Head code");
                html.element("td class=\"code\"", code);
            });
        }
        if let Some((first, last)) = &self.packed {
            let packed = if first == last { first.clone() } else { format!("{first} to {last}") };
            row(html, "Packed", &packed);
        }
        row(html, "Carried", &self.carried);
        row(html, "Latest arrival", self.latest.as_deref().unwrap_or("not promised"));
        for (name, value) in self.medium.iter().chain(&self.persons) {
            row(html, name, value);
        }
    }
}
