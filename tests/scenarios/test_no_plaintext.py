"""The archive holds no plaintext: neither real names, IDs and UIDs, nor anything of a canary study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid

from edge.dataset.walk import EXPLICIT_LE
from edge.demo.instances import Sample, samples
from edge.demo.tour import REAL
from edge.model import UID
from tests.scenarios.conftest import Clinic

LEAST_REAL, LEAST_CANARY = 8, 12
TEXT = {
    "PatientName": "Canaryname^Zwitscher",
    "PatientID": "CANARY-ID-7391-A",
    "PatientAddress": "Canary lane 4711, Birdstown",
    "OtherPatientIDs": "CANARY-OTHER-ID-55",
    "PatientComments": "canary comment of the patient",
    "AccessionNumber": "CANARYACC-0815",
    "StudyDescription": "Canary study description",
    "SeriesDescription": "Canary series description",
    "ReferringPhysicianName": "Canaryreferrer^Piep",
    "PerformingPhysicianName": "Canaryperformer^Tirili",
    "OperatorsName": "Canaryoperator^Tschilp",
    "InstitutionName": "Canary hospital of Birdstown",
    "StationName": "CANARYSTATION-1",
    "Manufacturer": "Canary imaging works",
    "StudyID": "CANARYSTUDYID-1",
    "ProtocolName": "Canary protocol name",
    "RequestedProcedureDescription": "Canary requested procedure",
    "ImageComments": "canary comment of the instance",
}


def canary() -> Sample:
    """A generated instance, each of whose attributes is unique and at least 12 bytes long."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = (generate_uid() for _ in range(3))
    for keyword, value in TEXT.items():
        setattr(dataset, keyword, value)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 16, 16, 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = b"CANARYPIXELS-16!" * 16
    dataset["PixelData"].VR = "OB"
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return Sample(UID(dataset.SOPClassUID), UID(dataset.SOPInstanceUID), UID(dataset.StudyInstanceUID), UID(EXPLICIT_LE), stream.getvalue())


def strings(sample: Sample, least: int) -> Iterator[str]:
    """Every text value of a dataset that is long enough to be no coincidence."""
    dataset = pydicom.dcmread(DicomBytesIO(sample.dataset), force=True, stop_before_pixels=True)
    for element in dataset.iterall():
        if element.VR in {"PN", "LO", "SH", "UI", "ST", "LT", "UT", "AE", "UC"}:
            values = element.value if isinstance(element.value, list | pydicom.multival.MultiValue) else [element.value]
            yield from (text for value in values if len(text := str(value or "")) >= least)


def needles(texts: set[str]) -> dict[bytes, str]:
    """Each text as it would stand in the clear: raw, and in both forms of UTF-16."""
    return {
        text.encode(encoding): text
        for text in texts
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
        if _fits(text, encoding)
    }


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def test_no_name_id_or_uid_stands_in_the_archive_in_the_clear(clinic: Clinic) -> None:
    bird = canary()
    real = list(samples(REAL))
    clinic.workstation.send(clinic.site.peer, [*real, bird], lambda _: None)
    clinic.wait_told()
    clinic.wait_held()
    known = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}  # UIDs of the standard, which every DICOM file names
    texts = {text for sample in real for text in strings(sample, LEAST_REAL)} | set(strings(bird, LEAST_CANARY)) | {"CANARYPIXELS-16!"}
    texts = {text for text in texts if text not in known and not text.startswith("1.2.840.10008.")}
    assert len(texts) > 100
    assert texts >= set(TEXT.values()) - {"Canaryname^Zwitscher"}
    wanted = needles(texts)
    files = [path for path in clinic.archive.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = str(path.relative_to(clinic.archive)).encode() + path.read_bytes()
        found = [text for needle, text in wanted.items() if needle in content]
        assert not found, f"{path.name} holds {found[:3]} in the clear"


def test_no_name_or_id_stands_in_the_logs_or_in_the_names_of_files(clinic: Clinic) -> None:
    bird = canary()
    clinic.workstation.send(clinic.site.peer, [bird], lambda _: None)
    clinic.wait_held()
    clinic.evict()
    list(clinic.workstation.move(clinic.site.peer, bird.study))
    wanted = needles({*TEXT.values(), bird.study, bird.sop_instance})
    shown = clinic.site.log.read_bytes() + "\n".join(str(path) for path in Path(clinic.place).rglob("*")).encode()
    assert not [text for needle, text in wanted.items() if needle in shown]


def test_the_needles_are_found_where_they_do_stand_in_the_clear(clinic: Clinic) -> None:
    bird = canary()
    clinic.workstation.send(clinic.site.peer, [bird], lambda _: None)
    clinic.wait_held()
    packs = b"".join(path.read_bytes() for path in clinic.site.layout.cache.rglob("*.tar"))
    missing = [text for needle, text in needles(set(TEXT.values())).items() if needle == text.encode() and needle not in packs]
    assert not missing
