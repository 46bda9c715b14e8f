"""The ledger: cloudsync's record of what lies in the archive, what is on its way there, and what edge was told. Only here is SQL."""
