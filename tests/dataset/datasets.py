"""Encoded datasets for tests, element by element; what is generated says so in its Study Description."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

CT = "1.2.840.10008.5.1.4.1.1.2"
LONG = frozenset({"OB", "OW", "SQ", "UN", "UT", "UC"})
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def element(tag: int, vr: str, value: bytes | str, syntax: str = EXPLICIT_LE, length: int | None = None) -> bytes:
    """One element; `length` lies about how long it is."""
    if isinstance(value, str):
        value = value.encode("latin-1")
    value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) & 1)
    size = len(value) if length is None else length
    order = ">" if syntax == EXPLICIT_BE else "<"
    if syntax == IMPLICIT_LE or tag >> 16 == 0xFFFE:
        return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, size) + value
    if vr in LONG:
        return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, size) + value
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), size) + value


def sequence(tag: int, items: list[bytes], syntax: str = EXPLICIT_LE, vr: str = "SQ", defined_items: bool = False) -> bytes:
    """A sequence of undefined length; its items have a length of their own with `defined_items`."""
    body = b"".join(
        element(ITEM, "", item, syntax)
        if defined_items
        else element(ITEM, "", b"", syntax, UNDEFINED) + item + element(ITEM_END, "", b"", syntax)
        for item in items
    )
    return element(tag, vr, b"", syntax, UNDEFINED) + body + element(SEQUENCE_END, "", b"", syntax)


def dataset(
    *,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    instance: str = "1.2.3.1.1",
    sop_class: str = CT,
    syntax: str = EXPLICIT_LE,
    number: int = 1,
    pixels: bytes = b"pixels",
    more: Mapping[int, tuple[str, bytes | str]] | None = None,
) -> bytes:
    """A small generated instance; `more` adds or replaces elements, in tag order."""
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080016: ("UI", sop_class),
        0x00080018: ("UI", instance),
        0x00080020: ("DA", "20240131"),
        0x00080030: ("TM", "120000"),
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", "GENERATED"),
        0x00100010: ("PN", "Doe^Jane"),
        0x00100020: ("LO", "P1"),
        0x0020000D: ("UI", study),
        0x0020000E: ("UI", series),
        0x00200011: ("IS", "1"),
        0x00200013: ("IS", str(number)),
        0x7FE00010: ("OB", pixels),
    } | dict(more or {})
    plain = EXPLICIT_LE if syntax == DEFLATED_LE else syntax
    encoded = b"".join(element(tag, vr, value, plain) for tag, (vr, value) in sorted(elements.items()))
    return deflate(encoded) if syntax == DEFLATED_LE else encoded


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()
