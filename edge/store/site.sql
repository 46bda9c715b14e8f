-- Site state: what people decided. Sealed into the catalog whenever it changes; a rebuilt box starts from it.

CREATE TABLE peer (
    ae_title               TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    address                TEXT NOT NULL,                   -- from where it calls: IP address or CIDR; empty = any
    host                   TEXT NOT NULL,                   -- where it is called back; empty = never
    port                   INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls                    INTEGER NOT NULL CHECK (tls IN (0, 1)),
    tls_subject            TEXT NOT NULL,                   -- of the certificate that it must show; empty = any, or none
    user_name              TEXT NOT NULL CHECK (length(user_name) <= 64),              -- that it must say it is; empty = any, or none
    passcode               TEXT NOT NULL,                   -- hash of it; empty = none is asked for
    rights                 TEXT NOT NULL CHECK (json_valid(rights)),
    accept_syntaxes        TEXT NOT NULL CHECK (json_valid(accept_syntaxes)),          -- empty = every one
    max_pdu_bytes          INTEGER NOT NULL CHECK (max_pdu_bytes BETWEEN 4096 AND 1048576),
    idle_seconds           REAL NOT NULL CHECK (idle_seconds > 0),
    max_associations       INTEGER NOT NULL CHECK (max_associations >= 0),             -- 0 = the caps of the site alone
    send_associations      INTEGER NOT NULL CHECK (send_associations BETWEEN 1 AND 8), -- opened to it at the same time
    default_issuer         TEXT NOT NULL CHECK (length(default_issuer) <= 64),
    query_charset          TEXT NOT NULL,
    commitment             TEXT NOT NULL CHECK (commitment IN ('local', 'two_copies', 'archived')),
    report_after_seconds   REAL NOT NULL CHECK (report_after_seconds > 0),
    commitment_falls_back  INTEGER NOT NULL CHECK (commitment_falls_back IN (0, 1)),
    urgency                TEXT NOT NULL CHECK (urgency IN ('stat', 'routine', 'background')),
    send_skip_sop_classes  TEXT NOT NULL CHECK (json_valid(send_skip_sop_classes)),
    accept_quarantined     INTEGER NOT NULL CHECK (accept_quarantined IN (0, 1)),
    retrieve_limit_seconds REAL NOT NULL CHECK (retrieve_limit_seconds >= 0)           -- 0 = none
) STRICT;

-- A request for storage commitment (PS3.4 annex J): it waits, is decided, is reported. What has ended stays for as long as its transaction
-- UID may not be used again.
CREATE TABLE commitment (
    commitment      INTEGER PRIMARY KEY,
    transaction_uid TEXT NOT NULL CHECK (length(transaction_uid) BETWEEN 1 AND 64),
    peer            TEXT NOT NULL,                          -- AE title that asked
    called          TEXT NOT NULL,                          -- AE title of ours that it called
    digest          TEXT NOT NULL CHECK (length(digest) = 64), -- SHA-256 of what is wanted
    wanted          TEXT CHECK (wanted IS NULL OR json_valid(wanted)),        -- [[class, instance], ...]; NULL once it has ended
    failed          TEXT CHECK (failed IS NULL OR json_valid(failed)),        -- [[class, instance, reason], ...]; NULL until it is decided
    asked_at        REAL NOT NULL,
    decided_at      REAL,
    next_at         REAL NOT NULL,                          -- when it is looked at again
    attempts        INTEGER NOT NULL DEFAULT 0,             -- at the report
    fault           TEXT,                                   -- why the last attempt failed
    ended_at        REAL,
    delivered       INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
    CHECK ((wanted IS NULL) = (ended_at IS NOT NULL)),
    CHECK ((decided_at IS NULL) = (failed IS NULL))
) STRICT;
CREATE INDEX commitment_by_transaction ON commitment (transaction_uid);
CREATE INDEX commitment_next ON commitment (next_at) WHERE ended_at IS NULL;

-- What we asked another archive to commit, and its answer.
CREATE TABLE sought (
    transaction_uid TEXT PRIMARY KEY,
    peer            TEXT NOT NULL,
    instances       INTEGER NOT NULL,
    asked_at        REAL NOT NULL,
    answered_at     REAL,
    failed          TEXT CHECK (failed IS NULL OR json_valid(failed)),        -- [[class, instance, reason], ...]
    CHECK ((answered_at IS NULL) = (failed IS NULL))
) STRICT;

-- What a person said is right of a study; it is stored as it arrived.
CREATE TABLE correction (
    study        TEXT PRIMARY KEY CHECK (length(study) BETWEEN 1 AND 64),
    attributes   TEXT NOT NULL CHECK (json_valid(attributes)),   -- DICOM JSON Model; replaces what the instances say
    corrected_at REAL NOT NULL,
    rejected     INTEGER NOT NULL CHECK (rejected IN (0, 1))     -- not to be used
) STRICT;

-- Where instances are sent on to, and which of them: what arrives from `since` on and meets every condition; an empty one holds for all.
CREATE TABLE route (
    name        TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    peer        TEXT NOT NULL,                              -- AE title of a peer, or
    url         TEXT NOT NULL,                              -- of a STOW-RS service,
    token_file  TEXT NOT NULL,                              -- with a bearer token from this file; empty = none
    from_ae     TEXT NOT NULL,
    urgency     TEXT NOT NULL CHECK (urgency IN ('', 'stat', 'routine', 'background')),
    modalities  TEXT NOT NULL CHECK (json_valid(modalities)),
    description TEXT NOT NULL,                              -- of study or series, with * and ?, whatever the case
    begins      TEXT NOT NULL CHECK (begins = '' OR begins GLOB '[0-2][0-9]:[0-5][0-9]'), -- local time of day of the reception
    ends        TEXT NOT NULL CHECK (ends = '' OR ends GLOB '[0-2][0-9]:[0-5][0-9]'),     -- may lie before `begins`: over midnight
    since       REAL NOT NULL,
    CHECK ((peer = '') != (url = '')),
    CHECK ((begins = '') = (ends = ''))
) STRICT;

-- Which variant of an instance a person chose, of those that had been received by then.
CREATE TABLE choice (
    study     TEXT NOT NULL,
    series    TEXT NOT NULL,
    instance  TEXT NOT NULL,
    digest    TEXT CHECK (length(digest) = 64),                  -- NULL: none of them
    chosen_at REAL NOT NULL,
    PRIMARY KEY (study, series, instance)
) STRICT, WITHOUT ROWID;

-- Studies that a person wants to stay in the cache.
CREATE TABLE pin (
    study     TEXT PRIMARY KEY CHECK (length(study) BETWEEN 1 AND 64),
    until     REAL,                                              -- seconds since the epoch; NULL: until it is taken back
    pinned_at REAL NOT NULL
) STRICT;

-- Of a copy: outpost.toml and the TLS files of the box that made it. What a box runs by are the files themselves.
CREATE TABLE setting (
    name    TEXT PRIMARY KEY CHECK (name IN ('outpost.toml', 'certificate_file', 'key_file', 'client_ca_file')),
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
