"""What a compressed frame says of itself, read before it is decoded: what has another shape than its instance never reaches a decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge.errors import Corrupt


class Undecodable(Corrupt):
    """Compressed pixel data do not decode to the frame that the instance describes. It can be had in the transfer syntax of its storage."""


@dataclass(frozen=True, slots=True)
class Jpeg:
    """The frame header of ISO/IEC 10918-1 or 14495-1, and the markers that tell its colours."""

    process: int
    """The number of its SOF marker: 0 to 3, and 55 for JPEG-LS."""
    precision: int
    rows: int
    columns: int
    components: tuple[int, ...]
    """Their identifiers."""
    adobe: int | None
    """The transform that an Adobe marker names: 0 none, 1 YCbCr."""
    jfif: bool
    near: int
    """Of JPEG-LS: the error that is allowed."""


@dataclass(frozen=True, slots=True)
class Jpeg2000:
    """Image size and default coding style of ISO/IEC 15444-1 annex A.5.1 and A.6.1."""

    precision: int
    rows: int
    columns: int
    components: int
    signed: bool
    colour_transform: bool
    reversible: bool


_SOI, _SOC_SIZ = b"\xff\xd8", b"\xff\x4f\xff\x51"
_CODESTREAM_BOX = b"jp2c" + _SOC_SIZ
_SOF = {0xC0: 0, 0xC1: 1, 0xC2: 2, 0xC3: 3, 0xF7: 55}
_SOS, _EOI, _APP0, _APP14, _COD, _SOT = 0xDA, 0xD9, 0xE0, 0xEE, 0x52, 0x90
_SIZ = struct.Struct(">HHLLLLLLLLH")


def read_jpeg(stream: bytes) -> Jpeg:
    """Raises Undecodable for what is no such stream, or one whose height comes later (DNL)."""
    if stream[:2] != _SOI:
        raise Undecodable("a fragment that is no JPEG codestream")
    frame: tuple[int, int, int, int, tuple[int, ...]] | None = None
    adobe, jfif, near = None, False, 0
    for marker, content in _segments(stream):
        if marker in _SOF and len(content) >= 6:
            precision, rows, columns, count = struct.unpack_from(">BHHB", content)
            frame = _SOF[marker], precision, rows, columns, tuple(content[6 : 6 + 3 * count : 3])
        elif marker == _APP0 and content[:5] == b"JFIF\0":
            jfif = True
        elif marker == _APP14 and content[:5] == b"Adobe" and len(content) >= 12:
            adobe = content[11]
        elif marker == _SOS and content:
            near = content[-3] if len(content) >= 3 else 0
            break
    if frame is None:
        raise Undecodable("a JPEG codestream without a frame that can be decoded")
    process, precision, rows, columns, components = frame
    return Jpeg(process, precision, rows, columns, components, adobe, jfif, near if process == 55 else 0)


def read_jpeg_2000(stream: bytes) -> Jpeg2000:
    """Raises Undecodable for what is no such stream, and for components of several kinds."""
    if stream[:4] != _SOC_SIZ or len(stream) < 4 + _SIZ.size:
        raise Undecodable("a fragment that is no JPEG 2000 codestream")
    _, _, right, bottom, left, top, _, _, _, _, count = _SIZ.unpack_from(stream, 4)
    at = 4 + _SIZ.size
    kinds = {stream[at + 3 * place : at + 3 * place + 3] for place in range(min(count, 4))}
    if len(kinds) != 1 or (kind := kinds.pop())[1:] != b"\1\1":
        raise Undecodable("a JPEG 2000 codestream whose components differ")
    style = next((content for marker, content in _segments(stream) if marker == _COD), b"")
    if len(style) < 10:
        raise Undecodable("a JPEG 2000 codestream without a coding style")
    return Jpeg2000((kind[0] & 0x7F) + 1, bottom - top, right - left, count, kind[0] >= 0x80, style[4] == 1, style[9] == 1)


def bare_jpeg_2000(stream: bytes) -> bytes:
    """The codestream itself, of one that lies in a JP2 file, which PS3.5 section A.4.4 forbids and some devices write."""
    at = stream.find(_CODESTREAM_BOX) if stream[4:8] == b"jP  " else -1
    return stream[at + len(_CODESTREAM_BOX) - len(_SOC_SIZ) :] if at >= 0 else stream


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the marker segments of the header, that of a scan or tile-part the last."""
    position = 2
    while position + 4 <= len(stream):
        filling, marker, length = struct.unpack_from(">BBH", stream, position)
        if filling != 0xFF:
            raise Undecodable("a codestream with something else where a marker belongs")
        if marker == 0xFF:
            position += 1
            continue
        if marker == _EOI or length < 2:
            return
        yield marker, stream[position + 4 : position + 2 + length]
        if marker in {_SOS, _SOT}:
            return
        position += 2 + length
