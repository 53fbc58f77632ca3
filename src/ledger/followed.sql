-- Works that were closed with what was delivered under them, until the platform has said what became of it. `errors` is how
-- many objects could not be ingested so far, and `what` the first of these in words. `failed` is 1 once nothing more comes.
CREATE TABLE sent_work (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, destination INTEGER NOT NULL, batch INTEGER NOT NULL,
    connector TEXT NOT NULL, envelopes INTEGER NOT NULL, at_most INTEGER NOT NULL, closed_at INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0, what TEXT) STRICT;
CREATE INDEX sent_work_of_batch ON sent_work (destination, batch);
CREATE INDEX sent_work_waiting ON sent_work (destination, failed);
CREATE INDEX sent_work_with_errors ON sent_work (destination, errors) WHERE errors > 0;
-- What became of the works of a connector whose end is known. `messages` were ingested; `refused` objects are none that the
-- platform takes; of `unknown` works nothing is known, because they were gone.
CREATE TABLE work_end (
    destination INTEGER NOT NULL, connector TEXT NOT NULL, works INTEGER NOT NULL, messages INTEGER NOT NULL,
    refused INTEGER NOT NULL, failed INTEGER NOT NULL, unknown INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (destination, connector)) STRICT, WITHOUT ROWID;
