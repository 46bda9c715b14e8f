"""From Explicit VR Big Endian, which is retired, to Explicit VR Little Endian (PS3.5 section 7.3), piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from edge.dataset.encode import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Encoding
from edge.dataset.source import Source, elements, whole
from edge.dataset.vr import WORDS, turned
from edge.dataset.walk import DEPTH_CAP, EXPLICIT_BE, EXPLICIT_LE, Element, Malformed, walk

_STEP = 1 << 20
_WRITE = Encoding.of(EXPLICIT_LE)
_BIG = Encoding.of(EXPLICIT_BE)
_MARK = _BIG.header(ITEM, "", 0)[:4]
_ITEM_END, _SEQUENCE_END = _BIG.header(ITEM_END, "", 0), _BIG.header(SEQUENCE_END, "", 0)


def little(source: Source) -> Iterator[bytes]:
    """The dataset in Little Endian. Sequences and items get undefined lengths, group lengths, which would be wrong, are left out.

    Raises Malformed, also for a UN of undefined length: what is in it has no byte order that one could rely on.
    """
    for element in elements(source, EXPLICIT_BE):
        if element.vr == "SQ":
            value = memoryview(whole(source, element.value, element.end - element.value))
            yield _WRITE.header(element.tag, "SQ", UNDEFINED) + _items(value, 1)
        elif element.length == UNDEFINED:
            raise Malformed(f"a {element.vr} of undefined length in big endian")
        elif element.tag & 0xFFFF:
            yield _WRITE.header(element.tag, element.vr, element.length)
            for position in range(element.value, element.end, _STEP):
                yield turned(whole(source, position, min(_STEP, element.end - position)), WORDS.get(element.vr, 1))


def _items(value: memoryview, depth: int) -> bytes:
    """The items of a sequence, and the delimiter of the sequence."""
    if depth > DEPTH_CAP // 2:
        raise Malformed("sequences are nested too deep")
    out = bytearray()
    position = 0
    while position < len(value) and value[position : position + 8] != _SEQUENCE_END:
        if value[position : position + 4] != _MARK or position + 8 > len(value):
            raise Malformed("a sequence of something other than items")
        length = int.from_bytes(value[position + 4 : position + 8], "big")
        position += 8
        inner = value[position:] if length == UNDEFINED else value[position : position + length]
        content, used = _content(inner, length == UNDEFINED, depth)
        out += _WRITE.header(ITEM, "", UNDEFINED) + content + _WRITE.header(ITEM_END, "", 0)
        position += used if length == UNDEFINED else length
    return bytes(out + _WRITE.header(SEQUENCE_END, "", 0))


def _content(data: memoryview, delimited: bool, depth: int) -> tuple[bytes, int]:
    """The elements of an item, and how many bytes they took, its delimiter included."""
    if delimited and data[:8] == _ITEM_END:
        return b"", 8
    out = bytearray()
    position = 0
    for found in walk(data, EXPLICIT_BE):
        position = found.end
        out += _element(found, data[found.value : found.end], depth)
        if delimited and data[position : position + 8] == _ITEM_END:
            return bytes(out), position + 8
    if delimited:
        raise Malformed("an item without its delimiter")
    return bytes(out), position


def _element(found: Element, value: memoryview, depth: int) -> bytes:
    if found.vr == "SQ":
        return _WRITE.header(found.tag, "SQ", UNDEFINED) + _items(value, depth + 1)
    if found.length == UNDEFINED:
        raise Malformed(f"a {found.vr} of undefined length in big endian")
    if not found.tag & 0xFFFF:
        return b""
    return _WRITE.header(found.tag, found.vr, found.length) + turned(bytes(value), WORDS.get(found.vr, 1))
