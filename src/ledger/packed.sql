CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- The exporter's side. A stream is made before its first batch; `active` is the one that its zone goes on with.
CREATE TABLE stream (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, zone TEXT NOT NULL, active INTEGER NOT NULL,
    succeeds_stream TEXT, succeeds_sequence INTEGER, succeeds_sha256 BLOB) STRICT;
CREATE UNIQUE INDEX one_active_stream_a_zone ON stream (zone) WHERE active = 1;
-- `sealed`: its number is used, its bytes are fixed. `packed`: signed, and in the outbox.
CREATE TABLE packed_batch (
    stream INTEGER NOT NULL REFERENCES stream, sequence INTEGER NOT NULL, sha256 BLOB NOT NULL, manifest BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sealed', 'packed')), PRIMARY KEY (stream, sequence)) STRICT;
CREATE TABLE packed_envelope (
    stream INTEGER NOT NULL, sha256 BLOB NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (stream, sha256)) STRICT, WITHOUT ROWID;
-- What a file of the source was when it was last read: packed content by its digest, or the reason why it is no envelope.
CREATE TABLE seen_file (
    source TEXT NOT NULL, path BLOB NOT NULL, dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime TEXT NOT NULL, ctime TEXT NOT NULL, sha256 BLOB, refusal TEXT, PRIMARY KEY (source, path)) STRICT, WITHOUT ROWID;
CREATE TABLE signer (public_key BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE carry (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, medium TEXT NOT NULL, mark TEXT NOT NULL, bytes INTEGER NOT NULL, millis INTEGER NOT NULL) STRICT;
CREATE TABLE carried (
    carry INTEGER NOT NULL REFERENCES carry, stream INTEGER NOT NULL, sequence INTEGER NOT NULL, is_new INTEGER NOT NULL,
    proof TEXT NOT NULL, PRIMARY KEY (carry, stream, sequence)) STRICT, WITHOUT ROWID;
CREATE INDEX carried_batch ON carried (stream, sequence);
