"""The archive compared with the ledger: it is not trusted, and what is not as it was is found, named and mended where that can be."""
