//! follow: reads works back from the platform, and says which messages were ingested, which wait, and what failed.

use crate::destination::Destination;
use crate::error::{Result, unless_stopped};
use crate::findings::ingested::failed;
use crate::findings::missing::gone_works;
use crate::ledger::importer::{DestinationRow, ImporterLedger, ImporterView, SentRow};
use crate::limits::FOLLOWED_WORKS_MAX;
use crate::opencti::work::{ERRORS_KEPT, ErrorKind};
use crate::platform::Platform;
use crate::report::{FollowReport, FollowedLine, Observer, UnansweredWork};
use crate::text::{count, harmless};
use crate::works::{FollowState, FollowedWork};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// What is to be followed.
#[derive(Debug, Clone, Copy)]
pub struct Following<'a> {
    /// Where works were closed.
    pub destination: &'a DestinationRow,
    /// The platform's `connector_manager:works_day_range`: days after which it removes works that have ended.
    pub days: u64,
    /// The time now, in seconds since 1970.
    pub now: i64,
}

/// What the platform said.
#[derive(Debug, Default)]
pub struct WorkAnswers {
    /// Of each work that it said something of.
    pub followed: Vec<FollowedWork>,
    /// The works of which it did not, each with why.
    pub unanswered: Vec<UnansweredWork>,
    /// Whether there are more works than one run asks for.
    pub is_more: bool,
}

/// Asks the platform for each work whose end is not known, the oldest first. If the platform gets into trouble, what it
/// said until then counts all the same.
pub fn ask(
    ledger: &ImporterView,
    platform: &Platform<'_>,
    following: &Following<'_>,
    observer: &dyn Observer,
) -> (WorkAnswers, Result<()>) {
    let mut answers = WorkAnswers::default();
    let asked = ask_for_all(ledger, platform, following, observer, &mut answers);
    observer.end();
    (answers, asked)
}

fn ask_for_all(
    ledger: &ImporterView,
    platform: &Platform<'_>,
    following: &Following<'_>,
    observer: &dyn Observer,
    answers: &mut WorkAnswers,
) -> Result<()> {
    let mut works = ledger.sent_works(following.destination.id, FOLLOWED_WORKS_MAX + 1)?;
    answers.is_more = works.len() > FOLLOWED_WORKS_MAX;
    works.truncate(FOLLOWED_WORKS_MAX);
    observer.begin_counted("asking the platform", works.len() as u64, "works");
    for row in works {
        unless_stopped(observer, || {
            let asked = count(answers.followed.len() as u64, "work");
            format!("after {asked}; what the platform said of them is noted, and the next follow asks for the others")
        })?;
        let id = row.work.id.clone();
        match ask_for(row, platform, following)? {
            Ok(followed) => answers.followed.push(followed),
            Err(why) => answers.unanswered.push(UnansweredWork { work: harmless(&id), why: harmless(&why) }),
        }
        observer.advance(1);
    }
    Ok(())
}

fn ask_for(
    row: SentRow,
    platform: &Platform<'_>,
    following: &Following<'_>,
) -> Result<std::result::Result<FollowedWork, String>> {
    let SentRow { work, about, closed_at } = row;
    let there = match platform.work(&work.id)? {
        Ok(Some(there)) => there,
        Ok(None) => {
            let days = following.now.saturating_sub(closed_at) / DAY;
            return Ok(Ok(FollowedWork::gone(work, about, days >= following.days as i64)));
        }
        Err(why) => return Ok(Err(why)),
    };
    if there.errors == 0 {
        return Ok(Ok(FollowedWork::there(work, about, &there, &[])));
    }
    Ok(platform.work_errors(&work.id, ERRORS_KEPT)?.map(|errors| FollowedWork::there(work, about, &there, &errors)))
}

/// Notes what the platform said.
///
/// # Errors
/// SQLite refused.
pub fn note(ledger: &ImporterLedger, following: &Following<'_>, answers: &WorkAnswers) -> Result<()> {
    let Following { destination, now, .. } = *following;
    let shown = Destination::shown(&destination.kind, &destination.address);
    ledger.note_followed(destination.id, &shown, &answers.followed, now)
}

/// What the platform said, once it is noted, with what failed or was cleared before and is not settled.
///
/// # Errors
/// SQLite refused.
pub fn report(ledger: &ImporterView, following: &Following<'_>, answers: WorkAnswers) -> Result<FollowReport> {
    let Following { destination, days, .. } = *following;
    let mut report = FollowReport {
        destination: Destination::shown(&destination.kind, &destination.address),
        open: ledger.open_work_count(destination.id)?,
        unanswered: answers.unanswered,
        is_more: answers.is_more,
        ..FollowReport::default()
    };
    for followed in &answers.followed {
        let FollowedWork { work, about, .. } = followed;
        if followed.state == FollowState::Ended && followed.refused > 0 {
            let first = followed.first.iter().find(|error| error.kind == ErrorKind::Refused);
            report.findings.push(about.refused(followed.refused, first));
        }
        if followed.state == FollowState::Removed {
            report.findings.push(about.removed(days));
        }
        report.works.push(FollowedLine {
            work: harmless(&work.id),
            stream: about.stream,
            sequence: about.sequence,
            connector: about.named_connector(),
            state: followed.state.word(),
            envelopes: work.envelopes as u64,
            processed: followed.processed,
            expected: followed.expected,
            failed: followed.failed,
            refused: followed.refused,
        });
    }
    report.findings.extend(failed(ledger, destination)?);
    report.findings.extend(gone_works(ledger)?);
    Ok(report)
}
