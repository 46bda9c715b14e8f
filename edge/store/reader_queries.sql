-- schema --
-- Which schema the database has; 0 before edge has made it.
PRAGMA user_version;

-- instances --
-- The visible instances of a study, or of one series of it, and where they lie; in series and instance order.
SELECT class, instance.uid, series.uid, study.uid, syntax, pack, dataset_offset, dataset_length, digest, here, correction, corrected_at, header_offset
FROM study JOIN series USING (study) JOIN instance USING (series)
WHERE study.rejected = 0 AND study.uid = :study AND visible = 1 AND (:series IS NULL OR series.uid = :series)
ORDER BY series.number, series.series, instance.number, instance.instance;

-- instance --
-- One visible instance and where it lies.
SELECT class, instance.uid, series.uid, study.uid, syntax, pack, dataset_offset, dataset_length, digest, here, correction, corrected_at, header_offset
FROM study JOIN series USING (study) JOIN instance USING (series)
WHERE study.rejected = 0 AND study.uid = :study AND series.uid = :series AND instance.uid = :instance AND visible = 1;

-- here --
-- Whether the cache has all of a pack, one instance of it at least, or not even that; no row when it is not known any more.
SELECT CASE WHEN pack.here = 'whole' THEN 'pack' WHEN instance.here THEN 'instance' ELSE 'no' END
FROM instance JOIN pack USING (pack)
WHERE instance.uid = :instance AND +instance.pack = :pack AND dataset_offset = :offset;

-- headless --
-- How many packs of a study only the archive has, head included: their instances are not catalogued.
SELECT count(*) FROM pack JOIN study USING (study) WHERE study.uid = :study AND has_head = 0 AND here != 'whole';

-- link --
-- What cloudsync last said of the link.
SELECT state, since, goodput, sentence, answered_at, sequence, said_at FROM link;
