-- The last days (since 1970, by the clock of this machine) on which each connector brought envelopes, by the last stream that
-- brought them, and when on that day it was last. A fortnight of them is kept.
CREATE TABLE came_day (
    connector TEXT NOT NULL, day INTEGER NOT NULL, at INTEGER NOT NULL, stream TEXT NOT NULL,
    PRIMARY KEY (connector, day)) STRICT, WITHOUT ROWID;
-- SQLite takes the other columns from the row of the largest `at`.
INSERT INTO came_day
    SELECT c.value ->> 'id', b.taken_at / 86400, max(b.taken_at), b.stream
    FROM batch b, json_each(CAST(b.manifest AS TEXT), '$.connectors') c
    WHERE b.taken_at > (SELECT max(taken_at) FROM batch) - 14 * 86400 GROUP BY 1, 2;
