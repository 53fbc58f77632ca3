-- Batches that will never come, because their files were lost at the exporter. Their numbers stay used. `told` once a
-- pack has said what became of their envelopes.
CREATE TABLE lost_batch (
    stream INTEGER NOT NULL, sequence INTEGER NOT NULL, at TEXT NOT NULL, told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, sequence)) STRICT, WITHOUT ROWID;
-- What was in them. It no longer counts as packed, so that what still lies in a source is packed again.
CREATE TABLE lost_envelope (
    stream INTEGER NOT NULL, sequence INTEGER NOT NULL, sha256 BLOB NOT NULL, name TEXT,
    PRIMARY KEY (stream, sequence, sha256)) STRICT, WITHOUT ROWID;
