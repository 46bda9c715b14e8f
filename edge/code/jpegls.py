"""A `jpegls` member of the coded tar: a DICOM Part 10 file in 1.2.840.10008.1.2.4.80 that any DICOM tool opens (PS3.5 A.4.3)."""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass

import zstandard

from edge.code import pixels
from edge.code.explicit import element_header, explicit
from edge.code.manifest import PIXEL_DATA, Pixels
from edge.code.outline import Outline
from edge.code.parts import LEVEL
from edge.dataset.part10 import file_meta, read_file_meta
from edge.dataset.walk import EXPLICIT_LE, UNDEFINED, Element, Malformed
from edge.model import UID, Digest, Identity

JPEG_LS_LOSSLESS = UID("1.2.840.10008.1.2.4.80")
ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_OFFSETS_MAX = 0xFFFFFFFF
"""A basic offset table counts in 32 bits."""
_PIXEL_GROUP_LENGTH = 0x7FE00000
_MEASURE_LEVEL = 3
"""Quick, and enough where JPEG-LS is smaller by more than _NEAR; else it must beat what the parts would make of the cells."""
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Recompressed:
    """The coded content, and where in it the item of the first frame lies."""

    content: bytes
    fragments: int


def recompress(
    content: memoryview, shape: Outline, transfer_syntax: str, identity: Identity, native: Pixels, pixel_data: Element
) -> Recompressed | None:
    """`content` with its pixel data in JPEG-LS, or None when that is not possible, or zstd makes them as small as that."""
    cells = pixels.cells(content, shape, pixel_data, native.frames * native.frame_bytes)
    bits = pixels.precision(content, shape, native, cells)
    if bits is None:
        return None
    try:
        frames = list(pixels.encode(cells, native, bits))
    except pixels.Unencodable:
        return None
    size = sum(len(frame) + 8 for frame in frames)
    if size > _OFFSETS_MAX or not _beats_zstd(size, content, pixel_data):
        return None
    try:
        source = read_file_meta(content).source_ae
        before, after = _around(content, shape, transfer_syntax, pixel_data)
    except (Malformed, ValueError):
        return None
    table = b"".join(struct.pack("<L", offset) for offset in itertools.accumulate((len(frame) + 8 for frame in frames[:-1]), initial=0))
    opening = element_header(PIXEL_DATA, "OB", UNDEFINED) + ITEM + struct.pack("<L", len(table)) + table
    items = itertools.chain.from_iterable((ITEM, struct.pack("<L", len(frame)), frame) for frame in frames)
    dataset = b"".join((before, opening, *items, _SEQUENCE_END, after))
    del frames
    meta = file_meta(identity, JPEG_LS_LOSSLESS, source, Digest(hashlib.sha256(dataset).hexdigest()))
    return Recompressed(meta + dataset, len(meta) + len(before) + len(opening))


def _beats_zstd(size: int, content: memoryview, pixel_data: Element) -> bool:
    """Whether `size` is less than what the pixel data adds to the rest for zstd, which finds again what an icon repeats of them."""
    rest = b"".join((content[: pixel_data.offset], content[pixel_data.end :]))

    def added(level: int) -> int:
        compressor = zstandard.ZstdCompressor(level=level)
        return len(compressor.compress(content)) - len(compressor.compress(rest))

    quick = added(_MEASURE_LEVEL)
    return size <= _NEAR * quick or size < min(quick, added(LEVEL))


def _around(content: memoryview, shape: Outline, transfer_syntax: str, pixel_data: Element) -> tuple[bytes, bytes]:
    """The elements before and after the pixel data in Explicit VR Little Endian, without the group length that would be wrong."""
    begin = shape.elements[0].offset
    before, after = content[begin : pixel_data.offset], content[pixel_data.end :]
    if transfer_syntax != EXPLICIT_LE:
        signed = pixels.is_signed(content, shape)
        return explicit(before, transfer_syntax, signed), explicit(after, transfer_syntax, signed)
    for element in shape.elements:
        if element.tag == _PIXEL_GROUP_LENGTH:
            return bytes(content[begin : element.offset]) + bytes(content[element.end : pixel_data.offset]), bytes(after)
    return bytes(before), bytes(after)
