-- Merges of catalog segments.
CREATE TABLE merges (
    level  INTEGER NOT NULL CHECK (level BETWEEN 1 AND 6),
    first  INTEGER NOT NULL CHECK (first >= 1),                        -- number of the first segment that it stands for
    last   INTEGER NOT NULL CHECK (last > first),
    state  TEXT    NOT NULL CHECK (state IN ('sending', 'there', 'passed')),
    sealed BLOB    CHECK ((sealed IS NULL) = (state = 'passed')),
    PRIMARY KEY (level, first)
) STRICT;
CREATE INDEX merges_last ON merges (last, level);
CREATE UNIQUE INDEX one_merge_in_flight ON merges (state) WHERE state = 'sending';
