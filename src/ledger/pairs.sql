-- In whose name each connector wrote, counted when a batch is admitted for the first time: only its index knows. Of batches
-- that an older airpouch admitted it is not known. An applicant that is not named is the empty text with `named` 0.
CREATE TABLE came_pair (
    applicant TEXT NOT NULL, named INTEGER NOT NULL, stream TEXT NOT NULL, connector TEXT NOT NULL, envelopes INTEGER NOT NULL,
    PRIMARY KEY (applicant, named, stream, connector)) STRICT, WITHOUT ROWID;
-- The batches whose pairs are counted: one that lost a file is admitted again.
CREATE TABLE paired (batch INTEGER PRIMARY KEY) STRICT;
