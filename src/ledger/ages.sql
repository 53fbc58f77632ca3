-- When a batch was packed, taken and delivered, in seconds since 1970, for whoever asks how old the last one is. What was
-- done before this was noted has none: it is unknown, and not "never".
ALTER TABLE packed_batch ADD COLUMN packed_at INTEGER;
-- When it was noted as whole in the inbox; as long as parts of it are missing, when the first of them came.
ALTER TABLE batch ADD COLUMN taken_at INTEGER;
-- When envelopes of it were delivered that had been set aside before; `done_at` stays as it is, for the inbox is cleared by it.
ALTER TABLE batch ADD COLUMN aside_delivered_at INTEGER;
-- These indexes answer alone: the rows with their manifests are not touched.
DROP INDEX packed_number;
CREATE INDEX packed_number ON packed_batch (stream, sequence, state, envelopes, bytes, packed_at);
DROP INDEX batch_number;
CREATE INDEX batch_number ON batch (stream, sequence, state, standing, envelopes, bytes, before_envelopes, before_bytes,
    taken_at, done_at, aside_delivered_at);
CREATE INDEX aside_reason ON set_aside (batch, connector, kind, code);
-- Envelopes of a batch that had come by another batch before and were set aside: as long as they are, this batch has not
-- delivered them either.
CREATE TABLE aside_before (
    batch INTEGER NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (batch, sha256)) STRICT, WITHOUT ROWID;
