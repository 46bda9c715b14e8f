"""Reading DICOM: the bounded header walk, attributes of interest, DICOM JSON."""
