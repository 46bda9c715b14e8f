-- asks_position: how far the asks are committed and acknowledged
SELECT position, owed, acknowledged FROM asks;

-- asks_commit: move the position of the asks; a batch of mere acknowledgements is not acknowledged itself, or it would never end
UPDATE asks SET position = :position, owed = CASE WHEN :owed THEN :position ELSE owed END;

-- asks_acknowledged: the acknowledgement stands in the facts
UPDATE asks SET acknowledged = :upto WHERE acknowledged < :upto;

-- pack_state: where a pack stands
SELECT state, sums IS NOT NULL AS summed, damage, coalesce(stored_as, pack) AS stored_as FROM packs WHERE pack = :pack;

-- pack_anew: a held pack whose copy in the archive is damaged is shipped once more, under another id
UPDATE packs SET state = 'shipping', replaces = coalesce(stored_as, pack), stored_as = :stored_as, damage = NULL,
    sums = NULL, sums_digest = NULL, sealed_bytes = NULL, proven_at = NULL, told = 1, refused = 0
WHERE pack = :pack AND state = 'held' AND damage IS NOT NULL;

-- pack_put: a pack that edge coded; asking again starts a stopped one anew
INSERT INTO packs (pack, state, urgency, asked, instances, raw_bytes, sha256, study, series, objects, told, form, received_at)
VALUES (:pack, 'shipping', :urgency, :asked, :instances, :raw_bytes, :sha256, :study, :series, :objects, 1, :form, :received_at)
ON CONFLICT (pack) DO UPDATE SET
    state = 'shipping', urgency = excluded.urgency, instances = excluded.instances, raw_bytes = excluded.raw_bytes,
    sha256 = excluded.sha256, study = excluded.study, series = excluded.series, objects = excluded.objects, reason = NULL, told = 1,
    refused = 0, retry_at = NULL, form = excluded.form, received_at = excluded.received_at
WHERE state IN ('shipping', 'stopped');

-- pack_resume: a stopped pack whose sums are recorded already goes on where it was
UPDATE packs SET state = 'shipping', reason = NULL, told = 1, refused = 0 WHERE pack = :pack AND state = 'stopped';

-- pack_tell_again: the holding of one pack is told again
UPDATE packs SET told = 0 WHERE pack = :pack AND state = 'held';

-- packs_tell_again: every holding is told again
UPDATE packs SET told = 0 WHERE state = 'held';

-- pack_stop: nothing of this pack goes on until edge asks again
UPDATE packs SET state = 'stopped', reason = :reason, told = 0, retry_at = NULL WHERE pack = :pack AND state = 'shipping';

-- pack_tries: how often the archive refused an object of a pack that may be tried
SELECT refused FROM packs WHERE pack = :pack AND state = 'shipping' AND retry_at IS NULL;

-- pack_waits: the archive refused an object of it; the others go meanwhile
UPDATE packs SET refused = :refused, retry_at = :retry_at WHERE pack = :pack;

-- packs_go_on: what has waited long enough; a clock that was set back keeps nothing waiting for longer than it would have
UPDATE packs SET retry_at = NULL WHERE retry_at <= :now OR retry_at > :latest;

-- packs_wait: until when the next one of them waits
SELECT MIN(retry_at) AS at FROM packs WHERE retry_at IS NOT NULL;

-- pack_refused: a pack that was asked for in a way that cannot be followed; known here only so that edge is told
INSERT INTO packs (pack, state, urgency, asked, instances, raw_bytes, sha256, study, series, objects, reason, told)
VALUES (:pack, 'stopped', 1, :asked, 0, 0, :sha256, '{}', '[]', 1, :reason, 0)
ON CONFLICT (pack) DO UPDATE SET state = 'stopped', reason = excluded.reason, told = 0, retry_at = NULL
WHERE state IN ('shipping', 'stopped');

-- part_put: a part that edge coded; other plaintext than before needs another name in the archive
INSERT INTO parts (pack, number, attempt, plain_bytes, plain_digest, confirmed)
VALUES (:pack, :number, 0, :plain_bytes, :plain_digest, 0)
ON CONFLICT (pack, number) DO UPDATE SET
    attempt = attempt + 1, plain_bytes = excluded.plain_bytes, plain_digest = excluded.plain_digest,
    sealed_bytes = NULL, sealed_digest = NULL, sealed_md5 = NULL, confirmed = 0
WHERE plain_digest <> excluded.plain_digest OR plain_bytes <> excluded.plain_bytes;

-- parts_anew: what a stopped pack had sealed and not confirmed is sealed again under another name
UPDATE parts SET attempt = attempt + 1, sealed_bytes = NULL, sealed_digest = NULL, sealed_md5 = NULL
WHERE pack = :pack AND confirmed = 0 AND sealed_digest IS NOT NULL;

-- parts_cut: parts that the newest coding of a pack no longer has
DELETE FROM parts WHERE pack = :pack AND number >= :objects;

-- parts_next: unconfirmed objects of packs under way, so many received since a time, so many others: by class, heads first, as asked
SELECT * FROM (
    SELECT pack, number, attempt, plain_bytes, plain_digest, parts.sealed_bytes, sealed_digest, sealed_md5, urgency,
        coalesce(stored_as, pack) AS stored_as, received_at >= :since AS fresh,
        row_number() OVER (PARTITION BY received_at >= :since ORDER BY urgency, number > 0, asked, number) AS place
    FROM parts JOIN packs USING (pack) WHERE state = 'shipping' AND form = 'parts' AND retry_at IS NULL AND confirmed = 0
) WHERE place <= :at_most ORDER BY fresh DESC, place;

-- part_sealed: its sealed bytes lie in their file, whole
UPDATE parts SET sealed_bytes = :sealed_bytes, sealed_digest = :sealed_digest, sealed_md5 = :sealed_md5
WHERE pack = :pack AND number = :number AND attempt = :attempt AND confirmed = 0;

-- part_lost: its sealed bytes are gone before they were confirmed; the next ones need another name
UPDATE parts SET attempt = attempt + 1, sealed_bytes = NULL, sealed_digest = NULL, sealed_md5 = NULL
WHERE pack = :pack AND number = :number AND attempt = :attempt AND confirmed = 0;

-- part_confirmed: the archive has exactly these bytes
UPDATE parts SET confirmed = 1 WHERE pack = :pack AND number = :number AND attempt = :attempt AND sealed_digest IS NOT NULL;

-- parts_unconfirmed: parts whose sealed bytes have to be kept
SELECT pack, number FROM parts WHERE confirmed = 0 AND sealed_digest IS NOT NULL;

-- site_states_unconfirmed: site states whose sealed bytes have to be kept
SELECT number FROM site_states WHERE state = 'sealed';

-- pack_progress: how much of a pack is proven to be in the archive
SELECT COUNT(*) FILTER (WHERE confirmed = 1) AS confirmed, COUNT(*) AS total FROM parts WHERE pack = :pack;

-- packs_complete: packs whose objects are all confirmed and whose sums are not
SELECT pack, urgency, sums, coalesce(stored_as, pack) AS stored_as FROM packs
WHERE state = 'shipping' AND form = 'parts' AND retry_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.pack = packs.pack AND confirmed = 0)
ORDER BY urgency, asked LIMIT :at_most;

-- parts_of: the objects of a pack, head first, if every one of them is confirmed
SELECT number, attempt, sealed_bytes, sealed_digest FROM parts
WHERE pack = :pack AND NOT EXISTS (SELECT 1 FROM parts AS other WHERE other.pack = :pack AND other.confirmed = 0) ORDER BY number;

-- pack_summed: the sums of a pack, before the first byte of them is sent
UPDATE packs SET sums = :sums, sums_digest = :sums_digest WHERE pack = :pack AND state = 'shipping';

-- pack_proven: the sums are confirmed
UPDATE packs SET state = 'proven', sealed_bytes = :sealed_bytes, proven_at = :proven_at WHERE pack = :pack AND state = 'shipping';

-- parts_drop: from here on the sums say it
DELETE FROM parts WHERE pack = :pack;

-- pack: one pack
SELECT * FROM packs WHERE pack = :pack;

-- ships_nothing: 1 when no object of a pack or of site state waits to be sent; what the archive refused keeps no segment waiting
SELECT NOT EXISTS (SELECT 1 FROM packs WHERE state = 'shipping' AND retry_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM site_states WHERE state IN ('asked', 'sealed')) AS idle;

-- site_state_asked: a copy of the site's decisions lies in the outbox; the newest one once more is no news
INSERT INTO site_states (number, state, bytes, digest, told)
SELECT COALESCE((SELECT MAX(number) FROM site_states), 0) + 1, 'asked', :bytes, :digest, 1
WHERE NOT EXISTS (
    SELECT 1 FROM site_states WHERE number = (SELECT MAX(number) FROM site_states) AND digest = :digest AND state <> 'dropped'
);

-- site_states_superseded: older copies that were not sealed yet are not needed any more
UPDATE site_states SET state = 'dropped' WHERE state = 'asked' AND number < (SELECT MAX(number) FROM site_states);

-- site_state_next: the oldest copy that is on its way
SELECT number, state, bytes, digest, sealed_bytes, sealed_digest, sealed_md5
FROM site_states WHERE state IN ('asked', 'sealed') ORDER BY number LIMIT 1;

-- site_state_sealed: its sealed bytes lie in their file, whole
UPDATE site_states SET state = 'sealed', sealed_bytes = :sealed_bytes, sealed_digest = :sealed_digest, sealed_md5 = :sealed_md5
WHERE number = :number AND state = 'asked';

-- site_state_proven: the archive has exactly these bytes
UPDATE site_states SET state = 'proven' WHERE number = :number AND state = 'sealed';

-- site_state_dropped: this copy will not be sent
UPDATE site_states SET state = 'dropped' WHERE number = :number AND state IN ('asked', 'sealed');

-- entry_queued: something that the catalog has yet to say
INSERT INTO entries (entry, pack, site, queued_at, urgent) VALUES (:entry, :pack, :site, :queued_at, :urgent);

-- entries_queued: what no segment says yet, oldest first
SELECT number, entry, queued_at, urgent FROM entries WHERE sequence IS NULL ORDER BY number LIMIT :at_most;

-- entries_of_keys: what belongs to no pack and no site state, and is not in the archive yet
SELECT entry FROM entries WHERE pack IS NULL AND site IS NULL ORDER BY number;

-- entries_taken: a segment says it
UPDATE entries SET sequence = :sequence WHERE sequence IS NULL AND number <= :upto;

-- entries_back: the segment that was to say it will not
UPDATE entries SET sequence = NULL WHERE sequence = :sequence;

-- segment_withdrawn: it was not shipped, and never will be
DELETE FROM segments WHERE sequence = :sequence AND confirmed = 0;

-- chain_state: where the chain stands
SELECT sequence, tip, signer FROM segments ORDER BY sequence DESC LIMIT 1;

-- chain_confirmed: the number of the last segment that the archive has
SELECT COALESCE(MAX(sequence), 0) AS sequence FROM segments WHERE confirmed = 1;

-- segment_in_flight: the segment that is recorded and not confirmed
SELECT sequence, name, sealed FROM segments WHERE confirmed = 0;

-- segment_put: a segment with its bytes, or one that lies in the archive already
INSERT INTO segments (sequence, name, tip, signer, sealed, confirmed)
VALUES (:sequence, :name, :tip, :signer, :sealed, :confirmed);

-- segment_confirmed: the archive has exactly these bytes
UPDATE segments SET confirmed = 1 WHERE sequence = :sequence;

-- segments_after: confirmed segments behind a number, at most so many
SELECT sequence, name, tip, signer, length(sealed) AS size FROM segments WHERE sequence > :sequence AND confirmed = 1
ORDER BY sequence LIMIT :at_most;

-- segments_from: the first segment that is recorded, or the merge that stands for it, with its bytes
SELECT 0 AS level, sequence AS first, sealed FROM (SELECT sequence, sealed FROM segments ORDER BY sequence LIMIT 1)
UNION ALL
SELECT level, first, sealed FROM (SELECT level, first, sealed FROM merges WHERE state = 'there' ORDER BY first, level DESC LIMIT 1)
ORDER BY first, level LIMIT 1;

-- segment_sealed: the bytes of a segment, where they are kept
SELECT sealed FROM segments WHERE sequence = :sequence;

-- segments_between: confirmed segments of a range, with their bytes where they are kept
SELECT sequence, tip, sealed FROM segments WHERE sequence BETWEEN :first AND :last AND confirmed = 1 ORDER BY sequence;

-- merges_end: the last segment that a merge of this level, or of a higher one, stands for
SELECT coalesce(MAX(last), 0) AS last FROM merges WHERE level >= :level;

-- merge_sending: the merge that is recorded and not confirmed
SELECT level, first, sealed FROM merges WHERE state = 'sending';

-- merge_put: a merge with its bytes, or none where it is passed over
INSERT INTO merges (level, first, last, state, sealed) VALUES (:level, :first, :last, :state, :sealed);

-- merge_ended: the archive has exactly these bytes, or never will
UPDATE merges SET state = :state, sealed = :sealed WHERE level = :level AND first = :first;

-- merges_between: merges of a level for a range of segments, in order
SELECT first, state, sealed FROM merges WHERE level = :level AND first >= :first AND last <= :last ORDER BY first;

-- merges_there: the merges that the archive had confirmed
SELECT level, first, length(sealed) AS size FROM merges WHERE state = 'there' ORDER BY level, first;

-- merge_sealed: the bytes of a merge
SELECT sealed FROM merges WHERE level = :level AND first = :first;

-- packs_held: the packs that a confirmed segment names
UPDATE packs SET state = 'held', told = 0
WHERE state = 'proven' AND pack IN (SELECT pack FROM entries WHERE sequence = :sequence);

-- site_states_listed: the site states that a confirmed segment names
UPDATE site_states SET state = 'listed'
WHERE state = 'proven' AND number IN (SELECT site FROM entries WHERE sequence = :sequence);

-- entries_said: entries of a confirmed segment
DELETE FROM entries WHERE sequence = :sequence;

-- holding_put: a holding that a verified catalog names
INSERT INTO packs (pack, state, urgency, asked, instances, raw_bytes, sha256, study, series, objects,
                   sealed_bytes, sums_digest, proven_at, told, origin, news)
VALUES (:pack, 'held', 1, 0, :instances, :raw_bytes, :sha256, :study, :series, :objects, :sealed_bytes, :sums_digest, :proven_at, 0, :origin, :news)
ON CONFLICT (pack) DO NOTHING;

-- holding_replaced: the archive has a holding anew, under another id
UPDATE packs SET stored_as = :pack, replaces = :replaces, instances = :instances, raw_bytes = :raw_bytes, sha256 = :sha256, study = :study,
    series = :series, objects = :objects, sealed_bytes = :sealed_bytes, sums = NULL, sums_digest = :sums_digest, proven_at = :proven_at, told = 0
WHERE coalesce(stored_as, pack) = :replaces AND state = 'held' AND origin IS :origin;

-- holding_of: 1 when a pack is a holding of this site (NULL: our own)
SELECT 1 FROM packs WHERE pack = :pack AND state = 'held' AND origin IS :origin;

-- followed_tip: how far the catalog of another site is read
SELECT sequence, tip, signer, shared FROM followed WHERE site = :site;

-- followed_sites: the sites of which anything is known
SELECT site FROM followed UNION SELECT DISTINCT origin FROM packs WHERE origin IS NOT NULL;

-- unfollowed_packs: edge is told that nothing of this site is known any more
INSERT INTO retired (pack, stored_as, at, entry, told, origin)
SELECT pack, coalesce(stored_as, pack), :at, NULL, 0, origin FROM packs WHERE origin = :site;

-- unfollowed_recalls: what was wanted of it
DELETE FROM recalls WHERE pack IN (SELECT pack FROM packs WHERE origin = :site);

-- unfollowed_holdings: and what it held
DELETE FROM packs WHERE origin = :site;

-- unfollowed: and how far it was read
DELETE FROM followed WHERE site = :site;

-- followed_upto: it is read up to here; what it shared stays until it shares anew
INSERT INTO followed (site, sequence, tip, signer, shared) VALUES (:site, :sequence, :tip, :signer, :shared)
ON CONFLICT (site) DO UPDATE SET sequence = excluded.sequence, tip = excluded.tip, signer = excluded.signer,
    shared = coalesce(excluded.shared, shared);

-- holding_named: the pack whose holding, of this site (NULL: our own), has this id in the archive
SELECT pack FROM packs WHERE coalesce(stored_as, pack) = :stored_as AND state = 'held' AND origin IS :origin;

-- holding_retired: the pack stands as retired, with the tombstone that was queued just now, or none
INSERT INTO retired (pack, stored_as, at, entry, told, origin) VALUES (:pack, :stored_as, :at, :entry, :told, :origin);

-- holding_again: what a site holds that was followed before is news here no less
DELETE FROM retired WHERE pack = :pack AND origin = :origin;

-- holding_drop: a retired pack is no holding any more
DELETE FROM packs WHERE pack = :pack AND state = 'held';

-- is_retired: a row when the pack with this id in the archive is retired
SELECT 1 FROM retired WHERE stored_as = :stored_as;

-- id_retired: a row when a pack is retired that had this id, or was born with it
SELECT 1 FROM retired WHERE stored_as = :id OR pack = :id;

-- entry_last: the number of the entry that was queued last
SELECT MAX(number) AS number FROM entries;

-- retired_tell_again: edge asked for what is retired
UPDATE retired SET told = 0 WHERE pack = :pack;

-- retired_all_tell_again: every retired pack is told again
UPDATE retired SET told = 0;

-- untold_retired: retired packs that edge does not know of, once the catalog says it
SELECT pack FROM retired WHERE told = 0 AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.number = retired.entry)
ORDER BY at LIMIT :at_most;

-- told_retired: the fact stands in the journal
UPDATE retired SET told = 1 WHERE pack = :pack;

-- packs_of_studies: every pack of our own of which something is known, a page in the order of ids
SELECT pack, state, study, series, instances, sealed_bytes, proven_at, coalesce(stored_as, pack) AS stored_as FROM packs
WHERE pack > :after AND origin IS NULL ORDER BY pack LIMIT :at_most;

-- holdings_ahead: what a catalog that is read back said of holdings that are named further on: what stands for them, that they are retired
SELECT pack, 0 AS retired FROM packs WHERE state = 'proven' AND replaces IS NOT NULL UNION ALL
SELECT pack, 1 FROM retired WHERE origin IS NULL;

-- holding_ahead_put: a holding that replaces another, under the id of that one, which a segment before this one names
INSERT INTO packs (pack, state, urgency, asked, instances, raw_bytes, sha256, study, series, objects,
                   sealed_bytes, sums_digest, proven_at, told, stored_as, replaces)
VALUES (:replaces, 'proven', 1, 0, :instances, :raw_bytes, :sha256, :study, :series, :objects, :sealed_bytes, :sums_digest, :proven_at, 1,
        :pack, :replaces);

-- holding_ahead_further: what it replaces had itself replaced another
UPDATE packs SET pack = :replaces WHERE pack = :pack AND state = 'proven';

-- holding_born: what stands for a holding has the id that this one was born with
UPDATE packs SET state = 'held', told = 0 WHERE pack = :pack AND state = 'proven';

-- retired_further: what is retired had replaced another
UPDATE retired SET pack = :replaces WHERE pack = :pack;

-- holding_sums: the sums of a rebuilt holding, compared with the digest that the catalog names
UPDATE packs SET sums = :sums WHERE pack = :pack AND sums_digest = :sums_digest;

-- site_state_here: the site state that a rebuild brought to the inbox
INSERT INTO site_states (number, state, bytes, digest, told) VALUES (:number, 'here', :bytes, :digest, 0)
ON CONFLICT (number) DO UPDATE SET state = 'here', told = 0;

-- recall_asked: a part that edge wants; asking again tells again, and tries again what failed
INSERT INTO recalls (pack, number, state, asked, told) VALUES (:pack, :number, 'wanted', :asked, 1)
ON CONFLICT (pack, number) DO UPDATE SET
    state = CASE state WHEN 'failed' THEN 'wanted' ELSE state END,
    reason = NULL,
    told = CASE state WHEN 'here' THEN 0 ELSE 1 END;

-- recalls_next: wanted parts in the order asked
SELECT pack, number FROM recalls WHERE state = 'wanted' ORDER BY asked, number LIMIT :at_most;

-- recall_here: the part lies in the inbox
UPDATE recalls SET state = 'here', bytes = :bytes, digest = :digest, told = 0
WHERE pack = :pack AND number = :number AND state = 'wanted';

-- recall_failed: the archive has no such bytes
UPDATE recalls SET state = 'failed', reason = :reason, told = 0 WHERE pack = :pack AND number = :number AND state = 'wanted';

-- recalls_here: the parts that lie in the inbox
SELECT pack, number FROM recalls WHERE state = 'here';

-- recalls_here_of: the parts of a pack that lie in the inbox
SELECT number FROM recalls WHERE state = 'here' AND pack = :pack;

-- recall_wanted_again: the inbox lost a part
UPDATE recalls SET state = 'wanted', told = 1 WHERE pack = :pack AND number = :number AND state = 'here';

-- recalls_taken: edge no longer needs the inbox files of this pack
DELETE FROM recalls WHERE pack = :pack;

-- untold_site_states: site states that lie in the inbox and edge does not know of
SELECT number, bytes, digest FROM site_states WHERE state = 'here' AND told = 0 ORDER BY number DESC LIMIT 1;

-- untold_packs: holdings and stops that edge does not know of, the newest first: a rebuilt clinic asks for those
SELECT * FROM packs WHERE told = 0 ORDER BY proven_at DESC LIMIT :at_most;

-- untold_recalls: arrivals and failures that edge does not know of
SELECT pack, number, state, bytes, digest, reason FROM recalls WHERE told = 0 ORDER BY asked, number LIMIT :at_most;

-- told_site_state: the fact stands in the journal
UPDATE site_states SET told = 1 WHERE number = :number;

-- told_pack: the fact stands in the journal
UPDATE packs SET told = 1 WHERE pack = :pack AND state = :state AND coalesce(damage, '') = :damage;

-- told_recall: the fact stands in the journal
UPDATE recalls SET told = 1 WHERE pack = :pack AND number = :number AND state = :state;

-- holdings_stored: holdings of our own by their ids in the archive, of a range
SELECT pack, coalesce(stored_as, pack) AS stored_as, sums, sums_digest, damage FROM packs
WHERE state = 'held' AND origin IS NULL AND coalesce(stored_as, pack) >= :first AND coalesce(stored_as, pack) < :beyond ORDER BY coalesce(stored_as, pack);

-- holdings_counted: how many holdings of our own there are
SELECT COUNT(*) AS holdings FROM packs WHERE state = 'held' AND origin IS NULL;

-- holding_damaged: the archive's copy is not whole; edge is told, once for each reason
UPDATE packs SET damage = :reason, told = 0
WHERE pack = :pack AND state = 'held' AND coalesce(stored_as, pack) = :stored_as AND damage IS NOT :reason;

-- holding_sound: the archive's copy was read, and is whole after all
UPDATE packs SET damage = NULL, told = 0
WHERE pack = :pack AND state = 'held' AND coalesce(stored_as, pack) = :stored_as AND damage IS NOT NULL;

-- site_state_listed: the newest copy of the site's decisions that the catalog names
SELECT number, bytes, digest, sealed_bytes, sealed_digest, sealed_md5 FROM site_states WHERE state = 'listed' ORDER BY number DESC LIMIT 1;

-- site_state_damaged: the archive has not got this copy as it was; edge makes another one
UPDATE site_states SET state = 'dropped' WHERE number = :number AND state = 'listed';

-- verification: the comparison that is under way, or ended last
SELECT number, asked, percent, start, upto, began_at, ended_at, objects, read_objects, read_bytes, damaged, faults FROM verification;

-- verification_asked: begin another one, whose sample begins where that of the one before it ended
UPDATE verification SET number = number + 1, asked = :asked, percent = :percent,
    start = start + percent / 100 - CAST(start + percent / 100 AS INTEGER),
    upto = '', began_at = NULL, ended_at = NULL, objects = 0, read_objects = 0, read_bytes = 0, damaged = 0, faults = '[]';

-- verification_advanced: so far it is, unless another one was begun meanwhile
UPDATE verification SET upto = :upto, began_at = :began_at, ended_at = :ended_at, objects = :objects, read_objects = :read_objects,
    read_bytes = :read_bytes, damaged = :damaged, faults = :faults
WHERE number = :number;

-- allowance: whether shipping is paused, and what went over the link in the month
SELECT asked, paused, paused_until, month, used_bytes FROM allowance;

-- paused: a person paused shipping
UPDATE allowance SET asked = :asked, paused = 1, paused_until = :paused_until;

-- resumed: a person lets it go on
UPDATE allowance SET asked = :asked, paused = 0, paused_until = NULL;

-- used: so much more went over the link in this month
UPDATE allowance SET used_bytes = :bytes + CASE month WHEN :month THEN used_bytes ELSE 0 END, month = :month;

-- instance_packs_next: packs whose instances are under way: STAT first, then in the order asked
SELECT pack, urgency, objects, plain_bytes, plain_digest FROM packs JOIN parts USING (pack)
WHERE state = 'shipping' AND form = 'instances' AND retry_at IS NULL AND number = 0 ORDER BY urgency, asked LIMIT :at_most;

-- instances_unlisted: the instances of a pack that was coded anew, with another listing
DELETE FROM instances WHERE pack = :pack AND NOT EXISTS (SELECT 1 FROM parts WHERE pack = :pack AND number = 0 AND plain_digest = :digest);

-- instances_again: a person wants it tried once more
UPDATE instances SET state = 'asked' WHERE pack = :pack AND state = 'refused' AND NOT EXISTS (
    SELECT 1 FROM instances AS other
    WHERE other.sop_instance = instances.sop_instance AND other.digest <> instances.digest AND other.state <> 'refused'
);

-- instance_put: an instance as the listing of its pack names it; an archive holds one version of it, the one that came first
INSERT INTO instances (pack, number, study, series, sop_instance, bytes, digest, state)
VALUES (:pack, :number, :study, :series, :sop_instance, :bytes, :digest, CASE WHEN EXISTS (
    SELECT 1 FROM instances WHERE sop_instance = :sop_instance AND digest <> :digest AND state <> 'refused'
) THEN 'refused' ELSE 'asked' END);

-- instances_of: the instances of a pack
SELECT * FROM instances WHERE pack = :pack ORDER BY number;

-- instance: one of them
SELECT * FROM instances WHERE pack = :pack AND number = :number;

-- instance_settled: what became of it
UPDATE instances SET state = :state WHERE pack = :pack AND number = :number;

-- pack_instances_held: the archive lists every instance, and those that were read are what they were
UPDATE packs SET state = 'held', sealed_bytes = :stored_bytes, sums_digest = :listing, proven_at = :proven_at, told = 0
WHERE pack = :pack AND state = 'shipping' AND form = 'instances'
    AND EXISTS (SELECT 1 FROM parts WHERE parts.pack = packs.pack AND number = 0 AND plain_digest = :listing)
    AND (SELECT COUNT(*) FROM instances WHERE instances.pack = packs.pack AND instances.state = 'stored') = objects;
