"""edge-web: DICOMweb (PS3.18) for the LAN. Reads the catalogue and the packs; whatever writes, it asks of edge."""
