//! Which envelopes have this name, this digest or this object: in what is kept of batches, also when their bytes are gone.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::AskedEvents;
use crate::batch::index::{Index, IndexLine, Names};
use crate::clock;
use crate::code::Code;
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::findings;
use crate::journal;
use crate::lack;
use crate::ledger::importer::{ImporterView, IncomingRow, LookupRow, ObjectList, State};
use crate::limits::FOUND_ENVELOPES_MAX;
use crate::objects::{ObjectKeys, StixId, envelopes_with};
use crate::report::{Finding, FoundEnvelope, NamedConnector, OtherBatch, Searched};
use crate::set_aside::{self, Kind};
use crate::shelf::PartFault;
use crate::shelf::check::{envelopes_at, read_index};
use crate::shelf::inbox::Inbox;
use crate::shelf::indexes::{Indexes, KeptIndex};
use crate::site::Site;
use crate::text::harmless;

/// What an envelope is looked up by.
#[derive(Debug, Clone)]
pub enum LookedUpBy {
    /// Its name at the exporter.
    Name(String),
    /// The smallest and the largest digest that it may have.
    Digest(Digest, Digest),
    /// An object in it.
    Object(StixId),
}

/// What was found.
#[derive(Debug, Default)]
pub struct FoundInBatches {
    /// The envelopes, by stream, number and position.
    pub envelopes: Vec<FoundEnvelope>,
    /// Further ones that are only counted.
    pub more: u64,
    /// How much was looked through.
    pub searched: Searched,
    /// What is kept and cannot be used.
    pub findings: Vec<Finding>,
}

/// Looks up envelopes, as far as batches are asked for.
///
/// # Errors
/// SQLite or the system refused; the machine lacks what it takes.
pub fn envelopes(
    site: &Site,
    ledger: &ImporterView,
    wanted: &LookedUpBy,
    asked: &AskedEvents,
) -> Result<FoundInBatches> {
    let of_digest: Option<BTreeSet<i64>> = match wanted {
        LookedUpBy::Digest(from, to) => Some(ledger.lookups_with((*from, *to))?.into_iter().collect()),
        _ => None,
    };
    let mut search = Search { site, ledger, wanted, asked, found: FoundInBatches::default(), later: HashMap::new() };
    for row in ledger.lookups()? {
        let at = row.taken_at.map(clock::utc);
        let is_asked = asked.stream.as_ref().is_none_or(|stream| row.batch.stream.to_string().starts_with(stream))
            && asked.batch.is_none_or(|number| row.batch.sequence.get() == number)
            && at.is_none_or(|at| asked.time.has(&at))
            && of_digest.as_ref().is_none_or(|batches| batches.contains(&row.batch.id));
        if is_asked {
            search.batch(&row)?;
        }
    }
    search.ask_the_journal()?;
    Ok(search.found)
}

/// A batch that is looked through.
struct SearchedBatch<'a> {
    row: &'a LookupRow,
    batch: &'a IncomingRow,
    /// None where it cannot be used.
    index: Option<Index>,
}

impl SearchedBatch<'_> {
    /// What the index says of an envelope, by its position from 1.
    fn line(&self, ordinal: usize) -> Option<&IndexLine> {
        self.index.as_ref()?.lines.get(ordinal.checked_sub(1)?)
    }
}

struct Search<'a> {
    site: &'a Site,
    ledger: &'a ImporterView,
    wanted: &'a LookedUpBy,
    asked: &'a AskedEvents,
    found: FoundInBatches,
    /// Those that were delivered after they had been set aside: only the journal knows when.
    later: HashMap<Digest, Vec<usize>>,
}

impl Search<'_> {
    fn batch(&mut self, row: &LookupRow) -> Result<()> {
        let kept = Indexes::new(self.site.indexes()).of(row.batch.stream, row.batch.sequence, row.batch.sha256);
        let object = match self.wanted {
            LookedUpBy::Object(id) => Some(id),
            _ => None,
        };
        let mut places = match object {
            Some(id) => self.places_of(row, &kept, id)?,
            None => Vec::new(),
        };
        if object.is_some() && places.is_empty() {
            return Ok(());
        }
        let Some(batch) = self.ledger.incoming_by_id(row.batch.id)? else { return Ok(()) };
        let index = self.index(row, &batch, &kept)?;
        if object.is_none() {
            let Some(index) = &index else { return Ok(()) };
            self.found.searched.batches += 1;
            let lines = (1..).zip(&index.lines).filter(|(_, line)| self.is_wanted(line));
            places = lines.map(|(ordinal, _)| ordinal).collect();
        }
        let opened = SearchedBatch { row, batch: &batch, index };
        places.retain(|ordinal| self.is_of_connector(&opened, *ordinal));
        let room = FOUND_ENVELOPES_MAX - self.found.envelopes.len();
        self.found.more += places.len().saturating_sub(room) as u64;
        places.truncate(room);
        let proofs = match object {
            Some(id) => self.proofs(&opened, &places, id)?,
            None => HashMap::new(),
        };
        for ordinal in places {
            let has_object = proofs.get(&ordinal).copied();
            // Another id has the same key.
            if has_object != Some(false) {
                self.add(&opened, ordinal, has_object)?;
            }
        }
        Ok(())
    }

    /// The positions of envelopes that have an object, by the list of their batch.
    fn places_of(&mut self, row: &LookupRow, kept: &KeptIndex, id: &StixId) -> Result<Vec<usize>> {
        let searched = &mut self.found.searched;
        let (records, sha256, unread) = match row.list {
            ObjectList::Kept { records, sha256, unread } => (records, sha256, unread),
            ObjectList::TooMany => {
                searched.too_many_objects += 1;
                return Ok(Vec::new());
            }
            ObjectList::NeverMade | ObjectList::Off => {
                match row.state {
                    State::Delivered => searched.without_list += 1,
                    _ => searched.not_yet += 1,
                }
                return Ok(Vec::new());
            }
        };
        let list = lack::apart(kept.list(records, sha256))?;
        let places = list.map(|list| match records {
            0 => Some(Vec::new()),
            _ => envelopes_with(list.bytes(), id.key()),
        });
        match places {
            Ok(Some(places)) => {
                self.found.searched.batches += 1;
                self.found.searched.unread_envelopes += unread;
                Ok(places)
            }
            Ok(None) => self.unusable(row, "list of objects", "is none in this form", Code::Damaged),
            Err(PartFault::NotAsNamed(_)) => {
                let what = "is not the one that was written: it does not match its digest in the ledger";
                self.unusable(row, "list of objects", what, Code::Damaged)
            }
            Err(PartFault::Missing) => self.unusable(row, "list of objects", "is missing", Code::IncompleteBatch),
            Err(fault) => self.unusable(row, "list of objects", &fault.to_string(), Code::Unreadable),
        }
    }

    /// The index of a batch, from the inbox or from where it is kept; none if it cannot be used, which is counted or reported.
    fn index(&mut self, row: &LookupRow, batch: &IncomingRow, kept: &KeptIndex) -> Result<Option<Index>> {
        let shelf = Inbox::new(self.site.inbox()).shelf(row.batch.stream, row.batch.sequence, row.batch.sha256);
        let manifest = &batch.manifest;
        // An import may prune it meanwhile.
        let in_inbox = match row.pruned {
            true => Err(PartFault::Missing),
            false => lack::apart(read_index(&shelf, manifest, Names::Keep))?,
        };
        let read = match in_inbox {
            Err(PartFault::Missing) => lack::apart(read_index(kept, manifest, Names::Keep))?,
            read => read,
        };
        let searched = &mut self.found.searched;
        match read {
            Ok(index) => return Ok(Some(index)),
            Err(PartFault::Missing) if row.pruned && row.has_index.is_none() => searched.pruned_by_older += 1,
            Err(PartFault::Missing) if row.pruned && row.has_index == Some(false) => searched.index_gone += 1,
            Err(PartFault::Missing) if row.state == State::Incomplete => searched.not_yet += 1,
            Err(fault) if row.pruned => {
                let code = if fault.is_invalid() { Code::Damaged } else { Code::IncompleteBatch };
                return self.unusable(row, "index", &fault.to_string(), code);
            }
            Err(fault) => self.found.findings.push(findings::part(manifest, &manifest.index.name, &fault)),
        }
        Ok(None)
    }

    /// Reports what is kept of a batch and cannot be used.
    fn unusable<T: Default>(&mut self, row: &LookupRow, what: &str, why: &str, code: Code) -> Result<T> {
        let (stream, sequence) = (row.batch.stream, row.batch.sequence.get());
        let finding = Finding::new(code, format!("the {what} of batch {sequence} {why}; it was not looked through"));
        self.found.findings.push(
            finding
                .of_batch(stream, sequence)
                .at(self.site.indexes().display().to_string())
                .advise("put this directory back from a backup; nothing that is delivered depends on it"),
        );
        Ok(T::default())
    }

    fn is_wanted(&self, line: &IndexLine) -> bool {
        match self.wanted {
            LookedUpBy::Name(name) => line.name == *name || harmless(&line.name) == *name,
            LookedUpBy::Digest(from, to) => (from..=to).contains(&&line.sha256),
            LookedUpBy::Object(_) => true,
        }
    }

    fn is_of_connector(&self, of: &SearchedBatch<'_>, ordinal: usize) -> bool {
        let Some(wanted) = &self.asked.connector else { return true };
        let entry = of.line(ordinal).map(|line| &of.batch.manifest.connectors[line.connector]);
        entry.is_some_and(|entry| entry.id == *wanted || entry.name == *wanted)
    }

    /// Whether envelopes have an object, by their bytes; those whose bytes are not here are not among the answers.
    fn proofs(&self, of: &SearchedBatch<'_>, places: &[usize], id: &StixId) -> Result<HashMap<usize, bool>> {
        let SearchedBatch { row, batch, .. } = of;
        let mut proofs = HashMap::new();
        if !row.pruned {
            let shelf = Inbox::new(self.site.inbox()).shelf(row.batch.stream, row.batch.sequence, row.batch.sha256);
            let read = envelopes_at(&shelf, &batch.manifest, places, &mut |ordinal, bytes| {
                proofs.extend(has_object(&bytes, id).map(|has| (ordinal, has)));
                true
            });
            // What cannot be read proves nothing, and whoever needs its bytes is told of it.
            drop(lack::apart(read)?);
        }
        for ordinal in places {
            let Some(sha256) = of.line(*ordinal).map(|line| line.sha256).filter(|_| !proofs.contains_key(ordinal))
            else {
                continue;
            };
            for kind in [Kind::Held, Kind::Quarantined] {
                if set_aside::has(self.site, kind, sha256)
                    && let Ok(bytes) = set_aside::get(self.site, kind, sha256)
                {
                    proofs.extend(has_object(&bytes, id).map(|has| (*ordinal, has)));
                }
            }
        }
        Ok(proofs)
    }

    fn add(&mut self, of: &SearchedBatch<'_>, ordinal: usize, has_object: Option<bool>) -> Result<()> {
        let (row, line, manifest) = (of.row, of.line(ordinal), &of.batch.manifest);
        let connector = line.map(|line| &manifest.connectors[line.connector]);
        let mut envelope = FoundEnvelope {
            stream: row.batch.stream,
            sequence: row.batch.sequence.get(),
            batch: row.batch.sha256,
            ordinal,
            name: line.map(|line| line.name.clone()),
            sha256: line.map(|line| line.sha256),
            bytes: line.map(|line| line.bytes),
            connector: connector.map(|entry| NamedConnector { id: entry.id.clone(), name: entry.name.clone() }),
            applicant: line.and_then(|line| manifest.applicants[line.applicant].id.clone()),
            taken_at: row.taken_at.map(clock::utc),
            state: None,
            delivered_at: None,
            delivered_by: None,
            kept: if row.pruned { "none" } else { "inbox" },
            has_object,
        };
        if let Some(line) = line {
            self.tell_fate(&mut envelope, line.sha256)?;
        }
        self.found.envelopes.push(envelope);
        Ok(())
    }

    /// What became of an envelope, and where its bytes are.
    fn tell_fate(&mut self, envelope: &mut FoundEnvelope, sha256: Digest) -> Result<()> {
        if envelope.kept == "none" {
            let copy = [(Kind::Held, "held"), (Kind::Quarantined, "quarantine")];
            let there = copy.into_iter().find(|(kind, _)| set_aside::has(self.site, *kind, sha256));
            envelope.kept = there.map_or("none", |(_, place)| place);
        }
        if let Some(kind) = self.ledger.aside_kind(sha256)? {
            envelope.state = Some(kind.word());
            return Ok(());
        }
        if self.ledger.rejected_copy(sha256)?.is_some() {
            envelope.state = Some("rejected");
            return Ok(());
        }
        let Some(by) = self.ledger.delivered_by(sha256)? else {
            envelope.state = Some("waiting");
            return Ok(());
        };
        envelope.state = Some(if by.is_empty { "empty" } else { "delivered" });
        envelope.delivered_at = by.done_at.map(clock::utc);
        let other = OtherBatch { stream: by.stream, sequence: by.sequence.get() };
        envelope.delivered_by =
            Some(other).filter(|by| (by.stream, by.sequence) != (envelope.stream, envelope.sequence));
        if by.has_later {
            self.later.entry(sha256).or_default().push(self.found.envelopes.len());
        }
        Ok(())
    }

    /// When envelopes were delivered that had been set aside: the last time that they were.
    fn ask_the_journal(&mut self) -> Result<()> {
        const EVENT: &str = "\"event\":\"aside-delivered\"";
        if self.later.is_empty() {
            return Ok(());
        }
        let mut lines = journal::read(self.site)?;
        while let Some(line) = lines.next_line()? {
            if !std::str::from_utf8(line).is_ok_and(|line| line.contains(EVENT)) {
                continue;
            }
            // `audit` tells of a line that is none.
            let Ok(event) = serde_json::from_slice::<Value>(line) else { continue };
            let at = event.get("at").and_then(Value::as_str);
            for sha256 in super::list(&event, "envelopes").filter_map(|of| of.get("sha256")?.as_str()?.parse().ok()) {
                for place in self.later.get(&sha256).into_iter().flatten() {
                    self.found.envelopes[*place].delivered_at = at.map(str::to_owned);
                }
            }
        }
        Ok(())
    }
}

/// Whether these bytes have the object of this id; none where that is not seen to their end.
fn has_object(bytes: &[u8], id: &StixId) -> Option<bool> {
    let mut objects = ObjectKeys::looking_for(id);
    let parsed = Envelope::parse_listing(bytes, Some(&mut objects));
    (parsed.is_ok() || objects.has_wanted()).then(|| objects.has_wanted())
}
