"""A generated CT study: a body with organs and noise, from a fixed seed. It says in every instance that it was generated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from edge.dataset.walk import EXPLICIT_LE
from edge.demo.instances import Sample
from edge.model import UID

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "2.25.135297064315840952"
SEED = 20_260_131


def phantom(slices: int = 120, size: int = 512, run: int = 1) -> Iterator[Sample]:
    """The instances of one study, in order. `run` sets the UIDs apart; the pixels depend on the seed alone."""
    generator = np.random.default_rng(SEED)
    vertical, horizontal = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for number in range(1, slices + 1):
        height = 2 * number / slices - 1
        hounsfield = np.full((size, size), -1000.0)
        for centre, axes, value in _organs(height):
            inside = ((horizontal - centre[0]) / axes[0]) ** 2 + ((vertical - centre[1]) / axes[1]) ** 2 < 1
            hounsfield[inside] = value
        hounsfield += generator.normal(0.0, 9.0, hounsfield.shape)
        yield _instance(number, np.clip(np.rint(hounsfield), -1024, 3071).astype("<i2"), run)


def _organs(height: float) -> Iterator[tuple[tuple[float, float], tuple[float, float], float]]:
    """Ellipses as (centre, half axes, Hounsfield units), the outer ones first."""
    girth = 1.0 - 0.15 * height**2
    yield (0.0, 0.0), (0.82 * girth, 0.62 * girth), -95.0
    yield (0.0, 0.0), (0.76 * girth, 0.56 * girth), 45.0
    for side in (-1, 1):
        yield (0.36 * side, -0.05), (0.27 * max(0.1, 1 - abs(height)), 0.36), -820.0
    yield (0.05, 0.02), (0.16, 0.2), 120.0
    yield (0.0, 0.4), (0.1, 0.09), 620.0


def _instance(number: int, pixels: np.ndarray, run: int) -> Sample:
    study, series, instance = (UID(f"{ROOT}.{run}.{tail}") for tail in ("1", "1.1", f"1.1.{number}"))
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_IMAGE_STORAGE, instance
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20260131"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = f"GEN{run}"
    dataset.Modality = "CT"
    dataset.Manufacturer = "Outpost demo"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Generated phantom, not a patient"
    dataset.SeriesDescription = "Generated, with noise"
    dataset.PatientName, dataset.PatientID = "Phantom^Generated", "GENERATED-PHANTOM"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = "2.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", "1", str(number)
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-180, -180, number * 2.5], [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return Sample(UID(CT_IMAGE_STORAGE), instance, study, UID(EXPLICIT_LE), stream.getvalue())
