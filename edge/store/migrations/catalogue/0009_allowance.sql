-- What may go over the link, as cloudsync said last; one row.
CREATE TABLE allowance (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    told TEXT NOT NULL CHECK (json_valid(told))
) STRICT;
