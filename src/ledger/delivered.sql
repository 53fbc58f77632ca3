
-- The importer's side. `incomplete`: parts are missing. `whole`: in the inbox, not admitted yet (`standing` says why).
-- `admitted`: being delivered. `delivered`: done. `refused`: its signer contradicts himself.
CREATE TABLE batch (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, sequence INTEGER NOT NULL, sha256 BLOB NOT NULL UNIQUE, manifest BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('incomplete', 'whole', 'admitted', 'delivered', 'refused')),
    standing TEXT, late INTEGER NOT NULL DEFAULT 0, done_at INTEGER, pruned INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX batch_number ON batch (stream, sequence);
CREATE TABLE settled (stream TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE accepted (sha256 BLOB PRIMARY KEY, stream TEXT NOT NULL, sequence INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE destination (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, address TEXT NOT NULL, mark TEXT NOT NULL,
    current INTEGER NOT NULL, since TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX one_current_destination ON destination (current) WHERE current = 1;
CREATE TABLE delivered (
    destination INTEGER NOT NULL, sha256 BLOB NOT NULL, batch INTEGER NOT NULL, ordinal INTEGER NOT NULL, applicant TEXT,
    PRIMARY KEY (destination, sha256)) STRICT, WITHOUT ROWID;
-- What is being given its name in a directory: after a crash, a `.partial` that is gone was placed.
CREATE TABLE placing (
    destination INTEGER NOT NULL, sha256 BLOB NOT NULL, batch INTEGER NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL,
    mark INTEGER NOT NULL, applicant TEXT, PRIMARY KEY (destination, name)) STRICT, WITHOUT ROWID;
CREATE TABLE set_aside (
    sha256 BLOB PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('held', 'quarantined', 'released')), code TEXT NOT NULL, what TEXT NOT NULL,
    place TEXT NOT NULL, batch INTEGER NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL, connector TEXT NOT NULL,
    connector_name TEXT NOT NULL, applicant TEXT, reason TEXT) STRICT, WITHOUT ROWID;

