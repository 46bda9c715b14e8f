-- The archive is compared with the ledger: what was found, packs that are shipped anew under another id, segments that can be put back.
ALTER TABLE packs ADD COLUMN stored_as TEXT CHECK (length(stored_as) = 26);
ALTER TABLE packs ADD COLUMN replaces TEXT CHECK ((replaces IS NULL) = (stored_as IS NULL));
ALTER TABLE packs ADD COLUMN damage TEXT CHECK (damage IS NULL OR state = 'held');
CREATE INDEX packs_stored ON packs (coalesce(stored_as, pack));

CREATE TABLE segments_kept (
    sequence  INTEGER PRIMARY KEY CHECK (sequence >= 1),
    name      TEXT    NOT NULL UNIQUE,
    tip       TEXT    NOT NULL CHECK (length(tip) = 64),
    signer    BLOB    NOT NULL,
    sealed    BLOB,
    confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    CHECK (sealed IS NOT NULL OR confirmed = 1)
) STRICT;
INSERT INTO segments_kept SELECT sequence, name, tip, signer, sealed, confirmed FROM segments;
DROP TABLE segments;
ALTER TABLE segments_kept RENAME TO segments;
CREATE UNIQUE INDEX one_segment_in_flight ON segments (confirmed) WHERE confirmed = 0;

-- The comparison of the archive with this ledger that is under way, or ended last; number 0: there was none.
CREATE TABLE verification (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    number       INTEGER NOT NULL CHECK (number >= 0),
    asked        INTEGER NOT NULL CHECK (asked >= 0),                  -- seq of the ask; 0: nobody asked
    percent      REAL    NOT NULL CHECK (percent BETWEEN 0 AND 100),   -- of the objects are read
    start        REAL    NOT NULL CHECK (start >= 0 AND start < 1),    -- where the sample begins: behind the one before it
    upto         TEXT    NOT NULL,                                     -- the last step that was done
    began_at     REAL,
    ended_at     REAL,
    objects      INTEGER NOT NULL,
    read_objects INTEGER NOT NULL,
    read_bytes   INTEGER NOT NULL,
    damaged      INTEGER NOT NULL,                                     -- packs
    faults       TEXT    NOT NULL CHECK (json_valid(faults))           -- of the catalog and of site state, as sentences
) STRICT;

INSERT INTO verification VALUES (1, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, '[]');
