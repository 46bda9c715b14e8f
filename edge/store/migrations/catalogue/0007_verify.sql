-- The archive is compared with cloudsync's ledger: what is wrong with its copy of a pack, and how the comparison goes.
ALTER TABLE pack ADD COLUMN damaged TEXT;
CREATE INDEX pack_damaged ON pack (pack) WHERE damaged IS NOT NULL;

CREATE TABLE verification (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    told TEXT NOT NULL CHECK (json_valid(told))
) STRICT;
