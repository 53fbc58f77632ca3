
-- What is asked of many batches at once stands in columns of its own, so that no manifest has to be read for it.
ALTER TABLE batch ADD COLUMN zone TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN envelopes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN before_envelopes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN before_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN succeeds_stream TEXT;
ALTER TABLE batch ADD COLUMN succeeds_sequence INTEGER;
UPDATE batch SET
    zone = json_extract(CAST(manifest AS TEXT), '$.zone'),
    envelopes = json_extract(CAST(manifest AS TEXT), '$.totals.envelopes'),
    bytes = json_extract(CAST(manifest AS TEXT), '$.totals.bytes'),
    before_envelopes = json_extract(CAST(manifest AS TEXT), '$.before.envelopes'),
    before_bytes = json_extract(CAST(manifest AS TEXT), '$.before.bytes'),
    succeeds_stream = json_extract(CAST(manifest AS TEXT), '$.succeeds.stream'),
    succeeds_sequence = json_extract(CAST(manifest AS TEXT), '$.succeeds.sequence');
-- Each index answers its question alone: the rows with their manifests are not touched.
DROP INDEX batch_number;
CREATE INDEX batch_number ON batch (stream, sequence, state, standing, envelopes, bytes, before_envelopes, before_bytes);
CREATE INDEX batch_open ON batch (state, stream, sequence) WHERE state <> 'delivered';
CREATE INDEX batch_kept ON batch (done_at) WHERE state = 'delivered' AND pruned = 0;
CREATE INDEX batch_successor ON batch (stream, succeeds_stream, succeeds_sequence, sequence, state, standing) WHERE succeeds_stream IS NOT NULL;
-- The connectors and applicants of all batches that came, counted when a batch is noted for the first time. An applicant
-- that is not named is the empty text with `named` 0.
CREATE TABLE came_connector (
    stream TEXT NOT NULL, connector TEXT NOT NULL, sequence INTEGER NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
    envelopes INTEGER NOT NULL, PRIMARY KEY (stream, connector)) STRICT, WITHOUT ROWID;
CREATE TABLE came_applicant (
    applicant TEXT NOT NULL, named INTEGER NOT NULL, envelopes INTEGER NOT NULL, PRIMARY KEY (applicant, named)) STRICT, WITHOUT ROWID;
INSERT INTO came_connector
    SELECT b.stream, c.value ->> 'id', max(b.sequence), c.value ->> 'name', c.value ->> 'type', sum(c.value ->> 'envelopes')
    FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') c GROUP BY b.stream, c.value ->> 'id';
INSERT INTO came_applicant
    SELECT coalesce(a.value ->> 'id', ''), a.value ->> 'id' IS NOT NULL, sum(a.value ->> 'envelopes')
    FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.applicants') a GROUP BY 1, 2;
-- What is set aside, by batch and place in it: so much is looked at one by one.
CREATE INDEX aside_batch ON set_aside (batch, ordinal, kind);
CREATE INDEX aside_kind ON set_aside (kind, code, applicant);
CREATE INDEX settled_stream ON settled (stream);
