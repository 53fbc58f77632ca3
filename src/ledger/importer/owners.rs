//! Which streams may deliver under a connector's id.

use rusqlite::{Connection, params};

use super::batches::{BatchId, named};
use super::{ImporterLedger, ImporterView};
use crate::batch::index::Pair;
use crate::code::Code;
use crate::deed::{Deed, checks_of_admission};
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::asking::{all, any};
use crate::stream::{Lineages, StreamId};

/// The admission of a batch: who vouches for it, and its place in its stream.
#[derive(Debug)]
pub struct AdmissionNote<'a> {
    /// The ledger's number for it.
    pub id: i64,
    /// Its stream.
    pub stream: StreamId,
    /// Whether later numbers were delivered before it.
    pub late: bool,
    /// Its zone.
    pub zone: &'a str,
    /// The earlier streams whose trust it takes over.
    pub inherits: &'a [StreamId],
    /// The fingerprints of the keys that signed it.
    pub signers: &'a [Digest],
    /// The stream that it goes on from, if its signers may sign that one too.
    pub heir_of: Option<StreamId>,
    /// In whose name its connectors wrote, where that is counted.
    pub pairs: &'a [Pair],
}

/// What a stream may do under the id of a connector.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may deliver, and rename the connector.
    Free,
    /// It came first together with this other stream: it may deliver as long as it calls the connector the same.
    Shared {
        /// The stream that has the connector.
        with: StreamId,
        /// The name that the other stream gives it today.
        name: Option<String>,
        /// The type that the other stream gives it today.
        kind: Option<String>,
    },
    /// This other stream has it.
    Others(StreamId),
}

/// A stream that has a connector.
struct Has {
    stream: StreamId,
    name: Option<String>,
    kind: Option<String>,
    is_shared: bool,
}

const ADMIT_CONNECTORS: &str = "
    INSERT INTO connector_stream (connector, stream, name, type, turn, shared)
    SELECT c.id, ?2, c.name, c.type, now.turn, first.id IS NOT NULL
    FROM (SELECT value ->> 'id' AS id, value ->> 'name' AS name, value ->> 'type' AS type
          FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') WHERE b.id = ?1) c
    JOIN (SELECT CAST(max(value) AS INTEGER) AS turn FROM meta WHERE key = 'turns') now
    LEFT JOIN connector_stream first ON first.id = (SELECT min(o.id) FROM connector_stream o WHERE o.connector = c.id)
    WHERE first.id IS NULL OR (first.turn, first.name, first.type) = (now.turn, c.name, c.type)
       OR EXISTS (SELECT 1 FROM connector_stream o WHERE o.connector = c.id AND o.stream = ?2)
    ON CONFLICT (connector, stream) DO UPDATE SET name = excluded.name, type = excluded.type";

impl ImporterView {
    /// The fingerprints of the keys that signed a batch and may sign it.
    pub fn signers_of(&self, batch: i64) -> Result<Vec<Digest>> {
        let sql = "SELECT signer FROM batch_signer WHERE batch = ?1 ORDER BY signer";
        let signers: Vec<String> = all(&self.connection, sql, [batch], |r| r.get(0))?;
        Ok(signers.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Whether envelopes of a connector were set aside for this reason when they came by this stream.
    pub fn is_aside_for(&self, code: Code, connector: &str, stream: StreamId) -> Result<bool> {
        let sql = "SELECT 1 FROM set_aside a JOIN batch b ON b.id = a.batch WHERE a.code = ?1 AND a.connector = ?2 AND b.stream = ?3";
        any(&self.connection, sql, [code.word(), connector, &stream.to_string()])
    }

    /// The streams that have a connector, the one by which it came first before all others.
    fn streams_of_connector(&self, connector: &str) -> Result<Vec<Has>> {
        let sql = "SELECT stream, name, type, shared FROM connector_stream WHERE connector = ?1 ORDER BY id";
        all(&self.connection, sql, [connector], |r| {
            Ok(Has { stream: r.get(0)?, name: r.get(1)?, kind: r.get(2)?, is_shared: r.get(3)? })
        })
    }

    fn goes_with_one_of(&self, stream: StreamId, others: &[&Has], heirs: &Lineages) -> Result<bool> {
        if others.iter().any(|other| other.stream == stream) {
            return Ok(true);
        }
        for other in others {
            if self.share_a_signer(stream, other.stream)? {
                return Ok(true);
            }
        }
        let goes_on_from = |one: StreamId, other: StreamId| heirs.of(one, None).contains(&other.uuid());
        Ok(others.iter().any(|other| goes_on_from(stream, other.stream) || goes_on_from(other.stream, stream)))
    }

    fn share_a_signer(&self, one: StreamId, other: StreamId) -> Result<bool> {
        let sql = "SELECT 1 FROM stream_signer a JOIN stream_signer b ON b.signer = a.signer WHERE a.stream = ?1 AND b.stream = ?2";
        any(&self.connection, sql, [one.to_string(), other.to_string()])
    }

    /// Which streams go on from which, as far as the signers of the later ones may sign the earlier ones too.
    pub fn heirs(&self) -> Result<Lineages> {
        let sql = "SELECT stream, before FROM stream_heir";
        let pairs: Vec<_> = all(&self.connection, sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let mut lineages = Lineages::default();
        pairs.into_iter().for_each(|(stream, before)| lineages.add(stream, before));
        Ok(lineages)
    }
}

impl ImporterLedger {
    /// Admits a batch. Its connectors are its stream's from now on, as far as they came by no other stream; what another
    /// stream brought first in this very run, and calls the same, they share.
    pub fn set_admitted(&mut self, admitted: &AdmissionNote<'_>) -> Result<()> {
        let stream = admitted.stream.to_string();
        let change = self.change()?;
        change
            .prepare_cached("UPDATE batch SET state = 'admitted', standing = NULL, late = ?2 WHERE id = ?1")?
            .execute(params![admitted.id, admitted.late])?;
        for signer in admitted.signers {
            change
                .prepare_cached("INSERT OR IGNORE INTO stream_signer VALUES (?1, ?2)")?
                .execute([&stream, &signer.to_string()])?;
        }
        put_signers(&change, admitted.id, admitted.signers)?;
        self.put_pairs(&change, admitted.id, admitted.pairs)?;
        if let Some(before) = admitted.heir_of {
            change
                .prepare_cached("INSERT OR IGNORE INTO stream_heir VALUES (?1, ?2)")?
                .execute([&stream, &before.to_string()])?;
        }
        change.prepare_cached(ADMIT_CONNECTORS)?.execute(params![admitted.id, stream])?;
        let BatchId { stream, sequence, sha256, .. } = named(&change, admitted.id)?;
        let (sequence, signers) = (sequence.get(), admitted.signers.to_vec());
        change.note(&Deed::Admitted {
            stream,
            sequence,
            sha256,
            zone: admitted.zone.to_owned(),
            inherits: admitted.inherits.to_vec(),
            signers,
            checks: checks_of_admission(admitted.late),
        })?;
        change.commit()
    }

    /// Notes anew who signed batches that are admitted already, and may sign them by the trust store of today.
    pub fn note_signers(&mut self, batches: &[(i64, Vec<Digest>)]) -> Result<()> {
        let change = self.change()?;
        for (id, signers) in batches {
            put_signers(&change, *id, signers)?;
        }
        change.commit()
    }

    /// What a stream may do under the id of a connector. An id that nobody has is this stream's from now on. Streams go
    /// together if a key has signed both, or one goes on from the other by `heirs`.
    pub fn claim(&self, connector: &str, stream: StreamId, heirs: &Lineages) -> Result<Claim> {
        let have = self.streams_of_connector(connector)?;
        let Some(first) = have.first() else {
            self.let_use(connector, stream)?;
            return Ok(Claim::Free);
        };
        let (shared, own): (Vec<_>, Vec<_>) = have.iter().partition(|has| has.is_shared);
        if self.goes_with_one_of(stream, &own, heirs)? {
            Ok(Claim::Free)
        } else if self.goes_with_one_of(stream, &shared, heirs)? {
            Ok(Claim::Shared { with: first.stream, name: first.name.clone(), kind: first.kind.clone() })
        } else {
            Ok(Claim::Others(first.stream))
        }
    }

    /// From now on a stream may deliver under the id of a connector, whatever it calls it.
    pub fn let_use(&self, connector: &str, stream: StreamId) -> Result<()> {
        let sql =
            "INSERT INTO connector_stream (connector, stream) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET shared = 0";
        self.connection.prepare_cached(sql)?.execute([connector, &stream.to_string()])?;
        Ok(())
    }
}

fn put_signers(change: &Connection, batch: i64, signers: &[Digest]) -> rusqlite::Result<()> {
    change.prepare_cached("DELETE FROM batch_signer WHERE batch = ?1")?.execute([batch])?;
    let mut put = change.prepare_cached("INSERT OR IGNORE INTO batch_signer VALUES (?1, ?2)")?;
    signers.iter().try_for_each(|signer| put.execute(params![batch, signer.to_string()]).map(drop))
}
