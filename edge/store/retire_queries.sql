-- retire --
-- The archive's catalog says that a pack is retired: its files are to go.
INSERT INTO leaving (pack) VALUES (:pack) ON CONFLICT DO NOTHING;

-- place_of_pack --
-- The rows of the study and the patient whose pack this is.
SELECT pack.study, patient FROM pack JOIN study USING (study) WHERE pack = :pack;

-- retire_forwards --
-- No route owes an instance that is retired.
DELETE FROM forward WHERE instance IN (SELECT instance FROM instance WHERE pack = :pack);

-- retire_instances --
-- The instances of a retired pack.
DELETE FROM instance WHERE pack = :pack;

-- retire_holding --
-- The holding of a retired pack.
DELETE FROM holding WHERE pack = :pack;

-- retire_pack --
-- A retired pack, which has no instances any more.
DELETE FROM pack WHERE pack = :pack;

-- retire_series --
-- Series of which nothing is left, once all packs of their study that are left are known by their heads.
DELETE FROM series WHERE study = :study AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.series = series.series)
    AND NOT EXISTS (SELECT 1 FROM pack WHERE pack.study = :study AND has_head = 0 AND here != 'whole');

-- retire_study --
-- A study whose last pack is retired.
DELETE FROM study WHERE study = :study AND NOT EXISTS (SELECT 1 FROM pack WHERE pack.study = :study);

-- class_left --
-- Instances of which the visible variant is retired, and another one is left.
UPDATE instance SET variant = 'unclassed' WHERE series IN (SELECT series FROM series WHERE study = :study)
    AND NOT EXISTS (SELECT 1 FROM instance AS other WHERE other.series = instance.series AND other.uid = instance.uid AND other.visible = 1);

-- leaving --
-- Retired packs whose files may lie here still.
SELECT pack FROM leaving;

-- left --
-- No file of a retired pack lies here any more.
DELETE FROM leaving WHERE pack = ?;
