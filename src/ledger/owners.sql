-- Streams that may deliver under a connector's id: the one by which it came first (the first row), those for which a
-- person said so, and those that brought the same connector (`name`, `type`) in the same run (`turn`): these share it as
-- long as they call it what the first one calls it. What came before this was noted stays as it is: each stream that
-- brought an id has it.
CREATE TABLE connector_stream (
    id INTEGER PRIMARY KEY, connector TEXT NOT NULL, stream TEXT NOT NULL,
    name TEXT, type TEXT, turn INTEGER, shared INTEGER NOT NULL DEFAULT 0, UNIQUE (connector, stream)) STRICT;
INSERT INTO connector_stream (connector, stream)
    SELECT c.value ->> 'id', b.stream FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') c
    WHERE b.state IN ('admitted', 'delivered') GROUP BY 1, 2 ORDER BY min(b.id);
-- The fingerprints of the keys that signed the admitted batches of a stream.
CREATE TABLE stream_signer (
    stream TEXT NOT NULL, signer TEXT NOT NULL, PRIMARY KEY (stream, signer)) STRICT, WITHOUT ROWID;
-- The stream that a stream goes on from, where its signers may sign that one too.
CREATE TABLE stream_heir (stream TEXT PRIMARY KEY, before TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO stream_heir
    SELECT stream, succeeds_stream FROM batch WHERE succeeds_stream IS NOT NULL AND state IN ('admitted', 'delivered') ORDER BY id;
