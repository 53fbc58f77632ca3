-- Within how many seconds the exporter promises the batch after this one; none where it promises nothing.
ALTER TABLE batch ADD COLUMN promise INTEGER;
UPDATE batch SET promise = json_extract(CAST(manifest AS TEXT), '$.promise');
