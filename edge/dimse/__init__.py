"""The association engine (PS3.7, PS3.8) and one module for each DICOM service, acceptor and requestor alike."""
