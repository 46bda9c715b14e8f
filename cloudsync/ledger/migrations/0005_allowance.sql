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
