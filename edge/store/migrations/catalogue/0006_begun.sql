-- A route sends what arrives after it began, whatever the clock says of when that was: the last instance that was here before.
ALTER TABLE forwarding ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
