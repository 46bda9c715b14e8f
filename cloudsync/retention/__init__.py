"""How long the archive keeps what it holds: a plan that people review, tombstones in the catalog, and a list of what may be deleted."""
