"""edge.dataset.walk: where elements lie, whatever the lengths in the dataset claim."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, UNDEFINED, Malformed, Truncated, inflate, walk
from tests.dataset.datasets import ITEM, ITEM_END, SEQUENCE_END, dataset, deflate, element, sequence

SYNTAXES = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE]


def tags(data: bytes, syntax: str = EXPLICIT_LE) -> list[int]:
    return [one.tag for one in walk(data, syntax)]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_elements_follow_each_other_without_a_gap(syntax: str) -> None:
    data = dataset(syntax=syntax, more={0x00081111: ("SQ", b""), 0x00091001: ("UN", b"abc"), 0x00080008: ("CS", "")})
    found = list(walk(data, syntax))
    assert found[0].offset == 0
    assert found[-1].end == len(data)
    assert [one.end for one in found[:-1]] == [one.offset for one in found[1:]]
    assert {one.vr for one in found} == ({""} if syntax == IMPLICIT_LE else {"UI", "CS", "DA", "TM", "LO", "SQ", "UN", "PN", "IS", "OB"})


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("defined", [False, True])
def test_a_sequence_of_undefined_length_is_passed_over_as_one_element(syntax: str, defined: bool) -> None:
    inner = sequence(0x00081115, [element(0x00080050, "SH", "x", syntax)], syntax)
    data = sequence(0x00081111, [inner, b"", inner + inner], syntax, defined_items=defined) + element(0x00100020, "LO", "P", syntax)
    assert tags(data, syntax) == [0x00081111, 0x00100020]


@pytest.mark.parametrize("code", ["DA", "TM", "DS", "LT", "UN", "OB", "SQ"])
def test_an_item_whose_length_looks_like_a_value_representation_is_an_item(code: str) -> None:
    length = int.from_bytes(code.encode(), "little") & ~1
    for size in {length, length + 0x10000}:
        body = element(0x00090010, "OB", bytes(size - 12))
        data = sequence(0x00081111, [body], defined_items=True) + element(0x00100020, "LO", "P")
        assert tags(data) == [0x00081111, 0x00100020]


def test_encapsulated_pixel_data_ends_at_its_delimiter() -> None:
    data = element(0x7FE00010, "OB", b"", length=UNDEFINED) + element(ITEM, "", b"") + element(ITEM, "", b"\xff" * 500)
    data += element(SEQUENCE_END, "", b"")
    after = element(0xFFFCFFFC, "OB", bytes(8))
    first, second = walk(data + after, EXPLICIT_LE)
    assert (first.length, first.end, second.offset) == (UNDEFINED, len(data), len(data))


def test_un_of_undefined_length_holds_an_implicit_sequence() -> None:
    inner = sequence(0x00081115, [element(0x00080050, "SH", "x", IMPLICIT_LE)], IMPLICIT_LE)
    data = element(0x00091010, "UN", b"", length=UNDEFINED) + element(ITEM, "", b"", length=UNDEFINED) + inner
    data += element(ITEM_END, "", b"") + element(SEQUENCE_END, "", b"") + element(0x00100020, "LO", "P")
    assert tags(data) == [0x00091010, 0x00100020]
    nested = sequence(0x00081111, [data])
    assert tags(nested + element(0x00100020, "LO", "P")) == [0x00081111, 0x00100020]


@pytest.mark.parametrize("length", [1, 7, 0xFFFE, 0xFFFFFFFE, 0x7FFFFFFF])
def test_a_length_that_lies_is_truncated_after_the_element_was_named(length: int) -> None:
    data = element(0x00080016, "UI", "1.2") + element(0x7FE00010, "OB", b"", length=length)
    found = []
    with pytest.raises(Truncated, match="needs"):
        for one in walk(data, EXPLICIT_LE):
            found.append(one)  # noqa: PERF402 - what came before the error is what is looked at
    assert [one.tag for one in found] == [0x00080016, 0x7FE00010]
    assert found[1].end == found[1].value + length > len(data)


def test_an_odd_length_is_taken_at_its_word() -> None:
    data = struct.pack("<HH2sH", 0x0008, 0x0050, b"SH", 3) + b"abc" + element(0x00100020, "LO", "P")
    assert tags(data) == [0x00080050, 0x00100020]


def nested(depth: int, syntax: str) -> bytes:
    opening = element(0x00081111, "SQ", b"", syntax, UNDEFINED) + element(ITEM, "", b"", syntax, UNDEFINED)
    closing = element(ITEM_END, "", b"", syntax) + element(SEQUENCE_END, "", b"", syntax)
    return opening * depth + closing * depth


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_depth_is_capped(syntax: str) -> None:
    assert tags(nested(32, syntax), syntax) == [0x00081111]
    for depth in (33, 5000):
        with pytest.raises(Malformed, match="nested deeper"):
            tags(nested(depth, syntax), syntax)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (element(ITEM, "", b""), "outside a sequence"),
        (element(SEQUENCE_END, "", b""), "outside a sequence"),
        (element(0x00080050, "XX", "x"), "no value representation"),
        (element(0x00080050, "SH", "x", IMPLICIT_LE), "no value representation"),
        (element(0x00080050, "UT", b"", length=UNDEFINED) + element(SEQUENCE_END, "", b""), "undefined length"),
        (element(0x00081111, "SQ", b"", length=UNDEFINED) + element(0x00080050, "SH", "x"), "where an item belongs"),
        (element(0x00081111, "SQ", b"", length=UNDEFINED) + element(ITEM_END, "", b""), "where an item belongs"),
        (bytes(64), "no value representation"),
    ],
    ids=["item", "delimiter", "vr", "implicit on explicit", "undefined UT", "no item", "wrong delimiter", "zeros"],
)
def test_what_breaks_the_encoding_rules_is_malformed(data: bytes, fault: str) -> None:
    with pytest.raises(Malformed, match=fault) as caught:
        tags(element(0x00080016, "UI", "1.2") + data)
    assert not isinstance(caught.value, Truncated)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_dataset_cut_at_any_byte_is_truncated_or_ends_there(syntax: str) -> None:
    more = {0x00081111: ("SQ", b"")}
    data = dataset(syntax=syntax, more=more)
    data = sequence(0x00080006, [element(0x00080050, "SH", "x", syntax)], syntax) + data
    ends = {one.end for one in walk(data, syntax)} | {0}
    for cut in range(len(data)):
        if cut in ends:
            assert len(tags(data[:cut], syntax)) < len(tags(data, syntax))
        else:
            with pytest.raises(Truncated):
                tags(data[:cut], syntax)


def test_a_hundred_thousand_tiny_elements_are_walked() -> None:
    data = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0) * 100_000
    assert len(tags(data)) == 100_000
    assert tags(sequence(0x00081111, [data])) == [0x00081111]


def test_a_deflate_bomb_is_inflated_within_its_bound() -> None:
    bomb = deflate(bytes(128 << 20))
    assert len(bomb) < 150_000
    tracemalloc.start()
    try:
        assert inflate(bomb, 1 << 20) == bytes(1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_head_of_a_deflate_stream_inflates_and_what_is_none_is_malformed() -> None:
    data = dataset(pixels=bytes(range(256)) * 64)
    packed = deflate(data)
    assert inflate(packed, 1 << 20) == data
    assert data.startswith(inflate(packed[: len(packed) // 2], 1 << 20))
    assert inflate(packed + b"\0", 1 << 20) == data
    for foreign in (data, b"\x78\x9c" + packed):
        with pytest.raises(Malformed, match="no deflate stream"):
            inflate(foreign, 1 << 20)
