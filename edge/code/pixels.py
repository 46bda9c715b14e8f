"""Native pixel data: what a dataset says of it, and its frames in and out of JPEG-LS (ISO/IEC 14495-1, lossless)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import jpeg_ls
import numpy

from edge.code.manifest import Pixels
from edge.code.outline import Outline
from edge.dataset.walk import Element
from edge.errors import Corrupt, Permanent

PADDING_MAX_BYTES = 4096

_PHOTOMETRIC = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}
"""Photometric interpretations that JPEG-LS in DICOM may have, with their samples per pixel."""
_INTERLEAVE_SAMPLE = 2
_SOI_SOF55 = b"\xff\xd8\xff\xf7"


class Undecodable(Corrupt):
    """Coded bytes of an instance do not decode. The instance was not restored."""


class Unencodable(Permanent):
    """JPEG-LS does not make these pixels smaller. The instance is archived verbatim."""


def describe(content: memoryview, shape: Outline, pixel_data: Element) -> Pixels | None:
    """What the dataset says of its native pixel data; None where it is not 8 or 16 bits of it, or does not add up."""
    numbers = {tag: _number(content, shape, tag) for tag in (0x00280002, 0x00280010, 0x00280011, 0x00280100)}
    samples, rows, columns, allocated = numbers.values()
    frames = _text(content, shape, 0x00280008) or "1"
    if not rows or not columns or samples not in {1, 3} or allocated not in {8, 16} or not frames.isdecimal() or len(frames) > 9:
        return None
    size = int(frames) * rows * columns * samples * allocated // 8
    if not 0 < size <= pixel_data.length <= size + PADDING_MAX_BYTES:
        return None
    vr = pixel_data.vr or "OW"
    # Readers do not agree on the cells of 16 bits in OB, nor on those of a word that reaches into the next frame.
    if shape.big and (vr, allocated) != ("OB", 8) and (vr != "OW" or size // int(frames) % 2):
        return None
    value = content[pixel_data.value : pixel_data.end]
    return Pixels(
        vr=vr,
        frames=int(frames),
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        padding=bytes(value[size:]),
        sha256=hashlib.sha256(cells(content, shape, pixel_data, size)).hexdigest(),
    )


def cells(content: memoryview, shape: Outline, pixel_data: Element, size: int) -> memoryview:
    """The first `size` bytes of native pixel data, little-endian."""
    found = content[pixel_data.value : pixel_data.value + size]
    turned = shape.big and pixel_data.vr == "OW"
    return numpy.frombuffer(found, ">u2").astype("<u2").data.cast("B") if turned else found


def precision(content: memoryview, shape: Outline, pixels: Pixels, cells: memoryview) -> int | None:
    """The bits of a sample in the codestream, so that every decoder returns the very cells that arrived; None for what is not coded.

    Bits Stored, when no cell has a bit above it; else (negative values, overlays in high bits) Bits Allocated. dcmtk opens a stream
    of 8 bits or fewer only with 8 allocated, and only with exactly 8.
    """
    photometric = _text(content, shape, 0x00280004)
    if _PHOTOMETRIC.get(photometric) != pixels.samples or (pixels.samples == 3 and _number(content, shape, 0x00280006) != 0):
        return None
    if pixels.bits_allocated == 8:
        return 8
    stored, high = _number(content, shape, 0x00280101), _number(content, shape, 0x00280102)
    if stored is None or not 1 <= stored <= 16 or high != stored - 1:
        return 16
    bits = max(9, stored)
    return bits if int(numpy.frombuffer(cells, "<u2").max()) < 1 << bits else 16


def is_signed(content: memoryview, shape: Outline) -> bool:
    """Pixel Representation (0028,0103) says two's complement."""
    return _number(content, shape, 0x00280103) == 1


def encode(cells: memoryview, pixels: Pixels, bits: int) -> Iterator[bytes]:
    """The frames as JPEG-LS codestreams, each padded to an even length. Raises Unencodable where one would be longer than its cells."""
    for frame in range(pixels.frames):
        begin = frame * pixels.frame_bytes
        raw = bytes(cells[begin : begin + pixels.frame_bytes])
        try:
            stream = bytes(jpeg_ls.encode_buffer(raw, pixels.rows, pixels.columns, pixels.samples, bits, 0, _INTERLEAVE_SAMPLE))
        except (RuntimeError, ValueError) as fault:
            raise Unencodable(str(fault)) from fault
        yield stream + b"\0" if len(stream) & 1 else stream


def decode(stream: bytes, pixels: Pixels) -> bytes:
    """The cells of one frame. Raises Undecodable unless it is a codestream of exactly that frame; nothing else is decoded or allocated."""
    if stream[:4] != _SOI_SOF55 or len(stream) < 11:
        raise Undecodable("a fragment that is no JPEG-LS codestream")
    bits, rows, columns, components = struct.unpack_from(">BHHB", stream, 6)
    if (rows, columns, components) != (pixels.rows, pixels.columns, pixels.samples) or (bits > 8) != (pixels.bits_allocated == 16):
        raise Undecodable("a JPEG-LS codestream of another frame")
    try:
        cells, _ = jpeg_ls.decode_buffer(stream)
    except (RuntimeError, ValueError) as fault:
        raise Undecodable(f"a JPEG-LS codestream that does not decode: {fault}") from fault
    if len(cells) != pixels.frame_bytes:
        raise Undecodable("a JPEG-LS codestream of another length")
    return bytes(cells)


def _value(content: memoryview, shape: Outline, tag: int) -> bytes:
    for element in shape.elements:
        if element.tag == tag:
            return bytes(content[element.value : min(element.end, element.value + 64)])
    return b""


def _number(content: memoryview, shape: Outline, tag: int) -> int | None:
    value = _value(content, shape, tag)
    return int.from_bytes(value, "big" if shape.big else "little") if len(value) == 2 else None


def _text(content: memoryview, shape: Outline, tag: int) -> str:
    return _value(content, shape, tag).decode("latin-1").strip(" \0")
