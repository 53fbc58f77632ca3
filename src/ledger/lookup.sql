-- What is kept of a batch to look up in when its files are gone. `has_index`: whether its index was kept when it was pruned; NULL
-- until then. `list`: `kept`, or why there is no list of its objects (`off`, `too-many`); NULL where an older airpouch delivered
-- it. `records`, `sha256`: of the list, which is no file where it has no record. `unread`: envelopes that are not in it, or not to
-- their end. A batch of which an older airpouch did all has no row.
CREATE TABLE lookup (
    batch INTEGER PRIMARY KEY, has_index INTEGER, list TEXT CHECK (list IN ('kept', 'off', 'too-many')),
    records INTEGER NOT NULL DEFAULT 0, sha256 BLOB, unread INTEGER NOT NULL DEFAULT 0) STRICT;
