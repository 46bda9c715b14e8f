-- know_route --
-- A route begins to look at what arrives; what is here before that counts by the time of its reception.
INSERT INTO forwarding (route, begun) SELECT ?, coalesce(max(instance), 0) FROM instance WHERE true ON CONFLICT DO NOTHING;

-- forget_route --
-- A route owes nothing any more.
DELETE FROM forwarding WHERE route = ?;

-- last_to_match --
-- Up to where a route may look in one go; NULL when it has seen everything.
SELECT max(instance) FROM (SELECT instance FROM instance WHERE instance > (SELECT upto FROM forwarding WHERE route = :route)
    ORDER BY instance LIMIT :most);

-- match_forwards --
-- What arrived here, or at a site that is followed, meets the conditions of a route, and was not looked at yet is owed by it from now on: of the variants of an instance
-- all, because another may become the visible one.
INSERT INTO forward (route, instance)
SELECT :route, instance.instance
FROM instance JOIN series USING (series) JOIN study USING (study) JOIN pack USING (pack)
WHERE instance.instance > (SELECT upto FROM forwarding WHERE route = :route) AND instance.instance <= :last
    AND (instance.here = 1 AND origin IS NULL OR news = 1)
    AND (instance.received_at >= :since OR instance.instance > (SELECT begun FROM forwarding WHERE route = :route))
    AND (:from_ae = '' OR source_ae = :from_ae)
    AND (:urgency = '' OR pack.urgency = :urgency)
    AND (:modalities = '[]' OR modality IN (SELECT value FROM json_each(:modalities)))
    AND (:description = ''
        OR lower(coalesce(json_extract(study.attributes, '$."00081030".Value[0]'), '')) GLOB :description
        OR lower(coalesce(json_extract(series.attributes, '$."0008103E".Value[0]'), '')) GLOB :description)
    AND (:begins = '' OR iif(:begins <= :ends,
        strftime('%H:%M', instance.received_at, 'unixepoch', 'localtime') >= :begins
            AND strftime('%H:%M', instance.received_at, 'unixepoch', 'localtime') < :ends,
        strftime('%H:%M', instance.received_at, 'unixepoch', 'localtime') >= :begins
            OR strftime('%H:%M', instance.received_at, 'unixepoch', 'localtime') < :ends))
ON CONFLICT DO NOTHING;

-- matched_upto --
-- A route has looked at what arrived.
UPDATE forwarding SET upto = :last WHERE route = :route;

-- due_forwards --
-- What a route owes and may try now, in the order of arrival, what was not tried yet first; also what is put off farther than anything is.
SELECT forward.instance, study.uid, instance.uid, class, attempts
FROM forward JOIN instance USING (instance) JOIN series USING (series) JOIN study USING (study)
WHERE route = :route AND (next_at <= :now OR next_at > :farthest) AND visible = 1 AND rejected = 0 AND here = 1
ORDER BY attempts > 0, forward.instance LIMIT :most;

-- away_forwards --
-- What a route owes, may try now, and only the archive has, in the order of arrival.
SELECT forward.instance, pack, dataset_offset, attempts
FROM forward JOIN instance USING (instance) JOIN series USING (series) JOIN study USING (study)
WHERE route = :route AND (next_at <= :now OR next_at > :farthest) AND visible = 1 AND rejected = 0 AND here = 0
ORDER BY forward.instance LIMIT :most;

-- forwarded --
-- These instances are at the destination of a route.
DELETE FROM forward WHERE route = :route AND instance IN (SELECT value FROM json_each(:instances));

-- count_forwarded --
-- The destination of a route takes what is sent.
UPDATE forwarding SET sent = sent + :count, sent_at = iif(:count, :now, sent_at), failures = 0, fault = NULL, next_at = 0
WHERE route = :route;

-- forward_failed --
-- The destination did not take this instance.
UPDATE forward SET attempts = attempts + 1, fault = :fault, next_at = :next_at WHERE route = :route AND instance = :instance;

-- destination_failed --
-- The destination of a route could not be used.
UPDATE forwarding SET failures = failures + 1, fault = :fault, next_at = :next_at WHERE route = :route;

-- retry_forwards --
-- A person wants what a route owes to be tried now.
UPDATE forward SET next_at = 0 WHERE route = ?;

-- retry_destination --
-- A person wants the destination of a route to be tried now.
UPDATE forwarding SET next_at = 0, failures = 0 WHERE route = ?;

-- forwarding --
-- How a route stands.
SELECT upto, sent, sent_at, failures, fault, next_at FROM forwarding WHERE route = ?;

-- owed --
-- How much a route owes, since when, what failed for reasons of its own, and the last such reason.
SELECT count(*), min(received_at), coalesce(sum(attempts > 0), 0), max(forward.fault)
FROM forward JOIN instance USING (instance) WHERE route = ? AND visible = 1;
