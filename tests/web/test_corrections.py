"""DICOMweb of corrected studies: metadata of nearline ones too, rewritten ones too, and nothing uncorrected."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO

import pydicom
import pytest

from edge.code.coder import code
from edge.code.jobs import CodeJob
from edge.dataset.part10 import file_meta, read_file_meta
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE
from edge.model import UID, Correction, Identity
from edge.outbox import member_row
from tests.dataset.datasets import CT as CT_CLASS
from tests.dataset.datasets import dataset
from tests.web.box import ANY, CT, CT_STUDY, DEFLATED, IMPLICIT, Web, parts_of, stored

NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Richard"}]}}


def correct(served: Web, path: str) -> None:
    study = UID(path.split("/")[2])
    served.box.catalogue.remember([Correction(study, NAME, 1_700_000_000.0)])


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "syntax"), [(CT, EXPLICIT_LE), (IMPLICIT, IMPLICIT_LE), (DEFLATED, DEFLATED_LE)])
async def test_an_instance_comes_corrected_with_a_file_meta_that_proves_it(served: Web, name: str, syntax: str) -> None:
    data, path = await stored(served, name)
    correct(served, path)
    status, _, body = await served.get(path, f"application/dicom; transfer-syntax={syntax}")
    assert status == 200
    meta = read_file_meta(body)
    assert meta.transfer_syntax == syntax
    assert hashlib.sha256(body[meta.dataset_offset :]).hexdigest() == meta.digest
    read, original = pydicom.dcmread(BytesIO(body)), pydicom.dcmread(BytesIO(data))
    assert str(read.PatientName) == "Roe^Richard"
    assert read.PixelData == original.PixelData
    assert read.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName == original.PatientName


@pytest.mark.asyncio
async def test_one_that_is_rewritten_in_explicit_vr_is_corrected_too(served: Web) -> None:
    data, path = await stored(served, IMPLICIT)
    correct(served, path)
    status, _, body = await served.get(path, "application/dicom")
    assert status == 200
    read = pydicom.dcmread(BytesIO(body))
    assert read.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert str(read.PatientName) == "Roe^Richard"
    assert read.PixelData == pydicom.dcmread(BytesIO(data)).PixelData


@pytest.mark.asyncio
async def test_the_metadata_of_a_nearline_study_is_corrected_from_its_head(served: Web) -> None:
    _, path = await stored(served, CT)
    before = json.loads((await served.get(f"{path}/metadata"))[2])
    correct(served, path)
    here = json.loads((await served.get(f"{path}/metadata"))[2])
    (pack,) = served.box.close_packs()
    rows = served.box.catalogue.rows("members_of_pack", pack)
    state = served.box.catalogue.pack(pack)
    assert state is not None
    target = served.box.layout.outbox / pack
    target.parent.mkdir(exist_ok=True)
    members = [member_row(row) for row in rows]
    pack_path = str(served.box.layout.cached(pack))
    code(
        CodeJob(
            pack=pack,
            pack_path=pack_path,
            target_dir=str(target),
            part_bytes=1 << 20,
            sha256=str(state.sha256),
            study={},
            series=[],
            members=members,
        )
    )
    head = served.box.layout.head(pack)
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_bytes((target / "000000").read_bytes())
    served.box.hold_and_evict(pack)
    away = json.loads((await served.get(f"{path}/metadata"))[2])
    assert away == here
    assert away[0]["00100010"]["Value"] == [{"Alphabetic": "Roe^Richard"}]
    assert away[0]["04000561"]["Value"][0]["04000550"]["Value"][0]["00100010"] == before[0]["00100010"]


@pytest.mark.asyncio
async def test_what_cannot_be_corrected_is_left_out_and_the_rest_is_sent(served: Web) -> None:
    _, path = await stored(served, CT)
    whole = dataset(study=CT_STUDY, series="1.2.3.9", instance="1.2.3.9.1")
    cut_off = whole[: whole.index(b"\x20\x00\x11\x00")] + b"\x20\x00\x11\x00??"
    identity = Identity(UID(CT_CLASS), UID("1.2.3.9.1"), UID("1.2.3.9"), UID(CT_STUDY))
    assert served.box.take(file_meta(identity, UID(EXPLICIT_LE), "TEST", None) + cut_off) == "stored"
    study = path.partition("/series/")[0]
    correct(served, path)
    _, headers, body = await served.get(study, ANY)
    assert [pydicom.dcmread(BytesIO(content)).SOPInstanceUID for _, content in parts_of(headers, body)] == [path.rpartition("/")[2]]
    assert len(json.loads((await served.get(f"{study}/metadata"))[2])) == 1
