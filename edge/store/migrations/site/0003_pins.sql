-- Studies that a person wants to stay in the cache. There is no migration 0002: databases have this number as their version, so it stays.
CREATE TABLE pin (
    study     TEXT PRIMARY KEY CHECK (length(study) BETWEEN 1 AND 64),
    until     REAL,                                              -- seconds since the epoch; NULL: until it is taken back
    pinned_at REAL NOT NULL
) STRICT;
