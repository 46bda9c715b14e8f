"""edge.dataset.patch: a correction in the bytes of a dataset, in every transfer syntax, with what it replaced beside it."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.filereader import read_dataset

from edge.dataset.part10 import read_file_meta
from edge.dataset.patch import Kept, PatchedSource, Pieces, cut, patch
from edge.dataset.source import BytesSource, elements
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, inflate
from edge.errors import Corrupt
from edge.model import UID, Correction, Json
from tests.dataset.datasets import dataset, element, sequence

SYNTAXES = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, "1.2.840.10008.1.2.4.50"]
NAME: Json = {"vr": "PN", "Value": [{"Alphabetic": "Roe^Richard"}]}
ID: Json = {"vr": "LO", "Value": ["P2"]}
ISSUER: Json = {"vr": "LO", "Value": ["CLINIC"]}


def correction(**attributes: Json) -> Correction:
    return Correction(UID("1.2.3"), {tag.removeprefix("x"): value for tag, value in attributes.items()}, 1_700_000_000.0)


RIGHT = correction(x00100010=NAME, x00100020=ID, x00100021=ISSUER)


def joined(stored: bytes, pieces: Pieces) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else stored[piece.offset :][: piece.length] for piece in pieces)


def patched(stored: bytes, syntax: str = EXPLICIT_LE, right: Correction = RIGHT) -> pydicom.Dataset:
    """The corrected dataset as pydicom reads it; each element in its place."""
    data = joined(stored, patch(BytesSource(stored), syntax, right))
    plain, syntax = (inflate(data, 1 << 24), EXPLICIT_LE) if syntax == DEFLATED_LE else (data, syntax)
    tags = [one.tag for one in elements(BytesSource(plain), syntax)]
    assert tags == sorted(set(tags))
    assert len(data) % 2 == 0
    return read_dataset(BytesIO(plain), syntax == IMPLICIT_LE, syntax != EXPLICIT_BE)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_right_replaces_what_was_sent_and_the_old_values_stand_beside_it(syntax: str) -> None:
    pixels = os.urandom(1000)
    found = patched(dataset(syntax=syntax, pixels=pixels), syntax)
    assert (str(found.PatientName), found.PatientID, found.IssuerOfPatientID) == ("Roe^Richard", "P2", "CLINIC")
    assert (found.SOPInstanceUID, found.StudyDescription, found[0x7FE00010].value) == ("1.2.3.1.1", "GENERATED", pixels)
    (item,) = found.OriginalAttributesSequence
    assert (item.ReasonForTheAttributeModification, item.ModifyingSystem) == ("CORRECT", "OUTPOST")
    assert item.AttributeModificationDateTime == "20231114221320+0000"
    assert item.SourceOfPreviousValues == ""
    (before,) = item.ModifiedAttributesSequence
    assert (str(before.PatientName), before.PatientID) == ("Doe^Jane", "P1")
    assert "IssuerOfPatientID" in before
    assert not before.IssuerOfPatientID


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm", "reportsi.dcm"]
)
def test_a_real_instance_differs_in_nothing_else(name: str) -> None:
    path = get_testdata_file(name)
    assert path is not None
    data = Path(str(path)).read_bytes()
    meta = read_file_meta(data)
    stored = data[meta.dataset_offset :]
    before = pydicom.dcmread(BytesIO(data))
    after = patched(stored, meta.transfer_syntax)
    changed = {0x00100010, 0x00100020, 0x00100021, 0x04000561}
    assert {one.tag for one in after} - changed == {one.tag for one in before if one.tag.element} - changed
    assert all(
        after[one.tag] == one for one in before if one.tag not in changed and one.tag.element and one.tag.group not in {0x0010, 0x0400}
    )


def test_pixels_are_neither_copied_nor_read() -> None:
    class Watched(BytesSource):
        furthest = 0

        def read(self, offset: int, count: int) -> memoryview:
            self.furthest = max(self.furthest, offset)
            return super().read(offset, count)

    source = Watched(dataset(pixels=bytes(10_000_000)))
    pieces = patch(source, EXPLICIT_LE, RIGHT)
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) < 1000
    assert pieces[-1] == Kept(pieces[-1].offset, source.length - pieces[-1].offset)  # type: ignore[union-attr]
    assert source.furthest < 1000


def test_a_second_correction_is_a_second_item(tmp_path: Path) -> None:
    for defined in (False, True):
        items = [element(0x04000563, "LO", "PACS"), element(0x04000565, "CS", "COERCE")]
        body = b"".join(element(0xFFFEE000, "", item) for item in items)
        stored = dataset(more={0x04000561: ("SQ", body)}) if defined else _with(sequence(0x04000561, items))
        assert [item.get("ReasonForTheAttributeModification", "") for item in patched(stored).OriginalAttributesSequence] == [
            "",
            "COERCE",
            "CORRECT",
        ]


def test_a_sequence_that_came_as_unknown_holds_implicit_items() -> None:
    inside = element(0xFFFEE000, "", element(0x04000565, "CS", "COERCE", IMPLICIT_LE))
    stored = dataset(more={0x04000561: ("UN", inside)})
    found = patched(stored)[0x04000561]
    assert [item.ReasonForTheAttributeModification for item in found.value] == ["COERCE", "CORRECT"]


def test_group_lengths_that_would_be_wrong_are_left_out() -> None:
    stored = dataset(more={0x00080000: ("UL", b"\x10\0\0\0"), 0x00100000: ("UL", b"\x20\0\0\0")})
    found = patched(stored)
    assert 0x00080000 in found
    assert 0x00100000 not in found


@pytest.mark.parametrize(
    ("terms", "name", "expected"),
    [
        (None, "Roe^Richard", None),
        (None, "Müller^Jörg", "ISO_IR 192"),
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
        ("ISO_IR 100", "Иванов^Иван", "ISO_IR 192"),
        ("ISO_IR 192", "山田^太郎", "ISO_IR 192"),
        ("\\ISO 2022 IR 87", "山田^太郎", ["", "ISO 2022 IR 87"]),
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
def test_the_character_set_changes_only_where_it_must_and_then_for_every_text(
    terms: str | None, name: str, expected: object, syntax: str
) -> None:
    latin = "Prüfung" if terms == "ISO_IR 100" else "Test"
    inner = element(0x00080104, "LO", latin, syntax)
    more = {0x00081030: ("LO", latin), 0x00401001: ("SH", latin)} | ({0x00080005: ("CS", terms)} if terms else {})
    stored = dataset(more=more, syntax=syntax)
    place = next(one.offset for one in elements(BytesSource(stored), syntax) if one.tag > 0x00081032)
    stored = stored[:place] + sequence(0x00081032, [inner], syntax) + stored[place:]
    right = correction(x00100010={"vr": "PN", "Value": [{"Alphabetic": name}]})
    found = patched(stored, syntax, right)
    assert found.get("SpecificCharacterSet") == expected
    found.decode()
    assert str(found.PatientName) == name
    assert (found.StudyDescription, found.RequestedProcedureID) == (latin, latin)
    assert found.ProcedureCodeSequence[0].CodeMeaning == latin
    assert str(found.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName) == "Doe^Jane"


def test_what_is_right_already_is_left_as_it_is() -> None:
    right = correction(x00100010={"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]})
    stored = dataset()
    assert patch(BytesSource(stored), EXPLICIT_LE, right) == (Kept(0, len(stored)),)


def test_a_dataset_that_cannot_be_read_so_far_is_not_sent_uncorrected() -> None:
    stored = dataset()
    broken = stored[: stored.index(b"Doe^Jane")]
    with pytest.raises(Corrupt):
        patch(BytesSource(broken), EXPLICIT_LE, RIGHT)


def test_what_is_broken_further_in_stays_as_it_is() -> None:
    stored = dataset() + b"garbage!"
    assert joined(stored, patch(BytesSource(stored), EXPLICIT_LE, RIGHT)).endswith(b"pixelsgarbage!")


def test_any_stretch_of_it_can_be_read() -> None:
    stored = dataset(pixels=os.urandom(500))
    pieces = patch(BytesSource(stored), EXPLICIT_LE, RIGHT)
    whole = joined(stored, pieces)
    source = PatchedSource(BytesSource(stored), pieces)
    assert source.length == len(whole)
    for begin in range(0, len(whole), 7):
        for count in (1, 13, 400, 5000):
            assert bytes(source.read(begin, count)) == whole[begin : begin + count]
            assert joined(stored, tuple(cut(pieces, begin, count))) == whole[begin : begin + count]


def _with(extra: bytes) -> bytes:
    """A dataset with an element before its Pixel Data."""
    stored = dataset()
    place = next(one.offset for one in elements(BytesSource(stored), EXPLICIT_LE) if one.tag == 0x7FE00010)
    return stored[:place] + extra + stored[place:]
