-- What is to be written into the journal, noted together with what was done; `line` is a JSON object.
CREATE TABLE noted (id INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;
