-- Site state: what people decided. Sealed into the catalog whenever it changes; a rebuilt box starts from it.

CREATE TABLE peer (
    ae_title               TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    address                TEXT NOT NULL,                   -- from where it calls: IP address or CIDR; empty = any
    host                   TEXT NOT NULL,                   -- where it is called back; empty = never
    port                   INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls                    INTEGER NOT NULL CHECK (tls IN (0, 1)),
    tls_subject            TEXT NOT NULL,                   -- of the certificate that it must show; empty = any, or none
    rights                 TEXT NOT NULL CHECK (json_valid(rights)),
    accept_syntaxes        TEXT NOT NULL CHECK (json_valid(accept_syntaxes)),          -- empty = every one
    max_pdu_bytes          INTEGER NOT NULL CHECK (max_pdu_bytes BETWEEN 4096 AND 1048576),
    idle_seconds           REAL NOT NULL CHECK (idle_seconds > 0),
    max_associations       INTEGER NOT NULL CHECK (max_associations >= 0),             -- 0 = the caps of the site alone
    default_issuer         TEXT NOT NULL CHECK (length(default_issuer) <= 64),
    query_charset          TEXT NOT NULL,
    commitment             TEXT NOT NULL CHECK (commitment IN ('local', 'two_copies', 'archived')),
    report_after_seconds   REAL NOT NULL CHECK (report_after_seconds > 0),
    urgency                TEXT NOT NULL CHECK (urgency IN ('stat', 'routine', 'background')),
    send_skip_sop_classes  TEXT NOT NULL CHECK (json_valid(send_skip_sop_classes)),
    accept_quarantined     INTEGER NOT NULL CHECK (accept_quarantined IN (0, 1)),
    retrieve_limit_seconds REAL NOT NULL CHECK (retrieve_limit_seconds >= 0)           -- 0 = none
) STRICT;
