//! In whose name which connector wrote, counted over all batches that were admitted.

use rusqlite::{Connection, params};

use super::{ImporterLedger, ImporterView};
use crate::batch::index::Pair;
use crate::error::Result;
use crate::ledger::asking::all;
use crate::stream::StreamId;

/// Envelopes that a connector wrote in the name of an applicant, and that came by a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CamePair {
    /// The applicant; none where the envelopes name none.
    pub applicant: Option<String>,
    /// The stream.
    pub stream: StreamId,
    /// The connector's id there.
    pub connector: String,
    /// Its name as that stream called it last.
    pub name: String,
    /// The envelopes.
    pub envelopes: u64,
}

impl ImporterView {
    /// In whose name which connector wrote, by applicant, those with the most envelopes first.
    pub fn came_pairs(&self) -> Result<Vec<CamePair>> {
        let sql =
            "SELECT p.applicant, p.named, p.stream, p.connector, coalesce(c.name, ''), p.envelopes FROM came_pair p
                   LEFT JOIN came_connector c ON c.stream = p.stream AND c.connector = p.connector
                   ORDER BY p.named, p.applicant, p.envelopes DESC, p.connector, p.stream";
        all(&self.connection, sql, [], |r| {
            let (id, is_named) = (r.get::<_, String>(0)?, r.get::<_, bool>(1)?);
            let (stream, connector, name) = (r.get(2)?, r.get(3)?, r.get(4)?);
            let envelopes = r.get::<_, i64>(5)? as u64;
            Ok(CamePair { applicant: is_named.then_some(id), stream, connector, name, envelopes })
        })
    }
}

impl ImporterLedger {
    /// Counts in whose name the connectors of a batch wrote, once for each batch.
    pub(super) fn put_pairs(&self, change: &Connection, batch: i64, pairs: &[Pair]) -> Result<()> {
        if pairs.is_empty() || change.prepare_cached("INSERT OR IGNORE INTO paired VALUES (?1)")?.execute([batch])? == 0
        {
            return Ok(());
        }
        // The pairs are positions in its lists.
        let Some(row) = self.incoming_by_id(batch)? else { return Ok(()) };
        let stream = row.manifest.stream.to_string();
        let mut put = change.prepare_cached(
            "INSERT INTO came_pair VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET envelopes = envelopes + excluded.envelopes",
        )?;
        for pair in pairs {
            let applicant = row.manifest.applicants.get(pair.applicant as usize);
            let connector = row.manifest.connectors.get(pair.connector as usize);
            let (Some(applicant), Some(connector)) = (applicant, connector) else { continue };
            let (id, is_named) = (applicant.id.as_deref().unwrap_or(""), applicant.id.is_some());
            put.execute(params![id, is_named, stream, connector.id, pair.envelopes])?;
        }
        Ok(())
    }
}
