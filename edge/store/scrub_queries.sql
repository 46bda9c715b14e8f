-- scrub_under_way --
-- The scrub that has not ended.
SELECT scrub, began_at, hurried, upto, packs, bytes, rotten, repaired, ended_at FROM scrub WHERE ended_at IS NULL ORDER BY scrub DESC LIMIT 1;

-- scrub_before --
-- The scrub that ended last.
SELECT scrub, began_at, hurried, upto, packs, bytes, rotten, repaired, ended_at FROM scrub WHERE ended_at IS NOT NULL ORDER BY scrub DESC LIMIT 1;

-- begin_scrub --
-- Another scrub begins.
INSERT INTO scrub (began_at, hurried, upto, packs, bytes, rotten, repaired) VALUES (?, ?, '', 0, 0, 0, 0);

-- forget_scrubs --
-- Scrubs that are of no interest any more: those that were broken off, and all but the last that ended.
DELETE FROM scrub WHERE ended_at IS NULL OR scrub < (SELECT max(scrub) FROM scrub WHERE ended_at IS NOT NULL);

-- advance_scrub --
-- A pack was read.
UPDATE scrub SET upto = :pack, packs = packs + 1, bytes = bytes + :bytes, rotten = rotten + :rotten WHERE scrub = :scrub;

-- end_scrub --
-- Every pack was read.
UPDATE scrub SET ended_at = ? WHERE scrub = ?;

-- count_repaired --
-- Instances became whole again.
UPDATE scrub SET repaired = repaired + ? WHERE scrub = (SELECT max(scrub) FROM scrub);

-- next_to_scrub --
-- The closed pack with bytes in the cache that follows a pack id.
SELECT pack FROM pack WHERE pack > ? AND here != 'no' AND closed_at IS NOT NULL ORDER BY pack LIMIT 1;

-- pack_to_scrub --
-- A closed pack with bytes in the cache: its study, size, SHA-256, how much of it is here, whether the archive has it, and whether it lies
-- coded in the outbox.
SELECT study.uid, coalesce(bytes, 0), sha256, here = 'whole', EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack), asked IS NOT NULL
FROM pack JOIN study USING (study) WHERE pack.pack = ? AND here != 'no' AND closed_at IS NOT NULL;

-- note_rotten --
-- An instance, or what lies around the instances, is not as it was received.
INSERT INTO rotten (pack, dataset_offset, found_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- take_rotten_out --
-- The cache does not count on the bytes of an instance any more.
UPDATE instance SET here = 0 WHERE pack = ? AND dataset_offset = ?;

-- rotten --
-- What is rotten, with its study; whether the archive has the pack, whether it lies coded in the outbox or waits for a person, how much of it
-- is here, and whether the instance is here again (NULL: it lies elsewhere by now).
SELECT rotten.pack, rotten.dataset_offset, found_at, study.uid, holding.pack IS NOT NULL, asked IS NOT NULL, stopped IS NOT NULL, pack.here,
    instance.here
FROM rotten JOIN pack USING (pack) JOIN study USING (study) LEFT JOIN holding USING (pack)
    LEFT JOIN instance ON instance.pack = rotten.pack AND instance.dataset_offset = rotten.dataset_offset
ORDER BY found_at, rotten.pack, rotten.dataset_offset;

-- forget_rotten --
-- It is as it was received again, or gone.
DELETE FROM rotten WHERE pack = ? AND dataset_offset = ?;
