-- A pack that waits for a person may be dropped: a person decided that it stays here only.
ALTER TABLE pack ADD COLUMN dropped TEXT CHECK (dropped IS NULL OR stopped IS NOT NULL);
