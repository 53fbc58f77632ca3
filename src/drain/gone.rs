//! Works that were cleared on the platform after their messages had left the spool: remembered beside the spool, and
//! reported by every drain until a person says that they are settled.

use crate::code::Code;
use crate::error::Result;
use crate::limits::DRAIN_GONE_MAX;
use crate::report::{DrainReport, Finding};
use crate::sink::spooled::{Gone, Memory, Spooled};
use crate::text::harmless;

/// Reports what earlier drains have found to be gone, or forgets it if a person says that it is settled.
///
/// # Errors
/// The system refused.
pub fn begin(spool: &Spooled, memory: &mut Memory, accept: bool, report: &mut DrainReport) -> Result<()> {
    if accept && !memory.gone.is_empty() {
        memory.gone.clear();
        spool.remember(memory)?;
    }
    report.findings.extend(memory.gone.iter().map(finding));
    Ok(())
}

/// Notes and reports a work that is gone. One for each connector and destination is enough: all that was lost is settled
/// by one import.
///
/// # Errors
/// The system refused.
pub fn note(spool: &Spooled, memory: &mut Memory, connector: &str, report: &mut DrainReport) -> Result<()> {
    let gone = Gone { destination: memory.destination.clone(), connector: connector.to_owned() };
    if memory.gone.contains(&gone) {
        return Ok(());
    }
    report.findings.push(finding(&gone));
    if memory.gone.len() >= DRAIN_GONE_MAX {
        return Ok(());
    }
    memory.gone.push(gone);
    spool.remember(memory)
}

fn finding(gone: &Gone) -> Finding {
    let what = "a work was cleared on the platform after its messages were sent; workers skip those that still wait";
    let place = format!("connector {} at {}", harmless(&gone.connector), harmless(&gone.destination));
    Finding::new(Code::WorkGone, what).at(place).advise(
        "fill the spool again from the inbox: `airpouch import --redeliver`, then `airpouch drain --accept-gone`; or accept the loss with the second command alone",
    )
}
