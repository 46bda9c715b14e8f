-- closed_packs_here --
-- Closed packs whose bytes the cache should have: whether the archive has them too, and whether they lie coded in the outbox.
SELECT pack, holding.pack IS NOT NULL, asked IS NOT NULL FROM pack LEFT JOIN holding USING (pack) WHERE here != 'no' AND closed_at IS NOT NULL;

-- packs_used_last --
-- Closed packs that were received into, or retrieved from, in the last seconds before the newest of them, the newest first.
SELECT pack, coalesce(bytes, 0), EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack), asked IS NOT NULL FROM pack
WHERE here != 'no' AND closed_at IS NOT NULL AND used_at >= (SELECT max(used_at) FROM pack WHERE here != 'no') - :seconds
ORDER BY used_at DESC;

-- members_here --
-- The members of a pack that the cache should have: where each begins, where its dataset lies, and its digest.
SELECT header_offset, dataset_offset, dataset_length, digest FROM instance WHERE pack = ? AND here = 1 ORDER BY header_offset;

-- members_lost --
-- The members of a pack that are not in the cache, as `members_here`.
SELECT header_offset, dataset_offset, dataset_length, digest FROM instance WHERE pack = ? AND here = 0 ORDER BY header_offset;

-- lose_instance --
-- An instance whose bytes the pack file does not prove.
UPDATE instance SET here = 0, fault = 'its bytes are missing from the pack file' WHERE pack = ? AND header_offset = ?;

-- lose_pack --
-- Every instance of a pack whose file is gone.
UPDATE instance SET here = 0, fault = 'its bytes are missing from the pack file' WHERE pack = ?;

-- members_to_move --
-- What another pack has to be told of the members of a pack that the cache should have.
SELECT instance, study.uid, series.uid, instance.uid, class, syntax, source_ae, instance.received_at, header_offset, dataset_offset, dataset_length,
    digest
FROM instance JOIN series USING (series) JOIN study USING (study) WHERE pack = ? AND here = 1 ORDER BY header_offset;

-- move_instance --
-- An instance lies in another pack by now.
UPDATE instance SET pack = ?, header_offset = ?, dataset_offset = ? WHERE instance = ?;

-- count_pack --
-- A closed pack has as many instances as are left in it.
UPDATE pack SET instances = (SELECT count(*) FROM instance WHERE instance.pack = pack.pack) WHERE pack = ?;

-- find_again --
-- An instance that was lost lies where it lay.
UPDATE instance SET here = 1, fault = NULL WHERE pack = ? AND header_offset = ? AND here = 0;

-- packs_with_losses --
-- Closed packs that are on this disk alone, and of which instances are lost.
SELECT pack FROM waiting CROSS JOIN pack USING (pack) WHERE stopped IS NOT NULL AND closed_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM instance WHERE instance.pack = pack.pack AND here = 0);

-- losses --
-- Studies with instances that are lost: neither here nor in the archive, until somebody sends them again.
SELECT study.uid, count(*), min(instance.received_at) FROM waiting CROSS JOIN pack USING (pack) CROSS JOIN instance USING (pack) JOIN study USING (study)
WHERE (pack.stopped IS NOT NULL OR pack.closed_at IS NULL) AND instance.here = 0
GROUP BY study.study ORDER BY min(instance.received_at);

-- go_on --
-- A pack that waited for a person goes its way again.
UPDATE pack SET stopped = NULL, dropped = NULL WHERE pack = ?;

-- emptied_packs --
-- Packs of a study whose instances all lie in other packs by now, or were sent again.
SELECT pack FROM pack WHERE study = (SELECT study FROM pack AS other WHERE other.pack = ?) AND stopped IS NOT NULL AND has_head = 0
    AND closed_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.pack = pack.pack)
    AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack);

-- evictable_bytes --
-- What eviction could free at most.
SELECT coalesce(sum(bytes), 0) FROM holding JOIN pack USING (pack) WHERE here != 'no' AND closed_at IS NOT NULL;
