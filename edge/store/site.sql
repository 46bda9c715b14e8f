-- Site state: what people decided. Sealed into the catalog whenever it changes; a rebuilt box starts from it.

CREATE TABLE peer (
    ae_title           TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    address            TEXT NOT NULL,                       -- from where it calls: IP address or CIDR; empty = any
    host               TEXT NOT NULL,                       -- where it is called back; empty = never
    port               INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    rights             TEXT NOT NULL CHECK (json_valid(rights)),
    max_pdu_bytes      INTEGER NOT NULL CHECK (max_pdu_bytes BETWEEN 4096 AND 1048576),
    idle_seconds       REAL NOT NULL CHECK (idle_seconds > 0),
    accept_quarantined INTEGER NOT NULL CHECK (accept_quarantined IN (0, 1))
) STRICT;
