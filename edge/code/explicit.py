"""From Implicit VR Little Endian to Explicit VR Little Endian (PS3.5 section 7), element by element, values untouched."""

from __future__ import annotations

import struct

from edge.dataset.vr import LONG, vr_of
from edge.dataset.walk import IMPLICIT_LE, UNDEFINED, Malformed, walk

_DEPTH_CAP = 32
_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def explicit(data: memoryview, signed: bool) -> bytes:
    """The elements in `data` with their value representations; `signed` decides where the dictionary says US or SS.

    Unknown and private elements become UN (PS3.5 section 6.2.2), sequences and items get undefined lengths, group lengths, which would
    be wrong, are left out. Raises Malformed when a sequence cannot be read.
    """
    converted, _ = _dataset(data, signed, delimited=False, depth=0)
    return converted


def element_header(tag: int, vr: str, length: int) -> bytes:
    """An element's header under Explicit VR Little Endian. ValueError when the length does not fit the VR."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in LONG:
        return struct.pack("<HH2sHL", group, element, vr.encode(), 0, length)
    if length > 0xFFFF:
        raise ValueError(f"a {vr} of {length} bytes")
    return struct.pack("<HH2sH", group, element, vr.encode(), length)


def _dataset(data: memoryview, signed: bool, delimited: bool, depth: int) -> tuple[bytes, int]:
    """The converted elements, and how many bytes of `data` they took, the item's delimiter included."""
    if delimited and data[:8] == _ITEM_END:
        return b"", 8
    out = bytearray()
    position = 0
    for found in walk(data, IMPLICIT_LE):
        position = found.end
        value = data[found.value : found.end]
        vr = vr_of(found.tag, signed)
        if vr == "SQ":
            out += element_header(found.tag, "SQ", UNDEFINED) + _items(value, signed, depth + 1) + _SEQUENCE_END
        elif found.length == UNDEFINED:
            out += element_header(found.tag, "UN", UNDEFINED) + value
        elif found.tag & 0xFFFF:
            fits = vr in LONG or found.length <= 0xFFFF
            out += element_header(found.tag, vr if fits else "UN", found.length) + value
        if delimited and data[position : position + 8] == _ITEM_END:
            return bytes(out), position + 8
    if delimited:
        raise Malformed("an item without its delimiter")
    return bytes(out), position


def _items(value: memoryview, signed: bool, depth: int) -> bytes:
    if depth > _DEPTH_CAP:
        raise Malformed(f"sequences are nested deeper than {_DEPTH_CAP}")
    out = bytearray()
    position = 0
    while position < len(value) and value[position : position + 8] != _SEQUENCE_END:
        if value[position : position + 4] != _ITEM or position + 8 > len(value):
            raise Malformed("a sequence of something other than items")
        (length,) = struct.unpack_from("<L", value, position + 4)
        position += 8
        inner = value[position:] if length == UNDEFINED else value[position : position + length]
        converted, used = _dataset(inner, signed, delimited=length == UNDEFINED, depth=depth)
        out += _ITEM + struct.pack("<L", UNDEFINED) + converted + _ITEM_END
        position += used if length == UNDEFINED else length
    return bytes(out)
