-- What `status` counts of the exporter's batches stands in columns and a table of its own, so that no manifest is read
-- for it.
ALTER TABLE packed_batch ADD COLUMN envelopes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE packed_batch ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE packed_batch SET
    envelopes = json_extract(CAST(manifest AS TEXT), '$.totals.envelopes'),
    bytes = json_extract(CAST(manifest AS TEXT), '$.totals.bytes');
-- This index answers alone: the rows with their manifests are not touched.
CREATE INDEX packed_number ON packed_batch (stream, sequence, state, envelopes, bytes);
-- The connectors of all batches of a stream, counted when a batch is sealed or taken in. The name is that of the last batch.
CREATE TABLE packed_connector (
    stream INTEGER NOT NULL, connector TEXT NOT NULL, sequence INTEGER NOT NULL, name TEXT NOT NULL,
    envelopes INTEGER NOT NULL, PRIMARY KEY (stream, connector)) STRICT, WITHOUT ROWID;
-- Of several definitions in one batch the last one names it: the place in the list counts behind the number.
INSERT INTO packed_connector
    SELECT b.stream, c.value ->> 'id', max(b.sequence * 1048576 + c.key) / 1048576, c.value ->> 'name', sum(c.value ->> 'envelopes')
    FROM packed_batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') c GROUP BY b.stream, c.value ->> 'id';
-- How a batch was carried is read from this index alone.
DROP INDEX carried_batch;
CREATE INDEX carried_batch ON carried (stream, sequence, proof);
-- Which batches are kept in the inbox is read from this index alone.
DROP INDEX batch_kept;
CREATE INDEX batch_kept ON batch (done_at, stream, sequence, sha256) WHERE state = 'delivered' AND pruned = 0;
-- Whether all that the streams before it packed counts as packed in this one too, so that the one after it need not look
-- behind it.
ALTER TABLE stream ADD COLUMN inherits INTEGER NOT NULL DEFAULT 0;
