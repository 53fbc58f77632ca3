-- The fingerprints of the keys that signed a batch and may sign it, as they were when it was admitted last. What was
-- delivered before this was noted has none.
CREATE TABLE batch_signer (
    batch INTEGER NOT NULL REFERENCES batch (id), signer TEXT NOT NULL, PRIMARY KEY (batch, signer)) STRICT, WITHOUT ROWID;
