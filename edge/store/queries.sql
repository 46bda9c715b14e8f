-- insert_patient --
-- A patient as first seen; the first stays.
INSERT INTO patient (identity, patient_id, issuer, name, sounds, birth_date, sex, attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
RETURNING patient;

-- patients_of_key --
-- The people who have one ID and issuer, the first one first.
SELECT patient, identity, name, birth_date, sex, attributes FROM patient
WHERE identity = :key OR (identity >= :key || char(31) AND identity < :key || char(32)) ORDER BY patient;

-- change_patient --
-- The only study of a patient says now who it is.
UPDATE patient SET identity = ?, patient_id = ?, issuer = ?, name = ?, sounds = ?, birth_date = ?, sex = ?, attributes = ? WHERE patient = ?;

-- forget_patient --
-- A patient whose last study is another's now.
DELETE FROM patient WHERE patient = ? AND NOT EXISTS (SELECT 1 FROM study WHERE study.patient = patient.patient);

-- insert_study --
-- A study as first seen.
INSERT INTO study (patient, date, time, accession, study_id, attributes, uid, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- study_row --
-- A study with its patient, as both are answered, and how many studies that patient has.
SELECT study.study, study.uid, study.patient, study.arrived, study.attributes AS study_attributes, patient.attributes AS patient_attributes,
    (SELECT count(*) FROM study AS other WHERE other.patient = study.patient) AS studies
FROM study JOIN patient USING (patient) WHERE study.uid = ?;

-- settle_study --
-- What is answered for a study from now on, and what its instances are patched with.
UPDATE study SET patient = ?, date = ?, time = ?, accession = ?, study_id = ?, attributes = ?, arrived = ?, correction = ?, corrected_at = ?,
    rejected = ? WHERE study = ?;

-- patients_of_id --
-- The people who have a Patient ID, whoever issued it, with their number of studies.
SELECT patient.patient_id, patient.issuer, patient.attributes, (SELECT count(*) FROM study WHERE study.patient = patient.patient)
FROM patient WHERE patient_id = ? ORDER BY patient;

-- people_apart --
-- Patient IDs that more than one person has: another birth date, or another sex and name.
SELECT DISTINCT patient_id, issuer, (SELECT count(*) FROM patient AS other WHERE other.patient_id = one.patient_id AND other.issuer = one.issuer)
FROM patient AS one WHERE apart
    AND (SELECT count(*) FROM patient AS other WHERE other.patient_id = one.patient_id AND other.issuer = one.issuer) > 1;

-- insert_series --
-- A series as first seen.
INSERT INTO series (study, uid, modality, number, attributes)
SELECT study, ?, ?, ?, ? FROM study WHERE uid = ? ON CONFLICT DO NOTHING;

-- insert_instance --
-- One variant of an instance; the first becomes the visible one, any other is to be classed. Nothing happens when this digest is catalogued already, unless it
-- was lost: then this is where it lies.
INSERT INTO instance (series, uid, class, syntax, number, digest, stranger, visible, variant, fault, pack, header_offset, dataset_offset, dataset_length,
    here, received_at, source_ae, attributes)
SELECT series.series, :uid, :class, :syntax, :number, :digest, :stranger,
    NOT :stranger AND NOT EXISTS (SELECT 1 FROM instance AS other WHERE other.series = series.series AND other.uid = :uid AND visible = 1),
    iif(:stranger OR EXISTS (SELECT 1 FROM instance AS other WHERE other.series = series.series AND other.uid = :uid), 'unclassed', NULL),
    :fault, :pack, :header_offset, :dataset_offset, :dataset_length, :here, :received_at, :source_ae, :attributes
FROM series JOIN study USING (study) WHERE study.uid = :study AND series.uid = :series
ON CONFLICT (series, uid, digest) DO UPDATE SET pack = excluded.pack, header_offset = excluded.header_offset, here = 1,
    dataset_offset = excluded.dataset_offset, dataset_length = excluded.dataset_length, fault = excluded.fault
    WHERE here = 0 AND excluded.here = 1 AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = instance.pack)
ON CONFLICT DO NOTHING;

-- sources_of_pack --
-- The AE titles that the instances of a pack came from, and how many from each.
SELECT source_ae, count(*) FROM instance WHERE pack = ? GROUP BY source_ae ORDER BY source_ae;

-- digests_of_instance --
-- The variants of an instance that are here or held, the visible one first; what is lost is to be received again.
SELECT digest FROM instance JOIN series USING (series) JOIN study USING (study)
WHERE study.uid = ? AND series.uid = ? AND instance.uid = ?
    AND (here = 1 OR EXISTS (SELECT 1 FROM holding WHERE holding.pack = instance.pack))
ORDER BY visible DESC;

-- unclassed --
-- Instances with a variant that is to be classed, in the order in which their newest variants were received: what is newest speaks last.
-- None while it is not known what the archive has: what is there would look lost.
SELECT study.uid, series.uid, instance.uid FROM instance JOIN series USING (series) JOIN study USING (study)
WHERE variant = 'unclassed' AND NOT EXISTS (SELECT 1 FROM facts WHERE restating IS NOT NULL) GROUP BY instance.series, instance.uid ORDER BY max(instance.received_at), max(instance.instance) LIMIT :most;

-- variants_of --
-- The variants of an instance in the order in which they were received.
SELECT instance.instance, digest, instance.received_at, source_ae, syntax, pack, dataset_offset, dataset_length, here, visible, variant, stranger,
    here = 0 AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = instance.pack)
FROM instance JOIN series USING (series) JOIN study USING (study)
WHERE study.uid = ? AND series.uid = ? AND instance.uid = ? ORDER BY instance.received_at, instance.instance;

-- class_variant --
-- What became of a variant.
UPDATE instance SET visible = ?, variant = ?, because = ? WHERE instance = ?;

-- class_again --
-- A person chose among the variants of an instance.
UPDATE instance SET variant = 'unclassed' WHERE instance.uid = ? AND series = (
    SELECT series.series FROM series JOIN study USING (study) WHERE series.uid = ? AND study.uid = ?);

-- conflicts --
-- Studies with instances among whose variants a person must choose: how many instances, since when, and why.
SELECT study.uid, count(DISTINCT series.uid || ' ' || instance.uid), min(instance.received_at), json_group_array(DISTINCT because)
FROM instance JOIN series USING (series) JOIN study USING (study) WHERE variant = 'conflict'
GROUP BY study.study ORDER BY min(instance.received_at);

-- variants_in_conflict --
-- Every variant of the instances of a study among which a person must choose, in the order in which they were received.
SELECT series.uid, instance.uid, digest, instance.received_at, source_ae, dataset_length, visible, variant, because
FROM instance JOIN series USING (series) JOIN study USING (study)
WHERE study.uid = :study AND EXISTS (
    SELECT 1 FROM instance AS other WHERE other.series = instance.series AND other.uid = instance.uid AND other.variant = 'conflict')
ORDER BY series.uid, instance.uid, instance.received_at, instance.instance;

-- touch_study --
-- The newest reception of a study, from what lies in one of its packs.
UPDATE study SET received_at = max(received_at, (SELECT coalesce(max(received_at), 0) FROM instance WHERE instance.pack = :pack))
WHERE study = (SELECT study FROM pack WHERE pack = :pack);

-- newest_reception --
-- When an instance was received last.
SELECT received_at FROM instance WHERE instance = (SELECT max(instance) FROM instance);

-- insert_pack --
-- A pack is born open, with its first instance; its study is known by now. The instances are counted when it closes.
INSERT INTO pack (pack, study, urgency, opened_at, instances, here, used_at)
SELECT ?, study, ?, ?, 1, 'whole', ? FROM study WHERE uid = ? ON CONFLICT DO NOTHING;

-- close_pack --
-- A quiet pack is closed: its bytes never change again.
UPDATE pack SET closed_at = :closed_at, bytes = :bytes, sha256 = :sha256,
    instances = (SELECT count(*) FROM instance WHERE instance.pack = :pack),
    used_at = (SELECT coalesce(max(received_at), :closed_at) FROM instance WHERE instance.pack = :pack)
WHERE pack = :pack AND closed_at IS NULL;

-- pack_state --
-- What is known of one pack.
SELECT pack.pack, study.uid, urgency, opened_at, closed_at, bytes, sha256, instances, coded_at, here, has_head, stopped,
    EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack)
FROM pack JOIN study USING (study) WHERE pack.pack = ?;

-- open_packs --
-- Packs that were not closed when Outpost ended.
SELECT pack FROM pack WHERE coded_at IS NULL AND closed_at IS NULL;

-- offsets_in_pack --
-- Where the catalogue believes members to lie.
SELECT header_offset, digest FROM instance WHERE pack = ?;

-- forget_empty_pack --
-- A pack that never got an instance.
DELETE FROM pack WHERE pack = ? AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.pack = pack.pack);

-- next_to_code --
-- Closed packs that are not coded yet: by class, those received since a time first, then the oldest; none while it is not known what the
-- archive has.
SELECT pack FROM pack WHERE closed_at IS NOT NULL AND coded_at IS NULL AND stopped IS NULL
    AND NOT EXISTS (SELECT 1 FROM facts WHERE restating IS NOT NULL)
ORDER BY CASE urgency WHEN 'stat' THEN 0 WHEN 'routine' THEN 1 ELSE 2 END, opened_at < :since, closed_at LIMIT 1;

-- members_of_pack --
-- What the coder needs of each instance, in acquisition order by series.
SELECT study.uid, series.uid, instance.uid, class, syntax, digest, header_offset, dataset_offset, dataset_length, instance.attributes, fault
FROM instance JOIN series USING (series) JOIN study USING (study)
WHERE pack = ? ORDER BY series.number, series.uid, instance.number, instance.header_offset;

-- study_of_pack --
-- Patient and study attributes of the study whose pack this is, as they arrived.
SELECT coalesce(study.arrived ->> '$.patient', patient.attributes), coalesce(study.arrived ->> '$.study', study.attributes)
FROM pack JOIN study USING (study) JOIN patient USING (patient) WHERE pack = ?;

-- series_of_pack --
-- Series attributes of the series that have instances in this pack, with their counts there.
SELECT series.attributes, count(*) FROM instance JOIN series USING (series) WHERE pack = ? GROUP BY series.series ORDER BY series.number;

-- mark_coded --
-- A pack lies coded in the outbox; the ask that ships it is kept until it is held.
UPDATE pack SET coded_at = ?, coded_bytes = ?, asked = ?, objects = ?, has_head = 1 WHERE pack = ? AND coded_at IS NULL;

-- asked_not_held --
-- Asks that cloudsync may not have heard: coded packs without a holding, the oldest first.
SELECT asked FROM pack WHERE asked IS NOT NULL AND stopped IS NULL ORDER BY coded_at;

-- outbox_bytes --
-- What waits in the outbox; what waits for a person keeps nothing else from being coded.
SELECT coalesce(sum(coded_bytes), 0) FROM pack WHERE asked IS NOT NULL AND stopped IS NULL;

-- stopped_outbox_bytes --
-- What lies in the outbox and waits for a person.
SELECT coalesce(sum(coded_bytes), 0) FROM pack WHERE asked IS NOT NULL AND stopped IS NOT NULL;

-- stopped_in_outbox --
-- Packs that lie in the outbox and wait for a person.
SELECT pack FROM pack WHERE asked IS NOT NULL AND stopped IS NOT NULL;

-- uncode --
-- A stopped pack does not lie in the outbox any more: it is coded anew when it goes on. No row where it has gone on meanwhile.
UPDATE pack SET coded_at = NULL, coded_bytes = NULL, asked = NULL, confirmed = 0, objects = 0 WHERE pack = ? AND stopped IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack) RETURNING pack;

-- drop_pack --
-- A person wants a stopped pack here only. No row where it has gone on meanwhile, or the archive has it.
UPDATE pack SET dropped = ?, coded_at = NULL, coded_bytes = NULL, asked = NULL, confirmed = 0, objects = 0 WHERE pack = ?
    AND stopped IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack) RETURNING pack;

-- queue --
-- Packs that are not in the archive, as a row of edge.queueing.
SELECT study.uid, urgency, opened_at, closed_at IS NOT NULL, coded_at IS NOT NULL, confirmed, objects,
    coalesce(bytes, (SELECT sum(dataset_length) FROM instance WHERE instance.pack = pack.pack), 0), stopped, dropped
FROM waiting CROSS JOIN pack USING (pack) JOIN study USING (study) WHERE pack.instances > 0;

-- mark_progress --
-- So many objects of a pack are proven to be in the archive.
UPDATE pack SET confirmed = max(confirmed, ?), objects = ? WHERE pack = ?;

-- mark_stopped --
-- A pack is not shipped any further until a person acts.
UPDATE pack SET stopped = ? WHERE pack = ?;

-- stopped_packs --
-- Packs that wait for a person, the oldest first, and the ask that shipped them where they were coded: of one study, those that were dropped
-- among them; or of all.
SELECT pack, study.uid, asked FROM pack JOIN study USING (study)
WHERE stopped IS NOT NULL AND (study.uid = :study OR (:study IS NULL AND dropped IS NULL)) ORDER BY closed_at;

-- ship_again --
-- A stopped pack goes on as it was coded.
UPDATE pack SET stopped = NULL, dropped = NULL WHERE pack = ?;

-- code_again --
-- A stopped pack is coded anew.
UPDATE pack SET stopped = NULL, dropped = NULL, coded_at = NULL, coded_bytes = NULL, asked = NULL, confirmed = 0, objects = 0
WHERE pack = ? AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack);

-- mark_damaged --
-- The archive's copy of a pack is not whole.
UPDATE pack SET damaged = ? WHERE pack = ?;

-- unhold_damaged --
-- The cache has a pack whole whose copy in the archive is not: it is the only copy until it was shipped once more.
DELETE FROM holding WHERE pack = ? AND EXISTS (
    SELECT 1 FROM pack WHERE pack.pack = holding.pack AND damaged IS NOT NULL AND here = 'whole' AND origin IS NULL);

-- damaged_packs --
-- Packs whose copy in the archive is not whole, by study: what is wrong, and whether the pack is being shipped once more.
SELECT study.uid, accession, pack.pack, damaged, NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack) AND stopped IS NULL
FROM pack JOIN study USING (study) WHERE damaged IS NOT NULL ORDER BY study.uid, pack.pack;

-- set_allowance --
-- What may go over the link, as cloudsync said last.
INSERT INTO allowance VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET told = excluded.told;

-- allowance --
-- What may go over the link, as cloudsync said last.
SELECT told FROM allowance;

-- set_verification --
-- What cloudsync said last of the comparison of the archive.
INSERT INTO verification VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET told = excluded.told;

-- verification --
-- What cloudsync said last of the comparison of the archive.
SELECT told FROM verification;

-- insert_holding --
-- The archive provably has this pack.
INSERT INTO holding (pack, held_at, sealed_bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- settle_pack --
-- A held pack needs its ask no longer, and is not coded again although its head was lost.
UPDATE pack SET asked = NULL, stopped = NULL, dropped = NULL, damaged = NULL, confirmed = objects, coded_at = coalesce(coded_at, ?) WHERE pack = ?;

-- insert_archived_pack --
-- A pack that only the archive has, as a rebuilt box hears of it.
INSERT INTO pack (pack, study, urgency, opened_at, closed_at, bytes, sha256, instances, coded_at, here, used_at)
SELECT ?, study, 'routine', ?, ?, 0, ?, ?, ?, 'some', ? FROM study WHERE uid = ? ON CONFLICT DO NOTHING;

-- set_origin --
-- Which other site shipped a pack; NULL: this one. Whether routes send it on all the same.
UPDATE pack SET origin = ?, news = ? WHERE pack = ?;

-- instances_away --
-- Dataset offsets of the instances of a pack that are not in the cache.
SELECT dataset_offset FROM instance WHERE pack = ? AND here = 0;

-- set_here --
-- How much of a pack the cache holds.
UPDATE pack SET here = ? WHERE pack = ?;

-- set_instances_here --
-- Which of a pack's instances the cache holds: all of them, or none.
UPDATE instance SET here = ? WHERE pack = ?;

-- set_instance_here --
-- A recalled instance is in the cache, unless its pack was evicted meanwhile.
UPDATE instance SET here = 1 WHERE pack = ? AND dataset_offset = ?
    AND EXISTS (SELECT 1 FROM pack WHERE pack.pack = instance.pack AND pack.here != 'no');

-- set_whole --
-- Every instance of a recalled pack is back, unless it was evicted meanwhile.
UPDATE pack SET here = 'whole' WHERE pack = ? AND here != 'no';

-- instances_here --
-- Dataset offsets of the instances of a pack that are in the cache.
SELECT dataset_offset FROM instance WHERE pack = ? AND here = 1;

-- is_here --
-- Whether the cache counts on one instance of a pack now: 1 or 0; no row when it is not known any more.
SELECT here FROM instance WHERE uid = :uid AND +pack = :pack AND dataset_offset = :offset;

-- set_head --
-- The head of a held pack is here, and says how large the pack is, when its first instance was received, and what was shipped of it.
UPDATE pack SET has_head = 1, bytes = :bytes, coded_bytes = :coded_bytes, objects = :objects, confirmed = :objects,
    opened_at = coalesce((SELECT received_at FROM instance WHERE instance.pack = :pack ORDER BY header_offset LIMIT 1), opened_at)
WHERE pack = :pack;

-- settle_received --
-- Once the heads of all packs of a study are here, its newest reception is known.
UPDATE study SET received_at = (SELECT max(instance.received_at) FROM instance JOIN series USING (series) WHERE series.study = study.study)
WHERE study = (SELECT study FROM pack WHERE pack = :pack)
    AND NOT EXISTS (SELECT 1 FROM pack WHERE pack.study = study.study AND has_head = 0 AND here != 'whole')
    AND EXISTS (SELECT 1 FROM instance JOIN series USING (series) WHERE series.study = study.study);

-- evictable --
-- Closed and held packs whose bytes are here, least recently used first, those after a place in this order, with what each would free.
SELECT pack.pack, coalesce(bytes, 0), used_at, study.uid,
    (SELECT json_group_array(DISTINCT modality) FROM series WHERE series.study = pack.study), pack.rowid
FROM pack JOIN holding USING (pack) JOIN study USING (study)
WHERE here != 'no' AND closed_at IS NOT NULL AND (used_at, pack.rowid) > (:used_at, :place) ORDER BY used_at, pack.rowid LIMIT :most;

-- packs_here --
-- Packs with bytes in the cache, and what may keep each from leaving.
SELECT pack.pack, study.uid, coalesce(bytes, 0), used_at, closed_at IS NULL, holding.pack IS NOT NULL, 1
FROM pack JOIN study USING (study) LEFT JOIN holding USING (pack) WHERE here != 'no' ORDER BY used_at;

-- packs_of_study --
-- The packs of a study, and what may keep each from leaving the cache.
SELECT pack.pack, study.uid, coalesce(bytes, 0), used_at, closed_at IS NULL, holding.pack IS NOT NULL, here != 'no'
FROM pack JOIN study USING (study) LEFT JOIN holding USING (pack) WHERE study.uid = ? ORDER BY used_at;

-- cached_bytes --
-- What closed packs occupy in the cache.
SELECT cached_bytes FROM total;

-- touch_pack --
-- A pack was retrieved from.
UPDATE pack SET used_at = ? WHERE pack = ?;

-- insert_quarantined --
-- A dataset that was set aside.
INSERT INTO quarantine (digest, reason, bytes, syntax, sop_instance, source_ae, received_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- quarantined --
-- What was set aside, newest first.
SELECT digest, reason, bytes, syntax, source_ae, received_at FROM quarantine ORDER BY received_at DESC;

-- set_aside --
-- Which of these instances were set aside.
SELECT DISTINCT sop_instance FROM quarantine WHERE sop_instance IN (SELECT value FROM json_each(:uids));

-- forget_quarantined --
-- A dataset that is no longer set aside.
DELETE FROM quarantine WHERE digest = ?;

-- quarantined_bytes --
-- What quarantine occupies, by who sent it.
SELECT source_ae, sum(bytes) FROM quarantine GROUP BY source_ae;

-- set_link --
-- What cloudsync last said of the link.
INSERT INTO link VALUES (1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET state = excluded.state, since = excluded.since,
    goodput = excluded.goodput, sentence = excluded.sentence, answered_at = excluded.answered_at, sequence = excluded.sequence, said_at = excluded.said_at;

-- link --
-- What cloudsync last said of the link.
SELECT state, since, goodput, sentence, answered_at, sequence, said_at FROM link;

-- facts_upto --
-- How far the journal of facts is committed.
SELECT upto FROM facts;

-- restating --
-- Whether the holdings of a catalogue that was made again have yet to be told: 0, or the seq of the ask for that.
SELECT restating FROM facts;

-- set_restating --
-- The holdings were asked for.
UPDATE facts SET restating = ?;

-- restated --
-- The ask for the holdings, and all that was told because of it, is behind us.
UPDATE facts SET restating = NULL WHERE restating > 0 AND restating <= ?;

-- differs_from_archive --
-- A pack file without its head is not, byte for byte, what the archive has of it: the head is wanted, and what proves itself stays here.
UPDATE pack SET sha256 = :sha256, here = 'some' WHERE pack = :pack AND has_head = 0 AND sha256 != :sha256;

-- set_facts_upto --
-- How far the journal of facts is committed.
UPDATE facts SET upto = ?;

-- count_studies --
-- Count what changed in studies that nothing is being received of.
UPDATE figures SET counted = 1, (modalities, series, instances, away) = (
    SELECT modalities, series, instances, away FROM study_count WHERE study_count.study = figures.study)
WHERE counted = 0 AND NOT EXISTS (SELECT 1 FROM pack WHERE pack.study = figures.study AND coded_at IS NULL AND closed_at IS NULL);

-- studies_in_packs --
-- A study, or the newest ones, newest first, with how far their packs are on their way.
SELECT study.uid, patient.attributes, study.attributes, study.received_at,
    iif(counted, figures.series, (SELECT series FROM study_count WHERE study_count.study = study.study)),
    iif(counted, figures.instances, (SELECT instances FROM study_count WHERE study_count.study = study.study)),
    count(*), sum(coalesce(bytes, (SELECT sum(dataset_length) FROM instance WHERE instance.pack = pack.pack), 0)), sum(coalesce(coded_bytes, 0)), sum(closed_at IS NOT NULL), sum(coded_at IS NOT NULL),
    sum(confirmed), sum(objects), count(holding.pack), sum(here = 'whole'), sum(here = 'no'), max(iif(dropped IS NULL, stopped, NULL)), max(holding.held_at), study.rejected,
    json_group_array(DISTINCT origin) FILTER (WHERE origin IS NOT NULL)
FROM (
    SELECT study FROM study WHERE uid = :study
    UNION ALL SELECT study FROM (SELECT study FROM study WHERE :study IS NULL ORDER BY received_at DESC, study DESC LIMIT :most)
) AS wanted JOIN study USING (study) JOIN patient USING (patient) JOIN figures USING (study) JOIN pack USING (study)
    LEFT JOIN holding USING (pack)
GROUP BY study.study ORDER BY study.received_at DESC, study.study DESC;

-- studies_away --
-- Studies of which the archive alone has packs, newest first, with the bytes of those: of a modality and received since a time, where asked.
SELECT uid, bytes FROM (
    SELECT uid, received_at, study, (
        SELECT sum(coalesce(pack.bytes, 0)) FROM pack JOIN holding USING (pack) WHERE pack.study = study.study AND here != 'whole') AS bytes
    FROM study WHERE rejected = 0 AND received_at >= :since
        AND (:modality = '' OR EXISTS (SELECT 1 FROM series WHERE series.study = study.study AND modality = :modality)))
WHERE bytes IS NOT NULL ORDER BY received_at DESC, study DESC LIMIT :most;

-- counts --
-- The figures of the one sentence: studies, studies not yet safe off-site with their bytes, oldest of them, instances, newest holding, how
-- many of those studies wait for a person, and how many more stay here only, as a person decided.
SELECT total.studies, late.studies, late.bytes, late.oldest,
    total.instances + (SELECT coalesce(sum(study_count.instances), 0) FROM figures JOIN study_count USING (study) WHERE counted = 0),
    last_held_at, late.stopped, (SELECT count(DISTINCT study) FROM pack WHERE dropped IS NOT NULL AND stopped IS NOT NULL)
FROM total JOIN (
    SELECT count(DISTINCT pack.study) AS studies,
        coalesce(sum(coalesce(pack.bytes, (SELECT sum(dataset_length) FROM instance WHERE instance.pack = pack.pack))), 0) AS bytes,
        min(pack.opened_at) AS oldest,
        count(DISTINCT iif(pack.stopped IS NULL, NULL, pack.study)) AS stopped
    FROM waiting CROSS JOIN pack USING (pack) WHERE pack.instances > 0 AND dropped IS NULL) AS late;

-- headless --
-- Packs of a study, or of all, whose head is not here yet: their instances are not catalogued. What routes may send on comes first.
SELECT pack FROM (
    SELECT pack, news FROM pack WHERE has_head = 0 AND here != 'whole' AND :study IS NULL
    UNION ALL SELECT pack, news FROM pack WHERE has_head = 0 AND here != 'whole' AND study = (SELECT study FROM study WHERE uid = :study)
) ORDER BY news DESC;

-- packs_away --
-- Packs of a study that the cache does not hold as a whole.
SELECT pack FROM pack JOIN study USING (study) WHERE here != 'whole' AND study.uid = :study;

-- packs_here_in_part --
-- Packs that are being recalled, or were when Outpost ended.
SELECT pack FROM pack WHERE here = 'some';

-- committable --
-- What is known of instances that a peer wants committed: class, whether it is here, held, all objects of its pack proven, rejected or in
-- conflict.
SELECT instance.uid, class, instance.here, holding.pack IS NOT NULL, objects > 0 AND confirmed = objects,
    rejected OR coalesce(variant = 'conflict', 0)
FROM json_each(:uids) AS wanted JOIN instance ON instance.uid = wanted.value JOIN pack USING (pack) JOIN study USING (study)
    LEFT JOIN holding USING (pack);

-- note_caller --
-- Somebody was turned away.
INSERT INTO caller (ae_title, address, called, reason, first_at, last_at, times) VALUES (:ae_title, :address, :called, :reason, :now, :now, 1)
ON CONFLICT (ae_title, address) DO UPDATE SET called = excluded.called, reason = excluded.reason, last_at = excluded.last_at,
    times = times + 1;

-- forget_surplus_callers --
-- Keep the last seen: so many of one address, and so many in all.
DELETE FROM caller WHERE caller IN (SELECT caller FROM caller WHERE address = :address ORDER BY last_at DESC, caller DESC LIMIT -1 OFFSET :most_of_one)
    OR caller IN (SELECT caller FROM caller ORDER BY last_at DESC, caller DESC LIMIT -1 OFFSET :most);

-- forget_caller --
-- It was let in.
DELETE FROM caller WHERE ae_title = ?;

-- callers --
-- Who was turned away, last seen first.
SELECT ae_title, address, called, reason, first_at, last_at, times FROM caller ORDER BY last_at DESC, caller DESC;
