-- put_pack --
-- A pack as its files show it; its study is known by now. The instances are counted when all of them are here.
INSERT INTO pack (pack, study, urgency, opened_at, closed_at, bytes, sha256, instances, coded_at, coded_bytes, asked, objects, here, has_head, used_at)
SELECT :pack, study, 'routine', :opened_at, :closed_at, :bytes, :sha256, 1, :coded_at, :coded_bytes, :asked, :objects, :here, :coded_at IS NOT NULL,
    :opened_at
FROM study WHERE uid = :study;

-- count_instances --
-- How many instances each closed pack has, and when the newest of them was received.
UPDATE pack SET instances = (SELECT count(*) FROM instance WHERE instance.pack = pack.pack),
    used_at = (SELECT coalesce(max(received_at), used_at) FROM instance WHERE instance.pack = pack.pack)
WHERE closed_at IS NOT NULL;

-- newest_receptions --
-- The newest reception of each study.
UPDATE study SET received_at = (SELECT max(instance.received_at) FROM instance JOIN series USING (series) WHERE series.study = study.study);

-- begin_restating --
-- The holdings have yet to be told.
UPDATE facts SET restating = 0;

-- code_unheld --
-- What is coded, neither held nor in the outbox, and whole here has to be coded and shipped once more.
UPDATE pack SET coded_at = NULL, coded_bytes = NULL, objects = 0, confirmed = 0
WHERE pack IN (SELECT pack FROM waiting) AND coded_at IS NOT NULL AND asked IS NULL AND here = 'whole';

-- packs_nowhere --
-- Packs that neither the cache has whole nor the archive.
SELECT pack FROM waiting JOIN pack USING (pack) WHERE here != 'whole';

-- user_version --
-- Which schema a database has; 0 before it was made.
PRAGMA user_version;
