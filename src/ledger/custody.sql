
-- Whether the bytes of what is set aside were copied to held/ or quarantine/, or lie in their batch in the inbox alone; and
-- how many there are. Those of an older airpouch were copied, and count for nothing in the quota.
ALTER TABLE set_aside ADD COLUMN copied INTEGER NOT NULL DEFAULT 1;
ALTER TABLE set_aside ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX aside_in_inbox ON set_aside (batch, ordinal) WHERE copied = 0;
-- By what the ledger is known again, and how often it was told that work begins or ends: the site notes the same beside it.
INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16)))), ('turns', '0');
