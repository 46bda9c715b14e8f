-- What was received lately does not wait behind what an outage left.
ALTER TABLE packs ADD COLUMN received_at REAL NOT NULL DEFAULT 0;
