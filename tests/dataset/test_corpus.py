"""The walk, the file meta and the description beside pydicom's own reading, over every Part 10 file of pydicom's test data."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import DATA_ROOT
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from edge.dataset.attributes import INTEREST, describe, identify
from edge.dataset.part10 import read_file_meta
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_LE, UNDEFINED, Malformed, inflate, walk
from edge.model import Level

CUT_OFF = {"MR_truncated.dcm": {0x7FE00010}, "rtplan_truncated.dcm": {0x300A00B0}}
"""Files that end inside an element, which pydicom reads as far as it goes."""
NAMES_NO_SYNTAX = {"meta_missing_tsyntax.dcm"}
IMPLICIT_ON_EXPLICIT = {"SC_rgb_jpeg.dcm"}
"""Not what its transfer syntax says: pydicom guesses, Outpost sets aside."""


def part10_files() -> list[Path]:
    files = (path for path in Path(DATA_ROOT).rglob("*") if path.is_file() and path.name not in NAMES_NO_SYNTAX)
    return sorted(path for path in files if path.read_bytes()[128:132] == b"DICM")


FILES = [path for path in part10_files() if path.name not in IMPLICIT_ON_EXPLICIT]
IDS = [str(path.relative_to(DATA_ROOT)) for path in FILES]


def test_there_is_a_corpus() -> None:
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_elements_lie_where_pydicom_finds_them(path: Path) -> None:
    data = path.read_bytes()
    meta = read_file_meta(data)
    body, syntax = data[meta.dataset_offset :], meta.transfer_syntax
    if syntax == DEFLATED_LE:
        body, syntax = inflate(body, 1 << 24), EXPLICIT_LE
    theirs = read(path)
    found = []
    try:
        for one in walk(body, syntax):
            found.append(one)  # noqa: PERF402 - what came before the error is what is looked at
    except Malformed:
        assert path.name in CUT_OFF
        found.pop()
    assert {one.tag for one in found} == {int(tag) for tag in theirs.keys()} - CUT_OFF.get(path.name, set())  # noqa: SIM118 - keys() converts nothing
    for one in found:
        raw = theirs.get_item(one.tag)
        if one.length != UNDEFINED and isinstance(raw, RawDataElement):
            assert body[one.value : one.end] == (raw.value or b""), hex(one.tag)


@pytest.mark.parametrize("name", sorted(IMPLICIT_ON_EXPLICIT))
def test_implicit_data_under_an_explicit_transfer_syntax_is_malformed(name: str) -> None:
    (path,) = (path for path in part10_files() if path.name == name)
    data = path.read_bytes()
    meta = read_file_meta(data)
    with pytest.raises(Malformed, match="no value representation"):
        identify(data[meta.dataset_offset :], meta.transfer_syntax)
    assert "no value representation" in (describe(data[meta.dataset_offset :], meta.transfer_syntax, len(data)).fault or "")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_file_meta_says_what_pydicom_reads(path: Path) -> None:
    meta = read_file_meta(path.read_bytes())
    theirs = read(path).file_meta
    assert meta.transfer_syntax == theirs.TransferSyntaxUID
    assert meta.sop_class == theirs.get("MediaStorageSOPClassUID", "")
    assert meta.sop_instance == theirs.get("MediaStorageSOPInstanceUID", "")
    assert meta.source_ae == theirs.get("SourceApplicationEntityTitle", "")
    assert meta.digest is None


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_identity_and_attributes_of_interest_are_those_that_pydicom_reads(path: Path) -> None:
    data = path.read_bytes()
    meta = read_file_meta(data)
    body = data[meta.dataset_offset :]
    theirs = read(path)
    uids = [theirs.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
    if all(uids):
        identity = identify(body, meta.transfer_syntax)
        assert identity is not None
        assert [identity.sop_class, identity.sop_instance, identity.series, identity.study] == uids
    else:
        with contextlib.suppress(Malformed):
            assert identify(body, meta.transfer_syntax) is None
    found = describe(body, meta.transfer_syntax, len(body))
    assert found.complete
    assert (found.fault is None) == (path.name != "MR_truncated.dcm")
    levels = {Level.PATIENT: found.patient, Level.STUDY: found.study, Level.SERIES: found.series, Level.IMAGE: found.instance}
    for tag, (vr, level) in INTEREST.items():
        if tag not in theirs:
            assert f"{tag:08X}" not in levels[level]
            continue
        assert flat(levels[level][f"{tag:08X}"], vr) == expected(theirs, tag, vr), hex(tag)


def flat(attribute: dict[str, object], vr: str) -> list[str]:
    assert attribute["vr"] == vr
    values = attribute.get("Value", [])
    assert isinstance(values, list)
    if vr == "PN":
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        return ["=".join(value.get(group, "") for group in groups).rstrip("=") for value in values]
    return ["" if value is None else str(value) for value in values]


def expected(theirs: pydicom.Dataset, tag: int, vr: str) -> list[str]:
    value = theirs[tag].value
    values = value if isinstance(value, MultiValue | list) else [] if value in (None, "") else [value]
    if vr == "PN":
        names = ("=".join(group.rstrip("^ ") for group in str(one).split("=")).rstrip("=") for one in values)
        return [name for name in names if name]
    return [str(one.original_string if hasattr(one, "original_string") and vr == "DS" else one).strip() for one in values]


def read(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        for tag in INTEREST:
            dataset.get(tag)
    return dataset
