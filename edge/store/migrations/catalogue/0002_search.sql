-- What is searched for is found, and what is counted is known, without looking at everything.

CREATE INDEX patient_by_birth_date ON patient (birth_date);
CREATE INDEX study_by_reception ON study (received_at);
CREATE INDEX series_by_modality ON series (modality, study);
CREATE INDEX pack_asked ON pack (coded_at) WHERE asked IS NOT NULL;
CREATE INDEX pack_stopped ON pack (closed_at) WHERE stopped IS NOT NULL;
CREATE INDEX pack_in_part ON pack (pack) WHERE here = 'some';
CREATE INDEX pack_headless ON pack (study) WHERE has_head = 0 AND here != 'whole';

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

INSERT INTO name (text) SELECT DISTINCT value FROM patient, json_each('[' || replace(json_quote(patient.name), '=', '","') || ']')
WHERE value != '';
INSERT INTO name_part (rowid, text) SELECT name, text FROM name;
INSERT INTO called (name, patient) SELECT DISTINCT name.name, patient.patient
FROM patient, json_each('[' || replace(json_quote(patient.name), '=', '","') || ']') JOIN name ON text = value;

INSERT INTO sounding (sound, patient) SELECT DISTINCT value, patient.patient
FROM patient, json_each('[' || replace(json_quote(trim(patient.sounds)), ' ', '","') || ']') WHERE value != '';

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

INSERT INTO figures (study, counted, modalities, series, instances, away)
SELECT study, 1, modalities, series, instances, away FROM study_count;
INSERT INTO waiting (pack) SELECT pack FROM pack WHERE NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack);
INSERT INTO total (one, studies, instances, cached_bytes, last_held_at)
SELECT 1, (SELECT count(*) FROM study), (SELECT coalesce(sum(instances), 0) FROM figures),
    (SELECT coalesce(sum(bytes), 0) FROM pack WHERE here != 'no'), (SELECT max(held_at) FROM holding);

CREATE TRIGGER a_study_is_counted AFTER INSERT ON study
BEGIN
    INSERT INTO figures (study) VALUES (NEW.study);
    UPDATE total SET studies = studies + 1;
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
