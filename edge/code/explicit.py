"""From Implicit VR Little Endian, and from Explicit VR Big Endian, to Explicit VR Little Endian (PS3.5 section 7), element by element."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edge.dataset.vr import LONG, WORDS, turned, vr_of
from edge.dataset.walk import EXPLICIT_BE, IMPLICIT_LE, UNDEFINED, Element, Malformed, walk

_DEPTH_CAP = 32


class _Marks(NamedTuple):
    """What parts items, in one byte order."""

    order: str
    item: bytes
    item_end: bytes
    sequence_end: bytes


_LITTLE, _BIG = (
    _Marks(order, struct.pack(order + "HH", 0xFFFE, 0xE000), *(struct.pack(order + "HHL", 0xFFFE, end, 0) for end in (0xE00D, 0xE0DD)))
    for order in "<>"
)


def explicit(data: memoryview, transfer_syntax: str, signed: bool) -> bytes:
    """The elements in `data`, which are in Implicit VR Little Endian or Explicit VR Big Endian, as Explicit VR Little Endian has them.

    Where no value representation arrived, the dictionary's is taken, and `signed` decides where it says US or SS; unknown and private
    elements become UN (PS3.5 section 6.2.2). Words that arrived big-endian are turned round. Sequences and items get undefined lengths;
    group lengths, which would be wrong, are left out. Raises Malformed when a sequence cannot be read, and for another transfer syntax.
    """
    if transfer_syntax not in {IMPLICIT_LE, EXPLICIT_BE}:
        raise Malformed(f"{transfer_syntax} is not rewritten")
    converted, _ = _dataset(data, transfer_syntax, signed, delimited=False, depth=0)
    return converted


def element_header(tag: int, vr: str, length: int) -> bytes:
    """An element's header under Explicit VR Little Endian. ValueError when the length does not fit the VR."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in LONG:
        return struct.pack("<HH2sHL", group, element, vr.encode(), 0, length)
    if length > 0xFFFF:
        raise ValueError(f"a {vr} of {length} bytes")
    return struct.pack("<HH2sH", group, element, vr.encode(), length)


def _dataset(data: memoryview, syntax: str, signed: bool, delimited: bool, depth: int) -> tuple[bytes, int]:
    """The converted elements, and how many bytes of `data` they took, the item's delimiter included."""
    end = _marks(syntax).item_end
    if delimited and data[:8] == end:
        return b"", 8
    out = bytearray()
    position = 0
    for found in walk(data, syntax):
        position = found.end
        if found.tag & 0xFFFF:
            out += _element(found, data[found.value : found.end], syntax, signed, depth)
        if delimited and data[position : position + 8] == end:
            return bytes(out), position + 8
    if delimited:
        raise Malformed("an item without its delimiter")
    return bytes(out), position


def _element(found: Element, value: memoryview, syntax: str, signed: bool, depth: int) -> bytes:
    big = syntax == EXPLICIT_BE
    vr = found.vr or vr_of(found.tag, signed)
    if vr == "SQ":
        return element_header(found.tag, "SQ", UNDEFINED) + _items(value, syntax, signed, depth + 1) + _LITTLE.sequence_end
    if found.length == UNDEFINED:
        if big:  # in which byte order the sequence in it would be, PS3.5 does not say
            raise Malformed(f"a {vr} of undefined length under Explicit VR Big Endian")
        return element_header(found.tag, "UN", UNDEFINED) + value
    fits = vr in LONG or found.length <= 0xFFFF
    return element_header(found.tag, vr if fits else "UN", found.length) + turned(bytes(value), WORDS.get(vr, 1) if big else 1)


def _items(value: memoryview, syntax: str, signed: bool, depth: int) -> bytes:
    if depth > _DEPTH_CAP:
        raise Malformed(f"sequences are nested deeper than {_DEPTH_CAP}")
    marks = _marks(syntax)
    out = bytearray()
    position = 0
    while position < len(value) and value[position : position + 8] != marks.sequence_end:
        if value[position : position + 4] != marks.item or position + 8 > len(value):
            raise Malformed("a sequence of something other than items")
        (length,) = struct.unpack_from(marks.order + "L", value, position + 4)
        position += 8
        inner = value[position:] if length == UNDEFINED else value[position : position + length]
        converted, used = _dataset(inner, syntax, signed, delimited=length == UNDEFINED, depth=depth)
        out += _LITTLE.item + struct.pack("<L", UNDEFINED) + converted + _LITTLE.item_end
        position += used if length == UNDEFINED else length
    return bytes(out)


def _marks(syntax: str) -> _Marks:
    return _BIG if syntax == EXPLICIT_BE else _LITTLE
