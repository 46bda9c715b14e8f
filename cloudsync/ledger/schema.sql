-- The ledger. One connection writes it, with synchronous = FULL: what is recorded here survives a power cut.
-- Every effect of an ask commits together with the position of the asks; `told` is 0 until the fact of it stands in the journal.

CREATE TABLE asks (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    position     INTEGER NOT NULL CHECK (position >= 0),               -- seq of the last ask that is committed
    owed         INTEGER NOT NULL CHECK (owed BETWEEN 0 AND position), -- seq of the last one that is worth an acknowledgement
    acknowledged INTEGER NOT NULL CHECK (acknowledged BETWEEN 0 AND position)
) STRICT;

INSERT INTO asks VALUES (1, 0, 0, 0);

-- shipping: parts are under way. proven: head, parts and sums are confirmed, the catalog entry is queued.
-- held: the segment that names the pack is confirmed too. stopped: nothing goes on until edge asks again.
CREATE TABLE packs (
    pack         TEXT    PRIMARY KEY CHECK (length(pack) = 26),
    state        TEXT    NOT NULL CHECK (state IN ('shipping', 'proven', 'held', 'stopped')),
    urgency      INTEGER NOT NULL CHECK (urgency BETWEEN 0 AND 2),     -- 0 stat, 1 routine, 2 background
    asked        INTEGER NOT NULL,                                     -- order among packs of one urgency
    instances    INTEGER NOT NULL CHECK (instances >= 0),
    raw_bytes    INTEGER NOT NULL CHECK (raw_bytes >= 0),
    sha256       TEXT    NOT NULL CHECK (length(sha256) = 64),         -- of the closed pack file
    study        TEXT    NOT NULL CHECK (json_valid(study)),           -- DICOM JSON
    series       TEXT    NOT NULL CHECK (json_valid(series)),
    objects      INTEGER NOT NULL CHECK (objects >= 1),                -- head and parts
    sealed_bytes INTEGER CHECK (sealed_bytes >= 0),
    sums         BLOB,                                                 -- the text; of a rebuilt holding not before it is first needed
    sums_digest  TEXT    CHECK (length(sums_digest) = 64),
    proven_at    REAL,
    reason       TEXT,
    told         INTEGER NOT NULL CHECK (told IN (0, 1)),
    stored_as    TEXT    CHECK (length(stored_as) = 26),               -- its id in the archive, where that is another one: it was shipped anew
    replaces     TEXT    CHECK ((replaces IS NULL) = (stored_as IS NULL)), -- the id in the archive before that
    damage       TEXT    CHECK (damage IS NULL OR state = 'held'),     -- what a verification found wrong with the archive's copy
    origin       TEXT    CHECK (origin IS NULL OR (length(origin) = 10 AND state = 'held' AND damage IS NULL)), -- the site whose it is; NULL: ours
    news         INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1)),    -- that site shipped it after it was followed
    refused      INTEGER NOT NULL DEFAULT 0 CHECK (refused >= 0),      -- so often the archive refused an object of it since it was asked for
    retry_at     REAL    CHECK (retry_at IS NULL OR state = 'shipping'), -- nothing of it goes before that: seconds since the epoch
    form         TEXT    NOT NULL DEFAULT 'parts' CHECK (form IN ('parts', 'instances')), -- instances: the archive reads DICOM
    received_at  REAL    NOT NULL DEFAULT 0,                           -- when its first instance arrived; 0 where edge did not say
    CHECK (state NOT IN ('proven', 'held') OR (sums_digest IS NOT NULL AND sealed_bytes IS NOT NULL AND proven_at IS NOT NULL)),
    CHECK ((state = 'stopped') = (reason IS NOT NULL))
) STRICT;

CREATE INDEX packs_under_way ON packs (urgency, asked) WHERE state = 'shipping';
CREATE INDEX packs_untold ON packs (proven_at) WHERE told = 0;
CREATE INDEX packs_refused ON packs (retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX packs_stored ON packs (coalesce(stored_as, pack));

-- The objects of packs under way; once a pack is proven, its sums say the same. Sealed bytes lie in a file until they are confirmed.
CREATE TABLE parts (
    pack          TEXT    NOT NULL REFERENCES packs ON DELETE CASCADE,
    number        INTEGER NOT NULL CHECK (number >= 0),                -- 0 is the head
    attempt       INTEGER NOT NULL CHECK (attempt >= 0),
    plain_bytes   INTEGER NOT NULL CHECK (plain_bytes >= 0),
    plain_digest  TEXT    NOT NULL CHECK (length(plain_digest) = 64),
    sealed_bytes  INTEGER,
    sealed_digest TEXT    CHECK (length(sealed_digest) = 64),
    sealed_md5    BLOB    CHECK (length(sealed_md5) = 16),
    confirmed     INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    PRIMARY KEY (pack, number),
    CHECK ((sealed_digest IS NULL) = (sealed_md5 IS NULL) AND (sealed_digest IS NULL) = (sealed_bytes IS NULL)),
    CHECK (confirmed = 0 OR sealed_digest IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX parts_unconfirmed ON parts (pack, number) WHERE confirmed = 0;

-- The instances of packs that an archive has, or is to have, each by itself. Part 0 of such a pack is their listing, which is not sent.
-- asked: not proven to be there. stored: the archive said so, or was read. refused: another one stands under its UID.
CREATE TABLE instances (
    pack         TEXT    NOT NULL REFERENCES packs ON DELETE CASCADE,
    number       INTEGER NOT NULL CHECK (number >= 1),                 -- of its file in the outbox, and of the part that edge recalls
    study        TEXT    NOT NULL,
    series       TEXT    NOT NULL,
    sop_instance TEXT    NOT NULL,
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),                  -- of the file
    digest       TEXT    NOT NULL CHECK (length(digest) = 64),         -- of the dataset
    state        TEXT    NOT NULL CHECK (state IN ('asked', 'stored', 'refused')),
    PRIMARY KEY (pack, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX instances_named ON instances (sop_instance);

-- asked: lies in the outbox. sealed: recorded, on its way. proven: confirmed, the catalog entry is queued. listed: the segment is
-- confirmed too. dropped: a newer one came first, or its bytes were lost. here: brought back by a rebuild, lies in the inbox.
CREATE TABLE site_states (
    number        INTEGER PRIMARY KEY CHECK (number >= 1),
    state         TEXT    NOT NULL CHECK (state IN ('asked', 'sealed', 'proven', 'listed', 'dropped', 'here')),
    bytes         INTEGER NOT NULL CHECK (bytes >= 0),
    digest        TEXT    NOT NULL CHECK (length(digest) = 64),
    sealed_bytes  INTEGER,
    sealed_digest TEXT    CHECK (length(sealed_digest) = 64),
    sealed_md5    BLOB    CHECK (length(sealed_md5) = 16),
    told          INTEGER NOT NULL CHECK (told IN (0, 1)),
    CHECK (state NOT IN ('sealed', 'proven', 'listed') OR sealed_digest IS NOT NULL)
) STRICT;

-- The catalog chain. A segment is recorded with its bytes before the first of them is sent, and sent again as the same bytes. They are kept:
-- one that went missing in the archive is put back as it was.
CREATE TABLE segments (
    sequence  INTEGER PRIMARY KEY CHECK (sequence >= 1),
    name      TEXT    NOT NULL UNIQUE,
    tip       TEXT    NOT NULL CHECK (length(tip) = 64),               -- SHA-256 of the signed content
    signer    BLOB    NOT NULL,                                        -- signing certificate in force after it
    sealed    BLOB,
    confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    CHECK (sealed IS NOT NULL OR confirmed = 1)
) STRICT;

CREATE UNIQUE INDEX one_segment_in_flight ON segments (confirmed) WHERE confirmed = 0;

-- Merges of 32 segments, or of 32 merges, for whoever reads the catalog one day; nothing on this box depends on them. sending: recorded with
-- its bytes before the first of them is sent. there: confirmed. passed: not written, since it would be too large, or cannot be; `sealed` is
-- of no use then.
CREATE TABLE merges (
    level  INTEGER NOT NULL CHECK (level BETWEEN 1 AND 6),
    first  INTEGER NOT NULL CHECK (first >= 1),                        -- number of the first segment that it stands for
    last   INTEGER NOT NULL CHECK (last > first),
    state  TEXT    NOT NULL CHECK (state IN ('sending', 'there', 'passed')),
    sealed BLOB    CHECK ((sealed IS NULL) = (state = 'passed')),
    PRIMARY KEY (level, first)
) STRICT;

CREATE INDEX merges_last ON merges (last, level);
CREATE UNIQUE INDEX one_merge_in_flight ON merges (state) WHERE state = 'sending';

-- Holdings that were retired: nothing of them is shipped, recalled or told as held again. `entry` is the tombstone, which the catalog says
-- before edge is told; NULL where a rebuild found it there, and for what is another site's, which may be followed anew.
CREATE TABLE retired (
    pack      TEXT    PRIMARY KEY CHECK (length(pack) = 26),
    stored_as TEXT    NOT NULL CHECK (length(stored_as) = 26),         -- its id in the archive
    at        REAL    NOT NULL,
    entry     INTEGER,
    told      INTEGER NOT NULL CHECK (told IN (0, 1)),
    origin    TEXT    CHECK (length(origin) = 10)                      -- the site whose it was; NULL: ours
) STRICT;

CREATE INDEX retired_untold ON retired (at) WHERE told = 0;

-- How far the catalog of each other site that is followed is read here. What it holds lies in `packs`, and commits together with this.
CREATE TABLE followed (
    site     TEXT    PRIMARY KEY CHECK (length(site) = 10),
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    tip      TEXT    NOT NULL CHECK (length(tip) = 64),               -- SHA-256 of the signed content
    signer   BLOB    NOT NULL,                                        -- signing certificate in force after it
    shared   BLOB                                                     -- what it shared with this box since, sealed; NULL: nothing
) STRICT;

-- What the catalog has yet to say. `sequence` is the segment that says it; the entry goes when that one is confirmed.
CREATE TABLE entries (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    entry     BLOB    NOT NULL,                                        -- JSON, as it will stand in the segment
    pack      TEXT    REFERENCES packs,
    site      INTEGER REFERENCES site_states,
    queued_at REAL    NOT NULL,
    urgent    INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    sequence  INTEGER REFERENCES segments
) STRICT;

-- What edge wants back. here: lies in the inbox. failed: the archive has no such bytes.
CREATE TABLE recalls (
    pack   TEXT    NOT NULL CHECK (length(pack) = 26),
    number INTEGER NOT NULL CHECK (number >= 0),
    state  TEXT    NOT NULL CHECK (state IN ('wanted', 'here', 'failed')),
    asked  INTEGER NOT NULL,
    bytes  INTEGER,
    digest TEXT    CHECK (length(digest) = 64),                        -- of the plaintext in the inbox
    reason TEXT,
    told   INTEGER NOT NULL CHECK (told IN (0, 1)),
    PRIMARY KEY (pack, number),
    CHECK (state <> 'here' OR (bytes IS NOT NULL AND digest IS NOT NULL)),
    CHECK ((state = 'failed') = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX recalls_wanted ON recalls (asked, number) WHERE state = 'wanted';
CREATE INDEX recalls_untold ON recalls (asked, number) WHERE told = 0;

-- The comparison of the archive with this ledger that is under way, or ended last; number 0: there was none.
CREATE TABLE verification (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    number       INTEGER NOT NULL CHECK (number >= 0),
    asked        INTEGER NOT NULL CHECK (asked >= 0),                  -- seq of the ask; 0: nobody asked
    percent      REAL    NOT NULL CHECK (percent BETWEEN 0 AND 100),   -- of the objects are read
    start        REAL    NOT NULL CHECK (start >= 0 AND start < 1),    -- where the sample begins: behind the one before it
    upto         TEXT    NOT NULL,                                     -- the last step that was done
    began_at     REAL,
    ended_at     REAL,
    objects      INTEGER NOT NULL,
    read_objects INTEGER NOT NULL,
    read_bytes   INTEGER NOT NULL,
    damaged      INTEGER NOT NULL,                                     -- packs
    faults       TEXT    NOT NULL CHECK (json_valid(faults))           -- of the catalog and of site state, as sentences
) STRICT;

INSERT INTO verification VALUES (1, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, '[]');

-- What may go over the link: whether a person paused shipping, and what went in the budget's month.
CREATE TABLE allowance (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    asked        INTEGER NOT NULL CHECK (asked >= 0),                  -- seq of the last ask to pause or to go on
    paused       INTEGER NOT NULL CHECK (paused IN (0, 1)),
    paused_until REAL,                                                 -- seconds since the epoch; none: until somebody says so
    month        TEXT    NOT NULL,                                     -- its first day, as 2027-01-31; empty: nothing was counted yet
    used_bytes   INTEGER NOT NULL CHECK (used_bytes >= 0),
    CHECK (paused = 1 OR paused_until IS NULL)
) STRICT;

INSERT INTO allowance VALUES (1, 0, 0, NULL, '', 0);
