-- Batches that the importer has by its own word, said by a code that only it can make: the numbers that one code was the first
-- to say so of.
CREATE TABLE acknowledged (
    stream INTEGER NOT NULL REFERENCES stream, first INTEGER NOT NULL, last INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (stream, first)) STRICT, WITHOUT ROWID;
-- When codes were typed of late that fit no batch, in seconds since 1970.
CREATE TABLE wrong_code (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
