"""The WAN side of Outpost: seals parts, ships them to the archive, fetches them back. It parses no DICOM and listens nowhere."""
