-- Packs of other sites, which cloudsync follows.
ALTER TABLE pack ADD COLUMN origin TEXT CHECK (length(origin) = 10);
ALTER TABLE pack ADD COLUMN news INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1));
