"""What is here and where: pack files, the catalogue that finds them, site state. Only this package and the ledger speak SQL."""
