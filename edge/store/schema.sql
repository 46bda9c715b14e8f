-- The catalogue: what exists, at the four levels of the composite model, and in which pack it lies.
-- Derived: packs, heads and restated facts make it again. Attributes are objects of the DICOM JSON Model (PS3.18 Annex F).

CREATE TABLE patient (
    patient     INTEGER PRIMARY KEY,
    identity    TEXT NOT NULL UNIQUE,                       -- Patient ID and issuer, for people of one ID who are kept apart also a study; a study's own for empty and dummy IDs
    patient_id  TEXT NOT NULL,
    issuer      TEXT NOT NULL,
    name        TEXT NOT NULL,                              -- folded for matching: no case, no accents, groups joined by =
    sounds      TEXT NOT NULL,                              -- keys of the words of the name by their sound, each between spaces
    birth_date  TEXT NOT NULL,
    sex         TEXT NOT NULL,
    attributes  TEXT NOT NULL CHECK (json_valid(attributes)),
    apart       INTEGER GENERATED ALWAYS AS (length(identity) - length(replace(identity, char(31), '')) = 2) VIRTUAL
                                                            -- there are, or were, other people of the same ID and issuer
) STRICT;
CREATE INDEX patient_apart ON patient (patient_id, issuer) WHERE apart;
CREATE INDEX patient_by_id ON patient (patient_id);
CREATE INDEX patient_by_name ON patient (name);
CREATE INDEX patient_by_birth_date ON patient (birth_date);

-- The component groups of patients' names, folded, each text once: what a search by name looks through.
CREATE TABLE name (
    name INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE CHECK (text != '')
) STRICT;

-- Which names have three characters in a row.
CREATE VIRTUAL TABLE name_part USING fts5 (
    text, content = 'name', content_rowid = 'name', tokenize = 'trigram case_sensitive 1', detail = none, columnsize = 0
);

-- Who has a name.
CREATE TABLE called (
    name    INTEGER NOT NULL REFERENCES name,
    patient INTEGER NOT NULL REFERENCES patient,
    PRIMARY KEY (name, patient)
) STRICT, WITHOUT ROWID;
CREATE INDEX called_by_patient ON called (patient);

-- Whose name has a word of a sound, in any of its component groups.
CREATE TABLE sounding (
    sound   TEXT NOT NULL CHECK (sound != ''),
    patient INTEGER NOT NULL REFERENCES patient,
    PRIMARY KEY (sound, patient)
) STRICT, WITHOUT ROWID;
CREATE INDEX sounding_by_patient ON sounding (patient);

CREATE TRIGGER a_patient_is_called AFTER INSERT ON patient
BEGIN
    INSERT INTO name (text) SELECT value FROM json_each('[' || replace(json_quote(NEW.name), '=', '","') || ']') WHERE value != ''
        ON CONFLICT DO NOTHING;
    INSERT INTO called (name, patient) SELECT name.name, NEW.patient
        FROM json_each('[' || replace(json_quote(NEW.name), '=', '","') || ']') JOIN name ON text = value WHERE true ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER a_patient_is_called_otherwise AFTER UPDATE OF name ON patient WHEN NEW.name != OLD.name
BEGIN
    DELETE FROM called WHERE patient = NEW.patient;
    INSERT INTO name (text) SELECT value FROM json_each('[' || replace(json_quote(NEW.name), '=', '","') || ']') WHERE value != ''
        ON CONFLICT DO NOTHING;
    INSERT INTO called (name, patient) SELECT name.name, NEW.patient
        FROM json_each('[' || replace(json_quote(NEW.name), '=', '","') || ']') JOIN name ON text = value WHERE true ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER a_patient_is_called_no_more BEFORE DELETE ON patient
BEGIN
    DELETE FROM called WHERE patient = OLD.patient;
END;

CREATE TRIGGER nobody_has_a_name AFTER DELETE ON called WHEN NOT EXISTS (SELECT 1 FROM called WHERE name = OLD.name)
BEGIN
    DELETE FROM name WHERE name = OLD.name;
END;

CREATE TRIGGER a_name_is_known_by_its_parts AFTER INSERT ON name
BEGIN
    INSERT INTO name_part (rowid, text) VALUES (NEW.name, NEW.text);
END;

CREATE TRIGGER a_name_is_known_no_more AFTER DELETE ON name
BEGIN
    INSERT INTO name_part (name_part, rowid, text) VALUES ('delete', OLD.name, OLD.text);
END;

CREATE TRIGGER a_name_sounds AFTER INSERT ON patient
BEGIN
    INSERT INTO sounding (sound, patient) SELECT value, NEW.patient FROM json_each('[' || replace(json_quote(trim(NEW.sounds)), ' ', '","') || ']')
        WHERE value != '' ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER a_name_sounds_otherwise AFTER UPDATE OF sounds ON patient WHEN NEW.sounds != OLD.sounds
BEGIN
    DELETE FROM sounding WHERE patient = NEW.patient;
    INSERT INTO sounding (sound, patient) SELECT value, NEW.patient FROM json_each('[' || replace(json_quote(trim(NEW.sounds)), ' ', '","') || ']')
        WHERE value != '' ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER a_name_sounds_no_more BEFORE DELETE ON patient
BEGIN
    DELETE FROM sounding WHERE patient = OLD.patient;
END;

CREATE TABLE study (
    study       INTEGER PRIMARY KEY,
    patient     INTEGER NOT NULL REFERENCES patient,
    uid         TEXT NOT NULL UNIQUE CHECK (length(uid) BETWEEN 1 AND 64),
    date        TEXT NOT NULL,
    time        TEXT NOT NULL,
    accession   TEXT NOT NULL,
    study_id    TEXT NOT NULL,
    received_at REAL NOT NULL,                              -- of its newest instance, seconds since the epoch
    attributes  TEXT NOT NULL CHECK (json_valid(attributes)),
    arrived     TEXT CHECK (arrived IS NULL OR json_valid(arrived)), -- its patient's and its own attributes as they arrived, while a correction stands
    correction  TEXT CHECK (correction IS NULL OR json_valid(correction)), -- what its instances are patched with as they are sent
    corrected_at REAL,
    rejected    INTEGER NOT NULL DEFAULT 0 CHECK (rejected IN (0, 1)), -- not to be used: UNAVAILABLE, and not sent
    CHECK ((arrived IS NULL) = (correction IS NULL)),
    CHECK (correction IS NULL OR corrected_at IS NOT NULL)
) STRICT;
CREATE INDEX study_by_patient ON study (patient);
CREATE INDEX study_by_date ON study (date, time);
CREATE INDEX study_by_accession ON study (accession);
CREATE INDEX study_by_reception ON study (received_at);

CREATE TABLE series (
    series      INTEGER PRIMARY KEY,
    study       INTEGER NOT NULL REFERENCES study,
    uid         TEXT NOT NULL CHECK (length(uid) BETWEEN 1 AND 64),
    modality    TEXT NOT NULL,
    number      INTEGER,
    attributes  TEXT NOT NULL CHECK (json_valid(attributes)),
    UNIQUE (study, uid)
) STRICT;
CREATE INDEX series_by_uid ON series (uid);
CREATE INDEX series_by_modality ON series (modality, study);

CREATE TABLE pack (
    pack         TEXT PRIMARY KEY CHECK (length(pack) = 26),
    study        INTEGER NOT NULL REFERENCES study,
    urgency      TEXT NOT NULL CHECK (urgency IN ('stat', 'routine', 'background')), -- not derived: routine where the catalogue was made again
    opened_at    REAL NOT NULL,                             -- reception of its first instance
    closed_at    REAL,                                      -- NULL: open, in cache/open/. Else the mtime of its file; made again without one, coded_at
    bytes        INTEGER,                                   -- of the closed pack file
    sha256       TEXT CHECK (length(sha256) = 64),
    instances    INTEGER NOT NULL DEFAULT 0,
    coded_at     REAL,                                      -- mtime of its head
    coded_bytes  INTEGER,                                   -- head and parts, before they are sealed
    asked        TEXT CHECK (asked IS NULL OR json_valid(asked)),            -- the ask that ships it, kept until it is held
    confirmed    INTEGER NOT NULL DEFAULT 0,                -- objects proven to be in the archive, of `objects`; before it is held, not derived
    objects      INTEGER NOT NULL DEFAULT 0,
    stopped      TEXT,                                      -- why it is not shipped any further until a person acts; found out again, not derived
    here         TEXT NOT NULL CHECK (here IN ('whole', 'some', 'no')), -- how much of it the cache holds
    has_head     INTEGER NOT NULL DEFAULT 0 CHECK (has_head IN (0, 1)),
    used_at      REAL NOT NULL,                             -- last retrieve, or reception; the retrieve is not derived
    damaged      TEXT,                                      -- what is wrong with the archive's copy of it; told again, not derived
    origin       TEXT CHECK (length(origin) = 10),          -- the site that shipped it, where that is another one; told again, not derived
    news         INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1)), -- that site shipped it after it was followed: routes send it on
    dropped      TEXT CHECK (dropped IS NULL OR stopped IS NOT NULL), -- why a person wants it here only; not derived: it is tried again then
    CHECK ((closed_at IS NULL) = (sha256 IS NULL)),
    CHECK (coded_at IS NULL OR closed_at IS NOT NULL)
) STRICT;
CREATE INDEX pack_by_study ON pack (study);
CREATE INDEX pack_not_shipped ON pack (closed_at) WHERE coded_at IS NULL;
CREATE INDEX pack_here_by_use ON pack (used_at) WHERE here != 'no';
CREATE INDEX pack_asked ON pack (coded_at) WHERE asked IS NOT NULL;
CREATE INDEX pack_stopped ON pack (closed_at) WHERE stopped IS NOT NULL;
CREATE INDEX pack_in_part ON pack (pack) WHERE here = 'some';
CREATE INDEX pack_damaged ON pack (pack) WHERE damaged IS NOT NULL;
CREATE INDEX pack_headless ON pack (study) WHERE has_head = 0 AND here != 'whole';

-- edge's own copy of the fact that head, parts, sums and the catalog segment of a pack are proven to be in the archive.
CREATE TABLE holding (
    pack         TEXT PRIMARY KEY REFERENCES pack,
    held_at      REAL NOT NULL,
    sealed_bytes INTEGER NOT NULL
) STRICT;

CREATE TRIGGER never_the_only_copy BEFORE UPDATE OF here ON pack
WHEN NEW.here = 'no' AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = NEW.pack)
BEGIN
    SELECT RAISE(ABORT, 'a pack without a holding is the only copy');
END;

-- Packs that the archive's catalog says are retired, until no file of them is left. Not derived: told again.
CREATE TABLE leaving (
    pack TEXT PRIMARY KEY CHECK (length(pack) = 26)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_holding_stays BEFORE DELETE ON holding
WHEN (SELECT here FROM pack WHERE pack.pack = OLD.pack) != 'whole' AND NOT EXISTS (SELECT 1 FROM leaving WHERE leaving.pack = OLD.pack)
BEGIN
    SELECT RAISE(ABORT, 'the archive has the only copy of this pack');
END;

CREATE TABLE instance (
    instance       INTEGER PRIMARY KEY,
    series         INTEGER NOT NULL REFERENCES series,
    uid            TEXT NOT NULL CHECK (length(uid) BETWEEN 1 AND 64),
    class          TEXT NOT NULL,
    syntax         TEXT NOT NULL,
    number         INTEGER,
    digest         TEXT NOT NULL CHECK (length(digest) = 64),
    visible        INTEGER NOT NULL CHECK (visible IN (0, 1)), -- of the variants of one instance, one at most
    stranger       INTEGER NOT NULL CHECK (stranger IN (0, 1)), -- its patient ID or birth date cannot be that of its study: hidden
    variant        TEXT CHECK (variant IN ('unclassed', 'duplicate', 'correction', 'conflict', 'decided')), -- beside those before it
    because        TEXT,                                    -- why it is a conflict
    fault          TEXT,                                    -- what breaks PS3.5 in it; it is served as it arrived
    pack           TEXT NOT NULL REFERENCES pack,
    header_offset  INTEGER NOT NULL,                        -- of its tar header block in the pack file
    dataset_offset INTEGER NOT NULL,
    dataset_length INTEGER NOT NULL,
    here           INTEGER NOT NULL CHECK (here IN (0, 1)),
    received_at    REAL NOT NULL,                           -- whole seconds, as its pack keeps them
    source_ae      TEXT NOT NULL,
    attributes     TEXT NOT NULL CHECK (json_valid(attributes)),
    UNIQUE (series, uid, digest),
    UNIQUE (pack, header_offset)
) STRICT;
CREATE INDEX instance_by_uid ON instance (uid);
CREATE INDEX instance_by_variant ON instance (variant) WHERE variant IS NOT NULL;
CREATE UNIQUE INDEX instance_visible ON instance (series, uid) WHERE visible = 1;

-- What is counted of a study, so that an answer need not count: as `study_count` says, where `counted` is 1. Where it is 0 something
-- changed since.
CREATE TABLE figures (
    study      INTEGER PRIMARY KEY REFERENCES study,
    counted    INTEGER NOT NULL DEFAULT 0 CHECK (counted IN (0, 1)),
    modalities TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(modalities)),
    series     INTEGER NOT NULL DEFAULT 0,
    instances  INTEGER NOT NULL DEFAULT 0,
    away       INTEGER NOT NULL DEFAULT 0 CHECK (away IN (0, 1, 2))
) STRICT;
CREATE INDEX figures_to_count ON figures (study) WHERE counted = 0;

-- The same by counting: modalities, series, visible instances, how far away the furthest of them is: 0 here, 1 in the archive, 2 lost.
-- Packs that are known without their heads count by their own number.
CREATE VIEW study_count AS
SELECT study.study,
    (SELECT json_group_array(modality) FROM (
        SELECT DISTINCT modality FROM series WHERE series.study = study.study AND modality != '' ORDER BY modality)) AS modalities,
    (SELECT count(*) FROM series WHERE series.study = study.study) AS series,
    (SELECT count(*) FROM series JOIN instance USING (series) WHERE series.study = study.study AND visible = 1)
        + (SELECT coalesce(sum(instances), 0) FROM pack WHERE pack.study = study.study AND has_head = 0 AND here != 'whole') AS instances,
    max((SELECT coalesce(max(1 + NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = instance.pack)), 0)
            FROM series JOIN instance USING (series) WHERE series.study = study.study AND visible = 1 AND here = 0),
        EXISTS (SELECT 1 FROM pack WHERE pack.study = study.study AND has_head = 0 AND here != 'whole')) AS away
FROM study;

-- Packs without a holding.
CREATE TABLE waiting (
    pack TEXT PRIMARY KEY REFERENCES pack
) STRICT, WITHOUT ROWID;

-- What is counted of everything; one row. The instances are those of `figures` that are counted.
CREATE TABLE total (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    studies      INTEGER NOT NULL,
    instances    INTEGER NOT NULL,
    cached_bytes INTEGER NOT NULL,                          -- of closed packs in the cache
    last_held_at REAL
) STRICT;
INSERT INTO total VALUES (1, 0, 0, 0, NULL);

CREATE TRIGGER a_study_is_counted AFTER INSERT ON study
BEGIN
    INSERT INTO figures (study) VALUES (NEW.study);
    UPDATE total SET studies = studies + 1;
END;

CREATE TRIGGER a_study_is_counted_no_more BEFORE DELETE ON study
BEGIN
    UPDATE figures SET counted = 0 WHERE study = OLD.study AND counted = 1;
    DELETE FROM figures WHERE study = OLD.study;
    UPDATE total SET studies = studies - 1;
END;

CREATE TRIGGER a_total_goes_up AFTER UPDATE OF counted ON figures WHEN NEW.counted > OLD.counted
BEGIN
    UPDATE total SET instances = instances + NEW.instances;
END;

CREATE TRIGGER a_total_goes_down AFTER UPDATE OF counted ON figures WHEN NEW.counted < OLD.counted
BEGIN
    UPDATE total SET instances = instances - OLD.instances;
END;

CREATE TRIGGER a_series_counts AFTER INSERT ON series
BEGIN
    UPDATE figures SET counted = 0 WHERE study = NEW.study AND counted = 1;
END;

CREATE TRIGGER an_instance_counts AFTER INSERT ON instance
BEGIN
    UPDATE figures SET counted = 0 WHERE study = (SELECT study FROM series WHERE series = NEW.series) AND counted = 1;
END;

CREATE TRIGGER an_instance_counts_otherwise AFTER UPDATE OF visible, here, pack ON instance
WHEN NEW.visible != OLD.visible OR NEW.here != OLD.here OR NEW.pack != OLD.pack
BEGIN
    UPDATE figures SET counted = 0 WHERE study = (SELECT study FROM series WHERE series = NEW.series) AND counted = 1;
END;

CREATE TRIGGER an_instance_counts_no_more AFTER DELETE ON instance
BEGIN
    UPDATE figures SET counted = 0 WHERE study = (SELECT study FROM series WHERE series = OLD.series) AND counted = 1;
END;

CREATE TRIGGER a_pack_counts AFTER INSERT ON pack
BEGIN
    INSERT INTO waiting (pack) VALUES (NEW.pack);
    UPDATE figures SET counted = 0 WHERE study = NEW.study AND counted = 1;
    UPDATE total SET cached_bytes = cached_bytes + NEW.bytes WHERE NEW.here != 'no' AND NEW.bytes > 0;
END;

CREATE TRIGGER a_pack_counts_otherwise AFTER UPDATE OF has_head, here, instances ON pack
WHEN NEW.has_head != OLD.has_head OR NEW.here != OLD.here OR NEW.instances != OLD.instances
BEGIN
    UPDATE figures SET counted = 0 WHERE study = NEW.study AND counted = 1;
END;

CREATE TRIGGER a_pack_takes_room AFTER UPDATE OF here, bytes ON pack
WHEN iif(NEW.here = 'no', 0, coalesce(NEW.bytes, 0)) != iif(OLD.here = 'no', 0, coalesce(OLD.bytes, 0))
BEGIN
    UPDATE total SET cached_bytes = cached_bytes
        + iif(NEW.here = 'no', 0, coalesce(NEW.bytes, 0)) - iif(OLD.here = 'no', 0, coalesce(OLD.bytes, 0));
END;

CREATE TRIGGER a_pack_counts_no_more BEFORE DELETE ON pack
BEGIN
    DELETE FROM waiting WHERE pack = OLD.pack;
    UPDATE figures SET counted = 0 WHERE study = OLD.study AND counted = 1;
    UPDATE total SET cached_bytes = cached_bytes - OLD.bytes WHERE OLD.here != 'no' AND OLD.bytes > 0;
END;

CREATE TRIGGER a_pack_is_held AFTER INSERT ON holding
BEGIN
    DELETE FROM waiting WHERE pack = NEW.pack;
    UPDATE figures SET counted = 0 WHERE study = (SELECT study FROM pack WHERE pack = NEW.pack) AND counted = 1
        AND EXISTS (SELECT 1 FROM instance WHERE pack = NEW.pack AND here = 0);
    UPDATE total SET last_held_at = max(coalesce(last_held_at, 0), NEW.held_at);
END;

CREATE TRIGGER a_pack_is_held_no_more AFTER DELETE ON holding
BEGIN
    INSERT INTO waiting (pack) VALUES (OLD.pack) ON CONFLICT DO NOTHING;
    UPDATE figures SET counted = 0 WHERE study = (SELECT study FROM pack WHERE pack = OLD.pack) AND counted = 1;
END;

CREATE TABLE quarantine (
    digest       TEXT PRIMARY KEY CHECK (length(digest) = 64),
    reason       TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    syntax       TEXT NOT NULL,
    sop_instance TEXT NOT NULL,                             -- as the request named it, whatever the dataset says
    source_ae    TEXT NOT NULL,
    received_at  REAL NOT NULL
) STRICT;
CREATE INDEX quarantine_by_instance ON quarantine (sop_instance);

-- Who was turned away because no peer allows it; capped in number. Not derived, and no loss when it is gone.
CREATE TABLE caller (
    caller   INTEGER PRIMARY KEY,
    ae_title TEXT NOT NULL,
    address  TEXT NOT NULL,
    called   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at  REAL NOT NULL,
    times    INTEGER NOT NULL,
    UNIQUE (ae_title, address)
) STRICT;

-- How far a route has looked at what arrived, and how its destination fares. Not derived; where it is lost, what lies in the cache since
-- the route's `since` is sent again.
CREATE TABLE forwarding (
    route    TEXT PRIMARY KEY,
    upto     INTEGER NOT NULL DEFAULT 0,                    -- the last instance that was looked at
    sent     INTEGER NOT NULL DEFAULT 0,
    sent_at  REAL,
    failures INTEGER NOT NULL DEFAULT 0,                    -- of the destination, in a row
    fault    TEXT,
    next_at  REAL NOT NULL DEFAULT 0,
    begun    INTEGER NOT NULL DEFAULT 0                     -- the last instance that was here before the route began
) STRICT;

-- What a route owes to its destination: a row for each instance until it is there.
CREATE TABLE forward (
    route    TEXT NOT NULL REFERENCES forwarding ON DELETE CASCADE,
    instance INTEGER NOT NULL REFERENCES instance,
    attempts INTEGER NOT NULL DEFAULT 0,                    -- that failed for this instance alone
    fault    TEXT,
    next_at  REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (route, instance)
) STRICT;
CREATE INDEX forward_by_instance ON forward (instance);

-- What cloudsync last said of the link; one row.
CREATE TABLE link (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    state       TEXT NOT NULL,
    since       REAL NOT NULL,
    goodput     REAL NOT NULL,
    sentence    TEXT NOT NULL,
    answered_at REAL NOT NULL,   -- 0: not since cloudsync started
    sequence    INTEGER NOT NULL, -- of the archive's catalog
    said_at     REAL NOT NULL DEFAULT 0 -- 0: not known
) STRICT;

-- What may go over the link, as cloudsync said last; one row. Told again, not derived.
CREATE TABLE allowance (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    told TEXT NOT NULL CHECK (json_valid(told))
) STRICT;

-- What cloudsync said last of the comparison of the archive with its ledger; one row. Told again, not derived.
CREATE TABLE verification (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    told TEXT NOT NULL CHECK (json_valid(told))
) STRICT;

-- How far the journal of facts is committed here; one row.
CREATE TABLE facts (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    upto      INTEGER NOT NULL,
    restating INTEGER -- the catalogue was made again, and cloudsync has yet to tell its holdings: 0, or the seq of the ask for that
) STRICT;
INSERT INTO facts (one, upto) VALUES (1, 0);

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
