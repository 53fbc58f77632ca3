
-- Works that are open on the platform, so that a run that was cut off leaves none behind; `envelope` where one is for one only.
CREATE TABLE work (
    id TEXT PRIMARY KEY, destination INTEGER NOT NULL, batch INTEGER NOT NULL, connector TEXT NOT NULL, envelope BLOB) STRICT;
-- Connectors that this site has registered: registering them again overwrites nobody else's.
CREATE TABLE registered (
    destination INTEGER NOT NULL, connector TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (destination, connector)) STRICT, WITHOUT ROWID;
-- When the connector wrote what was set aside, as the index has it: works are named for it.
ALTER TABLE set_aside ADD COLUMN mtime TEXT;
