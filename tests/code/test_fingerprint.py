"""edge.code.fingerprint: what a variant says, whatever its encoding, on real instances."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from edge.code.coder import code
from edge.code.fingerprint import fingerprint, fingerprints
from edge.code.jobs import Fingerprint, FingerprintJob, Variant
from edge.dataset.part10 import read_file_meta
from edge.dataset.source import BytesSource
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Malformed, inflate
from tests.code.packs import close_pack, phantom, read_instance
from tests.dataset.datasets import dataset, deflate, element, sequence

CT, MR = "CT_small.dcm", "MR_small.dcm"


def sample(name: str) -> Path:
    found = get_testdata_file(name)
    assert found is not None
    return Path(str(found))


def of_file(data: bytes) -> Fingerprint:
    meta = read_file_meta(data)
    found = fingerprint(BytesSource(data[meta.dataset_offset :]), meta.transfer_syntax)
    assert found is not None
    return found


def rewritten(name: str, change: Callable[[Dataset], object], syntax: str = EXPLICIT_LE) -> bytes:
    """A real instance with a change, written anew by pydicom."""
    read = pydicom.dcmread(sample(name))
    change(read)
    read.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    read.save_as(out, implicit_vr=syntax == IMPLICIT_LE, little_endian=syntax != EXPLICIT_BE)
    return out.getvalue()


def nothing(_: Dataset) -> None:
    pass


def trailing_padding(read: Dataset) -> None:
    read.add_new(0xFFFCFFFC, "OB", bytes(100))


def test_group_lengths_say_nothing() -> None:
    with_lengths = element(0x00080000, "UL", b"\x10\x01\0\0") + dataset()
    assert fingerprint(BytesSource(with_lengths), EXPLICIT_LE) == fingerprint(BytesSource(dataset()), EXPLICIT_LE)


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_another_encoding_of_the_same_pixels_is_the_same_pixels(name: str) -> None:
    assert of_file(sample(name).read_bytes()).pixels == of_file(sample(MR).read_bytes()).pixels


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE])
@pytest.mark.parametrize("change", [nothing, trailing_padding])
@pytest.mark.parametrize("name", [CT, "rtplan.dcm", "reportsi.dcm", "nested_priv_SQ.dcm"])
def test_the_same_dataset_written_anew_says_the_same(name: str, change: Callable[[Dataset], object], syntax: str) -> None:
    before = rewritten(name, nothing)
    assert of_file(rewritten(name, change, syntax)) == of_file(before)
    assert of_file(sample(name).read_bytes()) == of_file(before)


def test_generated_datasets_say_the_same_in_every_syntax() -> None:
    def made(syntax: str, undefined: bool) -> bytes:
        rows = b"\0\1" if syntax == EXPLICIT_BE else b"\1\0"
        inner = element(0x00080104, "LO", "CHEST ", syntax) + element(0x00280010, "US", rows, syntax)
        procedure = sequence(0x00081032, [inner], syntax, defined_items=not undefined)
        return procedure + element(0x00100010, "PN", "Doe", syntax)

    prints = [
        fingerprint(BytesSource(made(syntax, undefined)), syntax)
        for syntax in (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)
        for undefined in (True, False)
    ]
    assert all(one == prints[0] for one in prints)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda read: setattr(read, "PatientName", "Roe^Richard"), {"study"}),
        (lambda read: setattr(read, "AccessionNumber", "A7"), {"study"}),
        (lambda read: setattr(read, "StudyDescription", "Chest"), {"study"}),
        (lambda read: setattr(read, "PatientID", "P2"), {"study", "patient_id"}),
        (lambda read: setattr(read, "PatientBirthDate", "19610203"), {"study", "birth_date"}),
        (lambda read: setattr(read, "SeriesDescription", "Other"), {"rest"}),
        (lambda read: setattr(read, "WindowCenter", "41"), {"rest"}),
        (lambda read: setattr(read, "PixelData", b"\0\1" + read.PixelData[2:]), {"pixels"}),
        (lambda read: read.__delitem__("PixelData"), {"pixels"}),
    ],
)
def test_what_differs_is_told_apart(change: Callable[[Dataset], object], differs: set[str]) -> None:
    before, after = of_file(rewritten(CT, nothing)), of_file(rewritten(CT, change))
    assert {name for name in Fingerprint.__struct_fields__ if getattr(before, name) != getattr(after, name)} == differs


def test_numbers_that_look_like_padding_differ() -> None:
    one, other = (dataset(more={0x00280010: ("US", value)}) for value in (b"\0\x20", b"\x20\0"))
    assert fingerprint(BytesSource(one), EXPLICIT_LE) != fingerprint(BytesSource(other), EXPLICIT_LE)


def test_what_cannot_be_read_is_compared_byte_by_byte() -> None:
    broken = dataset() + b"\x01\x00\x02\x00??"
    assert fingerprint(BytesSource(broken), EXPLICIT_LE) == fingerprint(BytesSource(broken), EXPLICIT_LE)
    assert fingerprint(BytesSource(broken), EXPLICIT_LE) != fingerprint(BytesSource(broken[:-1] + b"!"), EXPLICIT_LE)
    with pytest.raises(Malformed):
        inflate(b"no stream", 100)
    assert fingerprint(BytesSource(b"no stream"), DEFLATED_LE) != fingerprint(BytesSource(deflate(b"")), DEFLATED_LE)


def test_fragments_that_do_not_decode_are_compared_as_they_are() -> None:
    def made(frame: bytes) -> bytes:
        read = pydicom.dcmread(sample("MR_small_RLE.dcm"))
        read.PixelData = encapsulate([frame])
        out = BytesIO()
        read.save_as(out)
        return out.getvalue()

    assert of_file(made(b"no RLE at all!")).pixels.startswith("1.2.840.10008.1.2.5 ")
    assert of_file(made(b"no RLE at all!")) != of_file(made(b"nor is this one"))


@pytest.mark.parametrize(("name", "enough"), [("", True), (CT, True), ("MR_small_RLE.dcm", False)])
def test_the_head_of_a_coded_pack_says_what_the_cached_bytes_say(tmp_path: Path, name: str, enough: bool) -> None:
    real = read_instance(sample(name)) if name else None
    job = close_pack(tmp_path, [real] if real else phantom(2, size=64))
    code(job)
    head = str(Path(job.target_dir) / "000000")
    for row in job.members:
        place = {"dataset_offset": row.dataset_offset, "dataset_length": row.dataset_length, "transfer_syntax": row.transfer_syntax}
        variants = [Variant(path=job.pack_path, **place), Variant(path="", head_path=head, **place)]  # type: ignore[arg-type]
        here, away = fingerprints(FingerprintJob(pack=job.pack, variants=variants))
        assert here is not None
        assert away == (here if enough else None)
