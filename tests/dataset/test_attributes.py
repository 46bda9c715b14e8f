"""edge.dataset.attributes: who an instance is, and what the catalogue holds of it, from whatever arrives."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from edge.dataset.attributes import HEAD_CAP, ITEMS_CAP, VALUE_CAP, describe, identify, json_element
from edge.dataset.charset import CharacterSet
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, UNDEFINED, Malformed
from edge.model import Identity
from tests.dataset.datasets import CT, dataset, deflate, element, sequence

SYNTAXES = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE]
IDENTITY = Identity(CT, "1.2.3.1.1", "1.2.3.1", "1.2.3")  # type: ignore[arg-type]
UIDS = {"class": 0x00080016, "instance": 0x00080018, "study": 0x0020000D, "series": 0x0020000E}


def described(more: dict[int, tuple[str, bytes | str]]) -> dict[str, Any]:
    data = dataset(more=more)
    found = describe(data, EXPLICIT_LE, len(data))
    assert found.fault is None
    return found.patient | found.study | found.series | found.instance


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_instance_is_identified_as_soon_as_its_four_uids_are_there(syntax: str) -> None:
    data = dataset(syntax=syntax, pixels=bytes(5000))
    outcomes = [identify(data[:cut], syntax) for cut in range(0, len(data), 1 if syntax != DEFLATED_LE else 7)]
    first = outcomes.index(IDENTITY)
    assert set(outcomes[:first]) == {None}
    assert set(outcomes[first:]) == {IDENTITY}
    assert identify(memoryview(data), syntax) == IDENTITY


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_dataset_cut_at_any_byte_is_described_as_far_as_it_goes(syntax: str) -> None:
    data = dataset(syntax=syntax, more={0x00081111: ("SQ", b"")})
    whole = describe(data, syntax, len(data))
    assert (whole.fault, whole.complete) == (None, True)
    for cut in range(len(data)):
        arrived = describe(data[:cut], syntax, len(data))
        assert not arrived.complete or arrived.instance == whole.instance
        ended = describe(data[:cut], syntax, cut)
        assert ended.complete
        assert ended.patient.items() <= whole.patient.items()
        assert ended.instance.items() <= whole.instance.items()


def test_attributes_behind_a_head_that_ends_between_two_elements_are_still_to_come() -> None:
    data = dataset()
    end = data.index(b"\x20\x00\x11\x00")
    assert identify(data[:end], EXPLICIT_LE) == IDENTITY
    found = describe(data[:end], EXPLICIT_LE, len(data))
    assert not found.complete
    assert "00200013" not in found.instance


@pytest.mark.parametrize("which", UIDS)
@pytest.mark.parametrize("value", ["", ".", "..", "1..2", "1.", "../../etc/passwd", "1.2/3", "1\\2", "1" * 65, "1.2.a", "\xb2"])
def test_what_is_no_uid_identifies_nothing(which: str, value: str) -> None:
    with pytest.raises(Malformed, match="holds no UID"):
        identify(dataset(more={UIDS[which]: ("UI", value)}), EXPLICIT_LE)


@pytest.mark.parametrize("value", [b"1.2.3.1.1\0", b"1.2.3.1.1 ", b"1.2.3.1.1\0\0\0"])
def test_padding_is_no_part_of_a_uid(value: bytes) -> None:
    assert identify(dataset(more={0x00080018: ("UI", value)}), EXPLICIT_LE) == IDENTITY


@pytest.mark.parametrize("which", UIDS)
def test_a_missing_uid_is_missed_as_soon_as_its_place_is_passed(which: str) -> None:
    data = dataset()
    mark = element(UIDS[which], "UI", "")[:6]
    begin = data.index(mark)
    end = begin + 8 + int.from_bytes(data[begin + 6 : begin + 8], "little")
    with pytest.raises(Malformed, match="missing"):
        identify(data[:begin] + data[end:], EXPLICIT_LE)


def test_elements_in_the_wrong_order_are_not_identified_and_never_a_foreign_error() -> None:
    data = element(0x7FE00010, "OB", b"pixels") + dataset()
    with pytest.raises(Malformed, match="missing"):
        identify(data, EXPLICIT_LE)
    assert describe(data, EXPLICIT_LE, len(data)).instance == {}


def test_of_two_elements_with_one_tag_the_first_counts() -> None:
    data = element(0x00080018, "UI", "1.9") + dataset()
    identity = identify(data, EXPLICIT_LE)
    assert identity is not None
    assert identity.sop_instance == "1.9"
    assert describe(data, EXPLICIT_LE, len(data)).instance["00080018"]["Value"] == ["1.9"]


def test_uids_inside_sequences_are_not_those_of_the_instance() -> None:
    data = sequence(0x00080006, [element(0x0020000D, "UI", "9.9") + element(0x00080018, "UI", "9.8")]) + dataset()
    assert identify(data, EXPLICIT_LE) == IDENTITY


def test_group_0002_inside_a_dataset_is_passed_over() -> None:
    data = element(0x00020010, "UI", IMPLICIT_LE) + dataset()
    assert identify(data, EXPLICIT_LE) == IDENTITY
    assert describe(data, EXPLICIT_LE, len(data)).fault is None


def test_un_of_undefined_length_before_the_uids_is_passed_over() -> None:
    inner = sequence(0x00091010, [element(0x00080018, "UI", "9.9", IMPLICIT_LE)], IMPLICIT_LE)
    data = dataset(more={0x00080006: ("UN", b"")})
    begin = element(0x00080006, "UN", b"")
    assert data.startswith(begin)
    data = element(0x00080006, "UN", b"", length=UNDEFINED) + inner[8:] + data[len(begin) :]
    assert identify(data, EXPLICIT_LE) == IDENTITY


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (dataset(syntax=IMPLICIT_LE), EXPLICIT_LE),
        (dataset(), DEFLATED_LE),
        (b"\0" * 200, EXPLICIT_LE),
        (b"%PDF-1.7 and so on, at some length", EXPLICIT_LE),
        (dataset(), EXPLICIT_BE),
    ],
    ids=["implicit on explicit", "not deflated", "zeros", "text", "little on big"],
)
def test_what_is_not_what_its_transfer_syntax_says_is_malformed(data: bytes, syntax: str) -> None:
    with pytest.raises(Malformed):
        identify(data, syntax)
    found = describe(data, syntax, len(data))
    assert found.fault
    assert found.patient == found.study == found.series == found.instance == {}


def test_a_dataset_that_does_not_identify_itself_within_its_head_never_does() -> None:
    data = element(0x00080006, "UT", bytes(HEAD_CAP)) + dataset()
    assert identify(data, EXPLICIT_LE) is None


def test_a_fault_further_in_is_flagged_and_the_rest_is_there() -> None:
    data = dataset() + element(0x7FE00012, "OB", b"")
    lying = data[: -len(element(0x7FE00012, "OB", b""))].replace(b"OB\0\0\x06\0\0\0", b"OB\0\0\xff\0\0\0")
    found = describe(lying, EXPLICIT_LE, len(lying))
    assert found.fault == "the dataset ends 249 bytes before its last element does"
    assert found.patient["00100020"]["Value"] == ["P1"]


def test_a_deflate_bomb_costs_a_bounded_head() -> None:
    bomb = deflate(dataset()[:-6] + bytes(256 << 20))
    tracemalloc.start()
    began = time.process_time()
    try:
        assert identify(bomb, DEFLATED_LE) == IDENTITY
        assert describe(bomb, DEFLATED_LE, len(bomb)).patient["00100020"]["Value"] == ["P1"]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5


def test_a_deep_or_endless_sequence_costs_no_recursion() -> None:
    opening = element(0x00080006, "SQ", b"", length=UNDEFINED) + element(0xFFFEE000, "", b"", length=UNDEFINED)
    with pytest.raises(Malformed, match="nested deeper"):
        identify(opening * 5000, EXPLICIT_LE)
    assert "nested deeper" in (describe(opening * 5000, EXPLICIT_LE, 10**6).fault or "")


def test_each_attribute_is_in_the_json_model_of_its_value_representation() -> None:
    found = described(
        {
            0x00080008: ("CS", "ORIGINAL\\PRIMARY\\\\AXIAL "),
            0x00100010: ("PN", "Doe^Jane^^=X^Y=\\Roe "),
            0x00101030: ("DS", "70.50 "),
            0x00200011: ("IS", "-7 "),
            0x00280008: ("IS", "1_0"),
            0x00280010: ("US", b"\x00\x02"),
            0x00104000: ("LT", "one\\two\r\nthree"),
            0x00080050: ("SH", ""),
            0x00080090: ("PN", "^^^"),
        }
    )
    assert found["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", None, "AXIAL"]}
    assert found["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "X^Y"}, {"Alphabetic": "Roe"}],
    }
    assert found["00101030"] == {"vr": "DS", "Value": ["70.50"]}
    assert found["00200011"] == {"vr": "IS", "Value": [-7]}
    assert found["00280008"] == {"vr": "IS", "Value": ["1_0"]}
    assert found["00280010"] == {"vr": "US", "Value": [512]}
    assert found["00104000"] == {"vr": "LT", "Value": ["one\\two\r\nthree"]}
    assert found["00080050"] == {"vr": "SH"}
    assert found["00080090"] == {"vr": "PN"}


def test_us_is_read_in_the_byte_order_of_the_dataset() -> None:
    data = dataset(syntax=EXPLICIT_BE, more={0x00280010: ("US", b"\x02\x00")})
    assert describe(data, EXPLICIT_BE, len(data)).instance["00280010"] == {"vr": "US", "Value": [512]}


def test_a_value_over_the_cap_is_not_catalogued_and_control_characters_never_are() -> None:
    found = described(
        {0x00081030: ("LO", "x" * (VALUE_CAP + 2)), 0x00100020: ("LO", "A\x1b\x07\x7fB"), 0x00080050: ("SH", "y" * VALUE_CAP)}
    )
    assert "00081030" not in found
    assert found["00080050"]["Value"] == ["y" * VALUE_CAP]
    assert not any(ord(character) < 32 or ord(character) == 127 for character in found["00100020"]["Value"][0])


@pytest.mark.parametrize(
    "term", [b"", b"ISO_IR 999", b"ISO-IR 192", b"\xff\xfe", b"..\\..", b"\\ISO 2022 IR 87", b"ISO_IR 192\\GB18030", b"ascii"]
)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe\x80", b"\x1b", b"\x1b$", b"\x1b$B", b"\x1b$B\xff\xff", b"\x1b$)C\xb1", b"\x1b-Fx^\xe4", bytes(range(256))]
)
def test_neither_a_bogus_character_set_nor_invalid_bytes_raise(term: bytes, value: bytes) -> None:
    data = dataset(more={0x00080005: ("CS", term), 0x00100010: ("PN", value), 0x00081030: ("LO", value)})
    found = describe(data, EXPLICIT_LE, len(data))
    assert found.fault is None
    json.dumps([found.patient, found.study]).encode("utf-8")


@pytest.mark.parametrize("vr", ["PN", "LO", "LT", "IS", "US", "DS", "UI", "DA"])
def test_any_bytes_make_an_element(vr: str) -> None:
    for value in (b"", b"\0", b"\\", b"\\\\\\", b"=", b"^^=^=", b"\xff" * 7, b"9" * 1023):
        assert json_element(vr, value, CharacterSet())["vr"] == vr


@pytest.mark.parametrize("uid", ["1.2\0.3", "1.2\n.3", " 1.2", "1.2\\1.3", "1.2\x1b"])
def test_a_uid_is_taken_from_the_bytes_as_they_are_and_never_from_cleaned_text(uid: str) -> None:
    assert describe(dataset(study=uid), EXPLICIT_LE, None).identity is None
    with pytest.raises(Malformed):
        identify(dataset(study=uid), EXPLICIT_LE)


CODES = {0x00080100: ("SH", "T-D3000"), 0x00080102: ("SH", "SRT"), 0x00080104: ("LO", "Chest"), 0x00080106: ("UI", "1.2")}


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("defined", [True, False], ids=["items of defined length", "items of undefined length"])
def test_items_of_a_sequence_of_interest_are_described_in_every_encoding(syntax: str, defined: bool) -> None:
    nested = sequence(0x00080110, [element(0x00080100, "SH", "other", syntax)], syntax)
    item = b"".join(element(tag, vr, value, syntax) for tag, (vr, value) in CODES.items()) + nested
    inner = sequence(0x00081032, [item, b""], syntax, defined_items=defined)
    data = dataset(syntax=syntax)
    before = element(0x00081030, "LO", "GENERATED", syntax)
    place = data.index(before) + len(before)
    found = describe(data[:place] + inner + data[place:], syntax, len(data) + len(inner))
    assert found.fault is None
    expected = {f"{tag:08X}": {"vr": vr, "Value": [value]} for tag, (vr, value) in CODES.items() if tag != 0x00080106}
    assert found.study["00081032"] == {"vr": "SQ", "Value": [expected, {}]}


def test_a_sequence_that_breaks_off_is_described_as_far_as_it_holds() -> None:
    item = element(0xFFFEE000, "", element(0x00080100, "SH", "T-D3000"))
    for broken in (b"\xfe\xff\x00\xe0", element(0x00080100, "SH", "x"), element(0xFFFEE000, "", b"\0\0", length=999)):
        found = describe(dataset(more={0x00081032: ("SQ", item + broken)}), EXPLICIT_LE, None)
        assert found.study["00081032"]["Value"] == [{"00080100": {"vr": "SH", "Value": ["T-D3000"]}}]


def test_a_sequence_over_the_cap_is_not_described() -> None:
    item = element(0xFFFEE000, "", element(0x00080100, "SH", "x"))
    many = describe(dataset(more={0x00081032: ("SQ", item * 100)}), EXPLICIT_LE, None)
    assert len(many.study["00081032"]["Value"]) == ITEMS_CAP
    huge = describe(dataset(more={0x00081032: ("SQ", item * 2000)}), EXPLICIT_LE, None)
    assert "00081032" not in huge.study
