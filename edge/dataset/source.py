"""The bytes of one dataset where they lie, read through a bounded window; and its top-level elements."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Protocol

from edge.dataset.walk import EXPLICIT_BE, IMPLICIT_LE, PIXEL_DATA, UNDEFINED, Element, Malformed, Truncated, walk

WINDOW = 1 << 16
SEQUENCE_MAX_BYTES = 64 << 20
"""The longest sequence of undefined length that is walked."""
FRAGMENTS_MAX = 1_000_000

_DELIMITER = 0xFFFEE0DD
_ITEM = 0xFFFEE000


class Source(Protocol):
    """A dataset whose bytes are read where they lie. Offsets are from its first byte."""

    length: int
    holes: Mapping[int, int]
    """Values that are not here: offset of the value -> its length, delimiter included."""

    def read(self, offset: int, count: int) -> memoryview:
        """At most `count` bytes; fewer at the end and before a hole."""
        ...


class PackSource:
    """A dataset in a pack file."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self.length = length
        self.holes: Mapping[int, int] = {}
        self._descriptor = descriptor
        self._offset = offset
        self._window = memoryview(b"")
        self._begin = 0

    def read(self, offset: int, count: int) -> memoryview:
        count = min(count, self.length - offset)
        if not self._begin <= offset <= offset + count <= self._begin + len(self._window):
            wanted = min(max(count, WINDOW), self.length - offset)
            self._window = memoryview(os.pread(self._descriptor, wanted, self._offset + offset))
            self._begin = offset
        return self._window[offset - self._begin :][:count]


class BytesSource:
    """A dataset in memory."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self.holes: Mapping[int, int] = {}
        self._data = memoryview(data)

    def read(self, offset: int, count: int) -> memoryview:
        return self._data[offset : offset + count]


def whole(source: Source, offset: int, count: int) -> bytes:
    """Exactly `count` bytes. Raises Truncated where they are not there."""
    data = bytes(source.read(offset, count))
    if len(data) < count:
        raise Truncated(f"{count - len(data)} bytes of a value are not there")
    return data


def elements(source: Source, transfer_syntax: str) -> Iterator[Element]:
    """The top-level elements in the order in which they lie. Raises Malformed where the bytes cannot be what the transfer syntax says, and
    Truncated where the dataset ends inside an element.
    """
    position = 0
    while position < source.length:
        for found in _run(source, position, transfer_syntax):
            if found.end > source.length:
                raise Truncated(f"({found.tag >> 16:04X},{found.tag & 0xFFFF:04X}) is longer than the dataset")
            yield found
            position = found.end


def fragments(source: Source, element: Element) -> tuple[list[tuple[int, int]], int]:
    """The items of encapsulated Pixel Data (PS3.5 section A.4) as (offset, length), the basic offset table first; and where they end.

    Raises Truncated or Malformed.
    """
    items: list[tuple[int, int]] = []
    position = element.value
    while True:
        header = source.read(position, 8)
        if len(header) < 8:
            raise Truncated("the Pixel Data ends without its delimiter")
        group, number, length = struct.unpack("<HHL", header)
        position += 8
        tag = group << 16 | number
        if tag == _DELIMITER:
            return items, position
        if tag != _ITEM or length == UNDEFINED or position + length > source.length:
            raise Malformed("the Pixel Data holds something other than fragments")
        items.append((position, length))
        if len(items) > FRAGMENTS_MAX:
            raise Malformed(f"the Pixel Data has more than {FRAGMENTS_MAX} fragments")
        position += length


def _run(source: Source, position: int, transfer_syntax: str) -> Iterator[Element]:
    """One element or more, from `position` on, as far as one window shows them."""
    if source.holes:
        yield _element(source, position, transfer_syntax)
        return
    window = source.read(position, WINDOW)
    shown = False
    try:
        for element in walk(window, transfer_syntax):
            yield _shifted(element, position)
            shown = True
            if element.end > len(window):
                return
    except Truncated:
        if not shown:
            yield _element(source, position, transfer_syntax)


def _element(source: Source, position: int, transfer_syntax: str) -> Element:
    window = source.read(position, WINDOW)
    for header in (8, 12):
        if (hole := source.holes.get(position + header)) is not None:
            return _before_hole(bytes(window[:header]), position, hole, transfer_syntax)
    while True:
        try:
            return _shifted(next(walk(window, transfer_syntax)), position)
        except Truncated:
            if len(window) >= 12 and _is_encapsulated(window, transfer_syntax):
                opened = Element(PIXEL_DATA, bytes(window[4:6]).decode("latin-1"), position, position + 12, UNDEFINED, 0)
                return opened._replace(end=fragments(source, opened)[1])
            wider = source.read(position, min(4 * len(window), SEQUENCE_MAX_BYTES))
            if len(wider) <= len(window):
                raise
            window = wider


def _before_hole(header: bytes, position: int, hole: int, transfer_syntax: str) -> Element:
    """The element whose value is not here; its header is."""
    order = ">" if transfer_syntax == EXPLICIT_BE else "<"
    group, number = struct.unpack_from(order + "HH", header)
    vr = "" if transfer_syntax == IMPLICIT_LE else header[4:6].decode("latin-1")
    short = len(header) == 8 and transfer_syntax != IMPLICIT_LE
    (length,) = struct.unpack(order + ("H" if short else "L"), header[6:] if short else header[-4:])
    value = position + len(header)
    return Element(group << 16 | number, vr, position, value, length, value + hole)


def _is_encapsulated(window: memoryview, transfer_syntax: str) -> bool:
    group, number, _, _, length = struct.unpack_from("<HH2sHL", window)
    return transfer_syntax != IMPLICIT_LE and group << 16 | number == PIXEL_DATA and length == UNDEFINED


def _shifted(element: Element, by: int) -> Element:
    tag, vr, offset, value, length, end = element
    return Element(tag, vr, offset + by, value + by, length, end + by)
