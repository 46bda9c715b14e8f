"""The header walk: where the top-level elements of an encoded dataset lie (PS3.5 section 7), without decoding a value.

Every declared length is checked against the bytes that are there; sequences are passed over with an explicit stack. Nothing is
allocated by what a peer declares.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from edge.dataset.vr import LONG, SHORT
from edge.errors import Corrupt

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
DEPTH_CAP = 64

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(vr.encode() for vr in LONG)
_SHORT = frozenset(vr.encode() for vr in SHORT)


class Malformed(Corrupt):
    """The dataset breaks the encoding rules of PS3.5. It is kept as it arrived and flagged."""


class Truncated(Malformed):
    """The dataset ends inside an element. It is kept as it arrived and flagged."""


class Element(NamedTuple):
    """One top-level element: the byte offsets of its header, its value and its end, and the declared length.

    `vr` is empty under Implicit VR. `end` is past the delimiter where the length is undefined, and lies beyond the data when the
    element is cut off.
    """

    tag: int
    vr: str
    offset: int
    value: int
    length: int
    end: int


def walk(data: bytes | memoryview, transfer_syntax: str) -> Iterator[Element]:
    """The top-level elements in the order in which they lie; the data may be the head of a dataset.

    An element that ends beyond the data is still yielded; then, as when a header is cut off, Truncated is raised. Raises Malformed where
    the bytes cannot be what the transfer syntax says. Deflated datasets are inflated by the caller (`inflate`).
    """
    reader = _Reader(data, implicit=transfer_syntax == IMPLICIT_LE, big=transfer_syntax == EXPLICIT_BE)
    position, size = 0, len(data)
    while position < size:
        tag, vr, value, length = reader.header(position, reader.implicit)
        if tag >> 16 == 0xFFFE:
            raise Malformed(f"an item or delimiter outside a sequence at byte {position}")
        end = value + length if length != UNDEFINED else reader.past_delimiter(value, vr)
        yield Element(tag, vr.decode(), position, value, length, end)
        if end > size:
            raise Truncated(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) needs {end - size} bytes more than there are")
        position = end


def items(data: bytes | memoryview, sequence: Element, transfer_syntax: str) -> Iterator[list[Element]]:
    """The elements of each item of a sequence that lies whole in the data, offsets from the start of the data. Raises Malformed.

    What has VR UN is taken for the Implicit VR sequence that it may be (PS3.5 section 6.2.2).
    """
    reader = _Reader(data, implicit=transfer_syntax == IMPLICIT_LE, big=transfer_syntax == EXPLICIT_BE)
    implicit = reader.implicit or sequence.vr == "UN"
    position = sequence.value
    while position < sequence.end:
        tag, _, position, length = reader.header(position, implicit)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise Malformed(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {position} where an item belongs")
        found, end = reader.item(position, sequence.end if length == UNDEFINED else position + length, implicit)
        if end > sequence.end:
            raise Malformed(f"an item at byte {position} is longer than its sequence")
        yield found
        position = end


def inflate(data: bytes | memoryview, at_most: int) -> bytes:
    """The first `at_most` bytes of a deflated dataset (PS3.5 A.5), inflated within that bound. Malformed for what is no deflate stream."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, at_most)
    except zlib.error as fault:
        raise Malformed(f"no deflate stream: {fault}") from fault


class _Reader:
    def __init__(self, data: bytes | memoryview, implicit: bool, big: bool) -> None:
        order = ">" if big else "<"
        self._data = data
        self._size = len(data)
        self.implicit = implicit
        self._tag_long = struct.Struct(order + "HHL").unpack_from
        self._tag_vr_short = struct.Struct(order + "HH2sH").unpack_from
        self._long = struct.Struct(order + "L").unpack_from

    def header(self, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR, offset of the value, declared length) of the element at `position`."""
        if position + 8 > self._size:
            raise Truncated(f"an element header is cut off at byte {position}")
        if implicit:
            group, element, length = self._tag_long(self._data, position)
            return group << 16 | element, b"", position + 8, length
        group, element, vr, length = self._tag_vr_short(self._data, position)
        tag = group << 16 | element
        if group == 0xFFFE:  # items and delimiters have no VR: their length stands there
            return tag, b"", position + 8, self._long(self._data, position + 4)[0]
        if vr in _SHORT:
            return tag, vr, position + 8, length
        if vr in _LONG:
            if position + 12 > self._size:
                raise Truncated(f"an element header is cut off at byte {position}")
            return tag, vr, position + 12, self._long(self._data, position + 8)[0]
        raise Malformed(f"({group:04X},{element:04X}) at byte {position} has no value representation of PS3.5")

    def item(self, position: int, end: int, implicit: bool) -> tuple[list[Element], int]:
        """The elements of the item whose content begins at `position`, and where the next one may begin."""
        found: list[Element] = []
        while position < end:
            tag, vr, value, length = self.header(position, implicit)
            if tag == _ITEM_END:
                return found, value
            after = value + length if length != UNDEFINED else self.past_delimiter(value, b"UN" if implicit else vr)
            found.append(Element(tag, vr.decode(), position, value, length, after))
            position = after
        return found, position

    def past_delimiter(self, position: int, vr: bytes) -> int:
        """The offset past the Sequence Delimitation Item of the undefined-length value that begins at `position`.

        A UN of undefined length holds an Implicit VR sequence (PS3.5 section 6.2.2). The stack holds, for each open sequence or
        item, whether items are expected at that place, and whether its elements are Implicit VR.
        """
        if vr not in {b"", b"SQ", b"UN", b"OB", b"OW"}:
            raise Malformed(f"a {vr.decode()} of undefined length at byte {position}")
        stack: list[tuple[bool, bool]] = [(True, self.implicit or vr == b"UN")]
        while stack:
            items, implicit = stack[-1]
            tag, inner, value, length = self.header(position, implicit)
            position = value
            if tag == (_SEQUENCE_END if items else _ITEM_END):
                stack.pop()
            elif items and tag != _ITEM:
                raise Malformed(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {value} where an item belongs")
            elif length != UNDEFINED:
                position += length
            else:
                stack.append((not items, implicit or (not items and inner == b"UN")))
                if len(stack) > DEPTH_CAP:
                    raise Malformed(f"sequences are nested deeper than {DEPTH_CAP // 2} at byte {value}")
            if position > self._size:
                raise Truncated(f"a sequence is cut off at byte {self._size}")
        return position
