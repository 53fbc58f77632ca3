-- What officers sign when they let an envelope through, until that is taken back; `number` is in hex.
CREATE TABLE release_statement (
    sha256 BLOB PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, number TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Their signatures, each with the public key in PEM.
CREATE TABLE release_signature (
    sha256 BLOB NOT NULL, key TEXT NOT NULL, signature BLOB NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (sha256, key)) STRICT, WITHOUT ROWID;
