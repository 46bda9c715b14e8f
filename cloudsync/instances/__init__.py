"""The ways of an instance to an archive that reads DICOM, and back."""
