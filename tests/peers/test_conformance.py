"""docs/conformance.md says what the code does: its tables are compared with the code, and with what the tests beside this one prove."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description
from pydicom.uid import UID

from edge.config import Dicom
from edge.dataset import part10
from edge.dataset.attributes import INTEREST, SEQUENCES, SPECIFIC_CHARACTER_SET
from edge.dimse import associate, negotiation, status
from edge.dimse.negotiation import Rejection
from tests.peers.real import chosen
from tests.peers.test_interop import ROWS

PAGE = (Path(__file__).parents[2] / "docs/conformance.md").read_text()
SHORT = {
    "1.2.840.10008.1.2": "Implicit VR LE",
    "1.2.840.10008.1.2.1": "Explicit VR LE",
    "1.2.840.10008.1.2.2": "Explicit VR BE",
    "1.2.840.10008.1.2.1.99": "Deflated",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}


def table(header: str) -> list[str]:
    """The rows of the table with this header, without it."""
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()
    return lines[2:]


def test_every_row_of_what_was_tried_is_proven_by_a_test() -> None:
    assert table("| peer | service of Outpost | seen |") == [f"| {peer} | {service} | {seen} |" for peer, service, seen in ROWS]


def test_the_kinds_that_were_tried_are_those_of_which_there_are_files() -> None:
    kinds: dict[str, list[str]] = {}
    for sop_class, syntax in sorted(chosen()):
        kinds.setdefault(sop_class, []).append(SHORT[syntax])
    rows = {row.split(" | ")[1]: row.split(" | ")[2].rstrip(" |").split(", ") for row in table("| SOP class | UID | transfer syntaxes |")}
    assert {uid: sorted(names) for uid, names in rows.items()} == {uid: sorted(names) for uid, names in kinds.items()}
    assert all(UID(uid).name in PAGE for uid in kinds)


def test_every_attribute_of_interest_is_named() -> None:
    for tag in {*INTEREST, *SEQUENCES} - {SPECIFIC_CHARACTER_SET}:
        assert f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})" in PAGE


def test_every_status_is_named() -> None:
    codes = {value for name, value in vars(status).items() if name.isupper() and isinstance(value, int)}
    assert {f"{code:04X}" for code in codes} <= set(re.findall(r"\b[0-9A-F]{4}\b", PAGE))


def test_every_rejection_is_named() -> None:
    known = {value for value in vars(negotiation).values() if isinstance(value, Rejection)}
    rows = {row.split(" | ")[0].strip("| ") for row in table("| rejected with (result, source, reason) | when |")}
    assert rows == {f"{one.result}, {one.source}, {one.reason}" for one in known}


@pytest.mark.parametrize(
    "said",
    [
        f"{associate.IMPLEMENTATION_CLASS}, {associate.IMPLEMENTATION_VERSION} |",
        f"{part10.IMPLEMENTATION_CLASS_UID}, {part10.IMPLEMENTATION_VERSION} |",
        f"| {associate.APPLICATION_CONTEXT} |",
        f"{Dicom().max_pdu_bytes} bytes; by peer",
        f"| {Dicom().max_associations}, and {Dicom().max_associations_per_address} from one address",
        f"Port {Dicom().port},",
        f"{Dicom().request_seconds:.0f} s from the transport connection",
        f"{Dicom().pdu_seconds:.0f} s without a byte",
        f"{Dicom().idle_seconds:.0f} s between messages",
        f"at most {negotiation.MAX_OUTSTANDING} outstanding",
        f"at most {negotiation.MAX_CONTEXTS}.",
    ],
)
def test_what_can_be_counted_is_as_in_the_code(said: str) -> None:
    assert said in PAGE


def test_every_character_set_that_is_read_is_named() -> None:
    section = PAGE[PAGE.index("## 5.") : PAGE.index("## 6.")]
    numbers = set(re.findall(r"\b\d{1,3}\b", section))
    for term in python_encoding:
        number = re.fullmatch(r"(?:ISO_IR|ISO 2022 IR) (\d+)", term)
        assert number is None or number[1] in numbers, term
