-- When an envelope was set aside first, in seconds since 1970. Those of an older airpouch have the time when their batch was
-- done, if it was.
ALTER TABLE set_aside ADD COLUMN at INTEGER;
UPDATE set_aside SET at = (SELECT b.done_at FROM batch b WHERE b.id = set_aside.batch);
-- This index answers alone how much stands alike: the rows with their texts are not touched.
CREATE INDEX aside_standing ON set_aside (kind, code, connector, connector_name, at);
-- What persons decided about envelopes that were set aside, in this order. Nothing is ever taken out of it. Of a release by an
-- older airpouch the journal alone knows who did it and when.
CREATE TABLE decision (
    id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, decision TEXT NOT NULL CHECK (decision IN ('released', 'unreleased', 'rejected', 'unrejected')),
    reason TEXT NOT NULL, at TEXT, user TEXT, operator TEXT, second TEXT, witness TEXT, ticket TEXT, note TEXT) STRICT;
CREATE INDEX decision_envelope ON decision (sha256);
INSERT INTO decision (sha256, decision, reason) SELECT sha256, 'released', coalesce(reason, '') FROM set_aside WHERE kind = 'released';
-- Envelopes that are set aside no more since a person decided about them: rejected, or released and then delivered (`empty`:
-- it turned out that there was nothing to deliver). `kind` is how they were set aside until then, `copied` whether the copy of
-- a rejected one was kept.
CREATE TABLE decided (
    id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'empty', 'rejected')),
    settled_at TEXT NOT NULL, kind TEXT NOT NULL, code TEXT NOT NULL, what TEXT NOT NULL, place TEXT NOT NULL, batch INTEGER NOT NULL,
    ordinal INTEGER NOT NULL, name TEXT NOT NULL, connector TEXT NOT NULL, connector_name TEXT NOT NULL, applicant TEXT, mtime TEXT,
    copied INTEGER NOT NULL, bytes INTEGER NOT NULL, at INTEGER) STRICT;
CREATE INDEX decided_envelope ON decided (sha256, outcome);
CREATE UNIQUE INDEX rejected_envelope ON decided (sha256) WHERE outcome = 'rejected';
CREATE INDEX decided_batch ON decided (batch, ordinal);
