-- add_commitment --
-- A peer asks; `failed` where the answer is known already.
INSERT INTO commitment (transaction_uid, peer, called, digest, wanted, failed, asked_at, decided_at, next_at)
VALUES (:transaction, :peer, :called, :digest, :wanted, :failed, :now, iif(:failed IS NULL, NULL, :now), :next_at)
RETURNING commitment;

-- commitments_of_transaction --
-- Who used a transaction UID, and for what.
SELECT commitment, peer, digest FROM commitment WHERE transaction_uid = ?;

-- ask_again --
-- The same request came again: it is decided and reported anew.
UPDATE commitment SET wanted = :wanted, failed = NULL, decided_at = NULL, ended_at = NULL, delivered = 0, attempts = 0, fault = NULL,
    called = :called, asked_at = :now, next_at = :next_at WHERE commitment = :commitment;

-- due_commitments --
-- What is to be looked at now, of peers that nobody reports to at the moment.
SELECT commitment, transaction_uid, peer, called, wanted, failed, asked_at, decided_at, attempts FROM commitment
WHERE ended_at IS NULL AND next_at <= :now AND peer NOT IN (SELECT value FROM json_each(:busy)) ORDER BY next_at LIMIT 100;

-- next_commitment --
-- When something is to be looked at.
SELECT min(next_at) FROM commitment WHERE ended_at IS NULL AND peer NOT IN (SELECT value FROM json_each(:busy));

-- postpone_commitment --
-- Look at it then.
UPDATE commitment SET next_at = :next_at WHERE commitment = :commitment AND ended_at IS NULL;

-- decide_commitment --
-- What is to be reported stands.
UPDATE commitment SET failed = :failed, decided_at = :now, next_at = :now WHERE commitment = :commitment AND failed IS NULL;

-- report_failed --
-- An attempt to report failed.
UPDATE commitment SET attempts = attempts + 1, fault = :fault, next_at = :next_at WHERE commitment = :commitment AND ended_at IS NULL;

-- end_commitment --
-- It was reported, or given up.
UPDATE commitment SET wanted = NULL, ended_at = :now, delivered = :delivered, fault = iif(:delivered, NULL, fault)
WHERE commitment = :commitment AND ended_at IS NULL;

-- hurry_reports --
-- A peer is there: what it could not be told is told soon.
UPDATE commitment SET next_at = :next_at WHERE peer = :peer AND failed IS NOT NULL AND ended_at IS NULL AND next_at > :next_at;

-- forget_commitments --
-- Transactions that ended long ago.
DELETE FROM commitment WHERE ended_at < ?;

-- commitment_figures --
-- By peer: requests that wait for what is wanted, reports that could not be given yet, and such as were given up.
SELECT peer, sum(ended_at IS NULL AND failed IS NULL), sum(ended_at IS NULL AND attempts > 0), sum(ended_at IS NOT NULL AND NOT delivered)
FROM commitment GROUP BY peer;

-- add_sought --
-- We ask an archive.
INSERT INTO sought (transaction_uid, peer, instances, asked_at) VALUES (:transaction, :peer, :instances, :now);

-- answer_sought --
-- The archive we asked answers; a second answer changes nothing.
UPDATE sought SET answered_at = coalesce(answered_at, :now), failed = coalesce(failed, :failed)
WHERE transaction_uid = :transaction AND peer = :peer;

-- sought --
-- What an archive answered; NULL while it did not.
SELECT failed FROM sought WHERE transaction_uid = ?;

-- leave_out_ended --
-- A copy of site state does without the errands that are done,
DELETE FROM commitment WHERE ended_at IS NOT NULL;

-- leave_out_answered --
-- in either direction,
DELETE FROM sought WHERE answered_at IS NOT NULL;

-- leave_out_attempts --
-- and without how those fare that are not.
UPDATE commitment SET next_at = asked_at, attempts = 0, fault = NULL;
