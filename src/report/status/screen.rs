//! A status in one screen. What waits for a person comes first; each part has its room, and what it does not need is for
//! the parts behind it.

use super::StatusReport;
use super::parts::{by_need, connector, connectors, header, long, settle, short};
use crate::text::{count, grouped};

/// Lines of a screen; a terminal has some more, for the prompt.
const SCREEN: usize = 45;
/// Lines that are kept for streams and for connectors, with their titles, if there are as many.
const STREAMS: usize = 16;
const CONNECTORS: usize = 8;

/// The lines.
pub(super) fn lines(report: &StatusReport) -> Vec<String> {
    let mut out = header(report);
    let rows = connectors(report);
    let of_streams = titled(report.streams.len().max(1)).min(STREAMS);
    let of_connectors = titled(rows.len()).min(CONNECTORS);
    write_settle(&mut out, report, SCREEN - of_streams - of_connectors);
    write_streams(&mut out, report, SCREEN - of_connectors);
    let room = SCREEN.saturating_sub(out.len() + 2);
    if !rows.is_empty() {
        out.extend([String::new(), "connectors:".to_owned()]);
        let shown = shown(rows.len(), room);
        out.extend(rows[..shown].iter().map(|row| connector(report, row)));
        if shown < rows.len() {
            out.push(format!("    and {}: airpouch status --all", count((rows.len() - shown) as u64, "connector")));
        }
    }
    out
}

/// Lines with a blank one and a title before them.
fn titled(lines: usize) -> usize {
    if lines == 0 { 0 } else { lines + 2 }
}

/// How many of some lines are shown where there is room for so many; the last line counts those that are left out.
fn shown(lines: usize, room: usize) -> usize {
    if lines <= room { lines } else { room.saturating_sub(1) }
}

/// What waits for a person, up to this line of the screen.
fn write_settle(out: &mut Vec<String>, report: &StatusReport, end: usize) {
    let all = settle(report);
    if all.is_empty() {
        return;
    }
    out.extend([String::new(), "to settle:".to_owned()]);
    let number = all.len();
    let whole: usize = all.iter().map(Vec::len).sum();
    let room = if out.len() + whole <= end { whole } else { end.saturating_sub(out.len() + 1) };
    let (mut used, mut written) = (0, 0);
    for lines in all {
        used += lines.len();
        if used > room {
            break;
        }
        out.extend(lines);
        written += 1;
    }
    if written < number {
        out.push(format!("  and {} more: airpouch status --all", grouped((number - written) as u64)));
    }
}

/// The streams, up to this line of the screen: in some lines each if all have room so, else in one line each.
fn write_streams(out: &mut Vec<String>, report: &StatusReport, end: usize) {
    if report.streams.is_empty() {
        return out.push("nothing yet".to_owned());
    }
    let long: Vec<String> =
        report.streams.iter().flat_map(|stream| [vec![String::new()], long(report, stream)].concat()).collect();
    if out.len() + long.len() <= end {
        return out.extend(long);
    }
    out.extend([String::new(), "streams:".to_owned()]);
    let streams = by_need(report);
    let shown = shown(streams.len(), end.saturating_sub(out.len()));
    out.extend(streams[..shown].iter().map(|stream| short(report, stream)));
    if shown < streams.len() {
        out.push(format!("  and {}: airpouch status --all", count((streams.len() - shown) as u64, "stream")));
    }
}
