-- A catalogue that was made again knows that the holdings of its packs have yet to be told.
ALTER TABLE facts ADD COLUMN restating INTEGER;
