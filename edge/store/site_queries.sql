-- put_peer --
-- Add a peer, or change it.
REPLACE INTO peer (ae_title, address, host, port, tls, tls_subject, user_name, passcode, rights, accept_syntaxes, max_pdu_bytes, idle_seconds, max_associations,
    send_associations, default_issuer, query_charset, commitment, report_after_seconds, commitment_falls_back, urgency, send_skip_sop_classes,
    accept_quarantined, retrieve_limit_seconds)
VALUES (:ae_title, :address, :host, :port, :tls, :tls_subject, :user_name, :passcode, :rights, :accept_syntaxes, :max_pdu_bytes,
    :idle_seconds, :max_associations, :send_associations, :default_issuer, :query_charset, :commitment, :report_after_seconds,
    :commitment_falls_back, :urgency, :send_skip_sop_classes, :accept_quarantined, :retrieve_limit_seconds);

-- remove_peer --
-- A peer may no longer talk to us.
DELETE FROM peer WHERE ae_title = ?;

-- peer --
-- One peer by its AE title.
SELECT ae_title, address, host, port, tls, tls_subject, user_name, passcode, rights, accept_syntaxes, max_pdu_bytes, idle_seconds, max_associations,
    send_associations, default_issuer, query_charset, commitment, report_after_seconds, commitment_falls_back, urgency, send_skip_sop_classes,
    accept_quarantined, retrieve_limit_seconds
FROM peer WHERE ae_title = ?;

-- peers --
-- All peers.
SELECT ae_title, address, host, port, tls, tls_subject, user_name, passcode, rights, accept_syntaxes, max_pdu_bytes, idle_seconds, max_associations,
    send_associations, default_issuer, query_charset, commitment, report_after_seconds, commitment_falls_back, urgency, send_skip_sop_classes,
    accept_quarantined, retrieve_limit_seconds
FROM peer ORDER BY ae_title;

-- put_correction --
-- What is right of a study.
REPLACE INTO correction (study, attributes, corrected_at, rejected) VALUES (?, ?, ?, ?);

-- remove_correction --
-- A study is right as it arrived.
DELETE FROM correction WHERE study = ?;

-- correction --
-- What is right of one study.
SELECT study, attributes, corrected_at, rejected FROM correction WHERE study = ?;

-- corrections --
-- What is right of every corrected study, newest first.
SELECT study, attributes, corrected_at, rejected FROM correction ORDER BY corrected_at DESC, study;

-- put_choice --
-- The variant of an instance that a person chose.
REPLACE INTO choice (study, series, instance, digest, chosen_at) VALUES (?, ?, ?, ?, ?);

-- choice --
-- What a person chose among the variants of one instance.
SELECT digest, chosen_at FROM choice WHERE study = ? AND series = ? AND instance = ?;

-- put_pin --
-- A study is to stay in the cache.
REPLACE INTO pin (study, until, pinned_at) VALUES (?, ?, ?);

-- remove_pin --
-- A study need not stay any more.
DELETE FROM pin WHERE study = ?;

-- pins --
-- Studies that are to stay, the newest decision first.
SELECT study, until, pinned_at FROM pin ORDER BY pinned_at DESC, study;

-- remove_settings --
-- A copy holds the settings of the box that makes it, not those that it was rebuilt from.
DELETE FROM setting;

-- put_setting --
-- A file of settings, for a copy.
INSERT INTO setting (name, content) VALUES (?, ?);

-- settings --
-- The files of settings of the box that made the copy from which this one was rebuilt.
SELECT name, content FROM setting ORDER BY name;
