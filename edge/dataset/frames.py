"""Where the frames of an instance lie in its dataset: native ones by arithmetic, encapsulated ones by offset tables or fragments."""

from __future__ import annotations

import bisect
import itertools
import struct
from dataclasses import dataclass

from edge.dataset.source import Source, elements, fragments
from edge.dataset.walk import EXPLICIT_BE, PIXEL_DATA, UNDEFINED, Element, Malformed
from edge.errors import Corrupt

_SAMPLES, _PHOTOMETRIC, _FRAMES = 0x00280002, 0x00280004, 0x00280008
_ROWS, _COLUMNS, _BITS = 0x00280010, 0x00280011, 0x00280100
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
_DESCRIBING = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS, _EXTENDED_OFFSETS, _EXTENDED_LENGTHS})
_TABLE_MAX_BYTES = 64 << 20
_CODESTREAMS = (b"\xff\xd8", b"\xff\x4f")
"""SOI of the JPEG family and SOC of JPEG 2000: the first fragment of a frame begins so."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: byte ranges of the dataset, in order. Where `bit` is not 0, the frame begins at that bit of its one range."""

    ranges: tuple[tuple[int, int], ...]
    bit: int = 0
    bits: int = 0


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """Frames of `bits` bits each, one behind the other from byte `value` on."""

    value: int
    bits: int
    count: int
    encapsulated = False

    def at(self, index: int) -> Frame:
        """The frame of an index from 0 to count - 1."""
        begin, end = index * self.bits, (index + 1) * self.bits
        return Frame(((self.value + begin // 8, (end + 7) // 8 - begin // 8),), begin % 8, self.bits if self.bits % 8 else 0)


@dataclass(frozen=True, slots=True)
class EncapsulatedFrames:
    """Frames as lists of fragments."""

    frames: tuple[Frame, ...]
    encapsulated = True

    @property
    def count(self) -> int:
        return len(self.frames)

    def at(self, index: int) -> Frame:
        """The frame of an index from 0 to count - 1."""
        return self.frames[index]


Frames = NativeFrames | EncapsulatedFrames


def locate(source: Source, transfer_syntax: str) -> Frames | None:
    """Where the frames lie; None when there is no Pixel Data. Raises Corrupt when it is not as the instance describes it."""
    described: dict[int, bytes] = {}
    pixels: Element | None = None
    for element in elements(source, transfer_syntax):
        if element.tag in _PIXELS:
            pixels = element
            break
        if element.tag in _DESCRIBING and element.end - element.value <= _TABLE_MAX_BYTES:
            described[element.tag] = bytes(source.read(element.value, element.end - element.value))
    if pixels is None:
        return None
    if pixels.length == UNDEFINED:
        return EncapsulatedFrames(_encapsulated(source, pixels, described))
    return _native(pixels, described, transfer_syntax == EXPLICIT_BE)


def _native(pixels: Element, described: dict[int, bytes], big: bool) -> NativeFrames:
    samples = _number(described, _SAMPLES, big) or 1
    rows, columns, allocated = (_number(described, tag, big) for tag in (_ROWS, _COLUMNS, _BITS))
    if described.get(_PHOTOMETRIC, b"").strip(b" \0") in {b"YBR_FULL_422", b"YBR_PARTIAL_422"}:
        samples = 2  # two luminance samples share their two chrominance samples, PS3.3 C.7.6.3.1.2
    bits = rows * columns * samples * allocated
    count = _count(described)
    if bits == 0 or (bits * count + 7) // 8 > pixels.length:
        raise Corrupt("The Pixel Data is shorter than rows, columns and frames say. Retrieve the instance itself to look at it.")
    return NativeFrames(pixels.value, bits, count)


def cut_bits(data: bytes, frame: Frame) -> bytes:
    """A frame that does not begin and end at whole bytes, moved to the first bit, lowest first (PS3.5 section 8.1.1)."""
    value = int.from_bytes(data, "little") >> frame.bit
    return (value & ((1 << frame.bits) - 1)).to_bytes((frame.bits + 7) // 8, "little")


def _encapsulated(source: Source, pixels: Element, described: dict[int, bytes]) -> tuple[Frame, ...]:
    items, _ = fragments(source, pixels)
    if not items:
        raise Malformed("the Pixel Data has no offset table item")
    (table_offset, table_length), *pieces = items
    count = _count(described)
    if len(pieces) == count:
        return tuple(Frame((piece,)) for piece in pieces)
    if count == 1:
        return (Frame(tuple(pieces)),)
    if _EXTENDED_OFFSETS in described:
        starts = [begin for (begin,) in struct.iter_unpack("<Q", _whole(described[_EXTENDED_OFFSETS], 8))]
    elif table_length:
        if table_length > _TABLE_MAX_BYTES:
            raise Corrupt("The Basic Offset Table is too long.")
        starts = [begin for (begin,) in struct.iter_unpack("<L", _whole(bytes(source.read(table_offset, table_length)), 4))]
    else:
        starts = [offset - 8 - _first(pieces) for offset, length in pieces if bytes(source.read(offset, 2)) in _CODESTREAMS]
    return _grouped(pieces, starts, count)


def _grouped(pieces: list[tuple[int, int]], starts: list[int], count: int) -> tuple[Frame, ...]:
    """Fragments by the frame that they belong to; `starts` are offsets of items from the first one behind the offset table."""
    places = [offset - 8 - _first(pieces) for offset, _ in pieces]
    if len(starts) != count or starts[:1] != [0] or any(a >= b for a, b in itertools.pairwise(starts)):
        raise Corrupt("The frames cannot be told apart: offset table and fragments disagree. Retrieve the instance itself.")
    edges = [bisect.bisect_left(places, start) for start in [*starts, places[-1] + 1]]
    if any(edge < len(places) and places[edge] != start for edge, start in zip(edges, starts, strict=False)):
        raise Corrupt("The offset table points between fragments. Retrieve the instance itself.")
    return tuple(Frame(tuple(pieces[a:b])) for a, b in itertools.pairwise(edges))


def _first(pieces: list[tuple[int, int]]) -> int:
    return pieces[0][0] - 8 if pieces else 0


def _whole(table: bytes, width: int) -> bytes:
    return table[: len(table) // width * width]


def _number(described: dict[int, bytes], tag: int, big: bool) -> int:
    value = described.get(tag, b"")[:2]
    return int.from_bytes(value, "big" if big else "little") if len(value) == 2 else 0


def _count(described: dict[int, bytes]) -> int:
    text = described.get(_FRAMES, b"1").strip(b" \0") or b"1"
    if not text.isdigit() or len(text) > 10:
        raise Corrupt("Number of Frames (0028,0008) is no number.")
    return max(1, int(text))
