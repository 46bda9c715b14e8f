-- The catalogs of other sites are followed: how far each is read, and whose a holding is.
ALTER TABLE packs ADD COLUMN origin TEXT CHECK (origin IS NULL OR (length(origin) = 10 AND state = 'held' AND damage IS NULL));
ALTER TABLE packs ADD COLUMN news INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1));
ALTER TABLE retired ADD COLUMN origin TEXT CHECK (length(origin) = 10);

CREATE TABLE followed (
    site     TEXT    PRIMARY KEY CHECK (length(site) = 10),
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    tip      TEXT    NOT NULL CHECK (length(tip) = 64),
    signer   BLOB    NOT NULL,
    shared   BLOB
) STRICT;
