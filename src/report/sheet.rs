//! Pages to print and sign: what every one of them has at its head and at its foot, and a table of events.

mod event;
mod record;
mod review;

use super::DossierReport;
use crate::html::Html;
use crate::text::count;

/// A4, black on white, nothing told by colour alone. A row is not parted, and the head of a table comes again on each page.
const STYLE: &str = "
@page { size: A4; margin: 14mm 13mm 17mm; @bottom-left { content: 'airpouch: made from the journal of one site'; font: 7.5pt sans-serif; }
  @bottom-right { content: 'page ' counter(page) ' of ' counter(pages); font: 7.5pt sans-serif; } }
* { box-sizing: border-box; }
body { font: 9pt/1.35 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif; color: #000; background: #fff; max-width: 200mm; margin: 0 auto; padding: 6mm; }
h1 { font-size: 16pt; margin: 0 0 3mm; }
h2 { font-size: 11.5pt; margin: 7mm 0 1.5mm; padding-top: 1.5mm; border-top: 1.5pt solid #000; break-after: avoid; overflow-wrap: anywhere; }
p { margin: 0 0 2mm; }
ul { margin: 0 0 2mm; padding-left: 5mm; }
.state { border: 1pt solid #000; padding: 2mm 3mm; margin: 0 0 3mm; }
.broken { border: 4pt double #000; font-size: 11pt; }
.state p:last-child, .state ul:last-child { margin: 0; }
.state b { display: block; }
.note { font-size: 8pt; }
dl { display: grid; grid-template-columns: 32mm 1fr; gap: 0 3mm; margin: 0 0 2mm; break-inside: avoid; }
dt { font-weight: bold; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 0 0 3mm; font-size: 8pt; line-height: 1.3; }
caption { text-align: left; font-weight: bold; padding: 1mm 0; break-after: avoid; }
th, td { border: 0.5pt solid #555; padding: 0.7mm 1.2mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead th { border-bottom: 1.2pt solid #000; overflow-wrap: normal; }
th[scope=row] { font-weight: normal; }
tr { break-inside: avoid; }
.n { text-align: right; white-space: nowrap; }
.t { white-space: nowrap; }
code { font: 0.92em 'Liberation Mono', 'DejaVu Sans Mono', monospace; }
.who { width: 34mm; }
.sign { break-inside: avoid; }
.sign tbody td { height: 12mm; }
.sign td:first-child { width: 24mm; }
.whole { break-inside: avoid; }
@media print { body { padding: 0; max-width: none; } }
";

/// How a journal stands, in one line.
pub(super) enum JournalVerdict {
    Holds,
    /// It is not proved to its end, or needs an explanation.
    Unproved,
    Broken,
}

impl DossierReport {
    pub(super) fn standing(&self) -> JournalVerdict {
        match super::status_of(&self.findings) {
            _ if self.findings.is_empty() => JournalVerdict::Holds,
            super::ExitStatus::Invalid => JournalVerdict::Broken,
            _ => JournalVerdict::Unproved,
        }
    }

    /// How the journal stands, in words.
    pub(super) fn verdict(&self) -> &'static str {
        match self.standing() {
            JournalVerdict::Holds => "holds: each line follows the one before, and the head is signed over all of them",
            JournalVerdict::Unproved => "IS NOT PROVED WHOLE",
            JournalVerdict::Broken => "DOES NOT HOLD: it is not as it was written",
        }
    }
}

/// A page of this title, with the state of the journal above everything else.
fn sheet(title: &str, report: &DossierReport, body: impl FnOnce(&mut Html)) -> String {
    Html::page(title, STYLE, |html| {
        html.within("header", |html| {
            html.element("h1", title);
            html.within("p", |html| {
                html.text("Site ");
                html.name(&report.site);
                html.text(&format!(" ({}), made {} UTC", report.side, time(&report.made)));
            });
            state(html, report);
        });
        html.within("main", body);
        html.within("footer", |html| foot(html, report));
    })
}

fn state(html: &mut Html, report: &DossierReport) {
    let class = match report.standing() {
        JournalVerdict::Holds => "section class=\"state\" aria-label=\"State of the journal\"",
        _ => "section class=\"state broken\" aria-label=\"State of the journal\"",
    };
    html.within(class, |html| {
        html.element("b", &format!("The journal of this site {}.", report.verdict()));
        if report.findings.is_empty() {
            return;
        }
        html.element("p", "Do not rely on this page before that is explained. What was found:");
        html.within("ul", |html| {
            report.findings.iter().take(20).for_each(|finding| html.element("li", &finding.what));
            if let Some(more) = report.findings.len().checked_sub(20).filter(|more| *more > 0) {
                html.element("li", &format!("and {} more: airpouch audit", more));
            }
        });
    });
}

/// What is proved on a page, and what was only told.
fn claims(html: &mut Html) {
    html.element(
        "p class=\"note\"",
        "Times are those of this machine’s clock, in UTC. Operator, witness, ticket, note and reason are claims: they are \
         as somebody gave them on the command line, and nothing has proved them. The account is the user of the \
         operating system. Names of envelopes, connectors and applicants are as the other side wrote them. Signatures and \
         digests were verified when a batch was taken; this page is made from the journal alone. Whoever may write the \
         whole site can write another journal: compare its head with a copy that is kept elsewhere.",
    );
}

fn fact(html: &mut Html, name: &str, value: impl FnOnce(&mut Html)) {
    html.element("dt", name);
    html.within("dd", value);
}

fn foot(html: &mut Html, report: &DossierReport) {
    html.within("section class=\"sign\"", |html| {
        html.element("h2", "Made and signed");
        html.within("dl", |html| {
            fact(html, "Site", |html| html.name(&report.site));
            fact(html, "Side", |html| html.text(report.side));
            let journal = &report.journal;
            fact(html, "Journal’s head", |html| {
                html.text(&count(journal.lines, "line"));
                if let Some(sha256) = &journal.sha256 {
                    html.text(", SHA-256 of the last one ");
                    html.element("code", sha256);
                }
                html.text(&format!("; signed over {}", count(journal.signed, "line")));
            });
            if let Some(code) = &journal.code {
                fact(html, "Its code", |html| html.element("code", code));
            }
            let (first, last) = (journal.first.as_deref().unwrap_or("-"), journal.last.as_deref().unwrap_or("-"));
            fact(html, "Written", |html| html.text(&format!("from {} to {}", time(first), time(last))));
            fact(html, "Journal", |html| html.text(report.verdict()));
            fact(html, "Made", |html| {
                html.text(&format!("{} by airpouch {}", time(&report.made), env!("CARGO_PKG_VERSION")));
            });
        });
        table(html, 2, "Signatures", |html| {
            heads(html, &["", "Name", "Date", "Signature"]);
            html.within("tbody", |html| {
                for who in ["Made by", "Checked by"] {
                    html.within("tr", |html| {
                        html.element("th scope=\"row\"", who);
                        (0..3).for_each(|_| html.element("td", ""));
                    });
                }
            });
        });
    });
}

/// Rows of a table that is kept on one page.
const ROWS_OF_A_WHOLE: usize = 10;

/// A table with its caption. One of few rows is not parted.
fn table(html: &mut Html, rows: usize, caption: &str, inside: impl FnOnce(&mut Html)) {
    let tag = if rows <= ROWS_OF_A_WHOLE { "table class=\"whole\"" } else { "table" };
    html.within(tag, |html| {
        html.element("caption", caption);
        inside(html);
    });
}

fn heads(html: &mut Html, names: &[&str]) {
    html.within("thead", |html| {
        html.within("tr", |html| {
            for name in names {
                match name.is_empty() {
                    true => html.element("td", ""),
                    false => html.element("th scope=\"col\"", name),
                }
            }
        });
    });
}

/// A time as a page has it, which says once that it is UTC.
fn time(at: &str) -> String {
    at.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}
