-- Where the journal of the other side ended when it was last heard of: beside the batches of a stream. `key` is the public key
-- that signed it, in PEM.
CREATE TABLE peer_head (
    stream TEXT PRIMARY KEY, key TEXT NOT NULL, lines INTEGER NOT NULL, last TEXT NOT NULL, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
