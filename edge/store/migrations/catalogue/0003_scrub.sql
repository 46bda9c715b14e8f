-- The cache is re-read: what was found rotten, and how far each scrub is.

-- What the cache does not hold as it was received, until it does again: an instance by the offset of its dataset in the pack file; offset 0 is
-- what lies around the instances.
CREATE TABLE rotten (
    pack           TEXT NOT NULL REFERENCES pack ON DELETE CASCADE,
    dataset_offset INTEGER NOT NULL,
    found_at       REAL NOT NULL,
    PRIMARY KEY (pack, dataset_offset)
) STRICT, WITHOUT ROWID;

-- A scrub reads every closed pack of the cache, in the order of their ids. Not derived, and no loss when it is gone.
CREATE TABLE scrub (
    scrub    INTEGER PRIMARY KEY,
    began_at REAL NOT NULL,
    hurried  INTEGER NOT NULL CHECK (hurried IN (0, 1)),          -- a person wants it now
    upto     TEXT NOT NULL,                                       -- the last pack that was read
    packs    INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    rotten   INTEGER NOT NULL,                                    -- instances that it found
    repaired INTEGER NOT NULL,                                    -- instances that became whole again since it began
    ended_at REAL
) STRICT;
