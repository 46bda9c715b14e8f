-- Packs whose instances go to an archive that reads DICOM, each by itself.
ALTER TABLE packs ADD COLUMN form TEXT NOT NULL DEFAULT 'parts' CHECK (form IN ('parts', 'instances'));

CREATE TABLE instances (
    pack         TEXT    NOT NULL REFERENCES packs ON DELETE CASCADE,
    number       INTEGER NOT NULL CHECK (number >= 1),
    study        TEXT    NOT NULL,
    series       TEXT    NOT NULL,
    sop_instance TEXT    NOT NULL,
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),
    digest       TEXT    NOT NULL CHECK (length(digest) = 64),
    state        TEXT    NOT NULL CHECK (state IN ('asked', 'stored', 'refused')),
    PRIMARY KEY (pack, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX instances_named ON instances (sop_instance);
