-- What cloudsync said of the link ages: when it said so.
ALTER TABLE link ADD COLUMN said_at REAL NOT NULL DEFAULT 0;
