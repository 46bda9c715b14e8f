-- A pack that the archive's catalog says is retired goes, and a study with its last pack.
CREATE TABLE leaving (
    pack TEXT PRIMARY KEY CHECK (length(pack) = 26)
) STRICT, WITHOUT ROWID;

DROP TRIGGER a_holding_stays;
CREATE TRIGGER a_holding_stays BEFORE DELETE ON holding
WHEN (SELECT here FROM pack WHERE pack.pack = OLD.pack) != 'whole' AND NOT EXISTS (SELECT 1 FROM leaving WHERE leaving.pack = OLD.pack)
BEGIN
    SELECT RAISE(ABORT, 'the archive has the only copy of this pack');
END;

CREATE TRIGGER a_study_is_counted_no_more BEFORE DELETE ON study
BEGIN
    UPDATE figures SET counted = 0 WHERE study = OLD.study AND counted = 1;
    DELETE FROM figures WHERE study = OLD.study;
    UPDATE total SET studies = studies - 1;
END;
