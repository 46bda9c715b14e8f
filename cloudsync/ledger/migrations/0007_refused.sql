-- A pack of which the archive refused an object is tried again some times before a person has to look at it; meanwhile the others go.
ALTER TABLE packs ADD COLUMN refused INTEGER NOT NULL DEFAULT 0 CHECK (refused >= 0);
ALTER TABLE packs ADD COLUMN retry_at REAL CHECK (retry_at IS NULL OR state = 'shipping');
CREATE INDEX packs_refused ON packs (retry_at) WHERE retry_at IS NOT NULL;
