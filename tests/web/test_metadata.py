"""WADO-RS metadata: every real instance as the DICOM JSON Model, whatever is wrong with it; nearline ones from heads."""

from __future__ import annotations

import hashlib
import json
import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from edge.code import coder
from edge.code.jobs import CodeJob, MemberRow
from edge.dataset.part10 import read_file_meta
from edge.dataset.source import BytesSource
from edge.dataset.walk import EXPLICIT_LE, Malformed
from edge.model import PackId
from edge.web.metadata import metadata
from tests.web.box import CT, JPEG_2000, MULTIFRAME, REPORT, RLE, Box, Web, dataset_of, sample, stored

BULK = "http://localhost/bulkdata"


def _readable() -> list[str]:
    found = []
    for path in Path(str(get_testdata_file(CT))).parent.glob("*.dcm"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                meta = read_file_meta(path.read_bytes())
                pydicom.dcmread(path)
            except (Malformed, pydicom.errors.InvalidDicomError):
                continue
        if meta.sop_instance and "truncated" not in path.name and path.name != "SC_rgb_jpeg.dcm":
            found.append(str(path))
    return sorted(found)


@pytest.mark.parametrize("name", _readable(), ids=lambda name: Path(name).name)
def test_the_metadata_of_each_instance_that_pydicom_ships_reads_as_its_header(name: str) -> None:
    data = Path(name).read_bytes()
    meta = read_file_meta(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metadata(BytesSource(data[meta.dataset_offset :]), meta.transfer_syntax, BULK)
        real = pydicom.dcmread(BytesIO(data))
        back = pydicom.Dataset.from_json(json.dumps(found, default=str), lambda _: b"")
        assert list(found) == sorted(found)
        missing = [element.tag for element in real if element.tag.element and element.tag != 0xFFFCFFFC and element.tag not in back]
        assert [tag for tag in missing if (Path(name).name, int(tag)) != ("badVR.dcm", 0x00280008)] == []
        for keyword in ("SOPInstanceUID", "PatientName", "PatientID", "Rows", "Modality", "ImageOrientationPatient"):
            shown, there = back.get(keyword, ""), real.get(keyword, "")
            assert shown == there or str(shown).rstrip("^ ") == str(there).strip("^ "), keyword


@pytest.mark.asyncio
async def test_a_study_has_the_metadata_of_all_its_instances(served: Web) -> None:
    _, path = await stored(served, RLE)
    await stored(served, CT)
    for resource in (path, path.rpartition("/instances/")[0], path.partition("/series/")[0]):
        status, headers, body = await served.get(resource + "/metadata")
        assert (status, headers["Content-Type"]) == (200, "application/dicom+json")
        (found,) = json.loads(body)
        assert found["7FE00010"]["BulkDataURI"] == f"{served.address}{path}/bulkdata/7FE00010"
    assert (await served.get(path + "/metadata", "text/html"))[0] == 406


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [CT, RLE, JPEG_2000, MULTIFRAME, REPORT])
async def test_the_metadata_of_a_nearline_instance_comes_from_its_head_and_asks_for_nothing(served: Web, name: str) -> None:
    _, path = await stored(served, name)
    (pack,) = served.box.close_packs()
    _, _, before = await served.get(path + "/metadata")
    _code(served.box, pack)
    served.box.hold_and_evict(pack)
    status, _, after = await served.get(path + "/metadata")
    assert status == 200
    assert json.loads(after) == json.loads(before)
    assert served.edge.requests == []


def _code(box: Box, pack: str) -> None:
    """Code a pack as edge does, and keep its head."""
    ((patient, study),) = box.catalogue.rows("study_of_pack", pack)
    path = box.layout.cached(pack)
    job = CodeJob(
        pack=pack,
        pack_path=str(path),
        target_dir=str(box.layout.edge / "coded"),
        part_bytes=1 << 20,
        study=json.loads(patient) | json.loads(study),
        series=[json.loads(attributes) for attributes, _ in box.catalogue.rows("series_of_pack", pack)],
        members=[_row(row) for row in box.catalogue.rows("members_of_pack", pack)],
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    coder.code(job)
    target = box.layout.head(pack)
    target.parent.mkdir(parents=True)
    (box.layout.edge / "coded" / "000000").rename(target)
    box.catalogue.mark_coded(PackId(pack), 0.0, 1, "{}", 1)


def _row(row: tuple[Any, ...]) -> MemberRow:
    names = [field for field in MemberRow.__struct_fields__ if field not in {"attributes", "fault"}]
    return MemberRow(**dict(zip(names, row[:9], strict=True)), attributes=json.loads(row[9]))


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    long = vr in {b"SQ", b"OB", b"UT", b"UN"}
    return (
        struct.pack("<HH2s" + ("HL" if long else "H"), tag >> 16, tag & 0xFFFF, vr, *((0, len(value)) if long else (len(value),))) + value
    )


def test_a_value_that_cannot_be_decoded_is_left_out_and_the_rest_is_shown() -> None:
    data = b"".join(
        (
            _element(0x00100010, b"PN", b"One^Two "),
            _element(0x00200013, b"IS", b"abc "),
            _element(0x00280010, b"US", b"\1"),
            _element(0x00281050, b"DS", b"1.5.2 "),
            _element(0x00400275, b"SQ", b"nonsense"),
            _element(0x00404072, b"ST", b"last"),
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metadata(BytesSource(data), EXPLICIT_LE, BULK)
    assert found["00100010"]["Value"] == [{"Alphabetic": "One^Two"}]
    assert found["00404072"]["Value"] == ["last"]


def test_a_dataset_that_is_cut_off_shows_what_came_before() -> None:
    data = dataset_of(sample(CT))
    found = metadata(BytesSource(data[:2000]), EXPLICIT_LE, BULK)
    assert "00100010" in found
    assert "7FE00010" not in found


def test_sequences_that_are_nested_too_deep_are_left_out() -> None:
    nested = b""
    for _ in range(3000):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(nested)) + nested
        nested = _element(0x00400275, b"SQ", item)
    found = metadata(BytesSource(_element(0x00100020, b"LO", b"ID") + nested), EXPLICIT_LE, BULK)
    assert found["00100020"]["Value"] == ["ID"]


def test_a_deflated_bomb_is_inflated_within_its_bound() -> None:
    bomb = b"\xed\xc1\x01\x01" + bytes(1000)
    assert metadata(BytesSource(bomb), "1.2.840.10008.1.2.1.99", BULK) == {}


def test_long_text_is_bulk_data_and_short_text_is_not() -> None:
    data = _element(0x0040A160, b"UT", b"x" * 2000) + _element(0x00420010, b"ST", b"short ")
    found = metadata(BytesSource(data), EXPLICIT_LE, BULK)
    assert found["0040A160"] == {"vr": "UT", "BulkDataURI": f"{BULK}/0040A160"}
    assert found["00420010"]["Value"] == ["short"]
