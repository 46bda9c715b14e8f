-- Holdings that were retired.
CREATE TABLE retired (
    pack      TEXT    PRIMARY KEY CHECK (length(pack) = 26),
    stored_as TEXT    NOT NULL CHECK (length(stored_as) = 26),         -- its id in the archive
    at        REAL    NOT NULL,
    entry     INTEGER,
    told      INTEGER NOT NULL CHECK (told IN (0, 1))
) STRICT;
CREATE INDEX retired_untold ON retired (at) WHERE told = 0;
