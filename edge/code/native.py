"""A dataset in whatever transfer syntax as Explicit VR Little Endian with native pixels, for destinations that take no other."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edge.code.frame import Frame, Shape, decode
from edge.code.little import little
from edge.dataset.encode import ITEM, SEQUENCE_END, UNDEFINED, Encoding
from edge.dataset.frames import EncapsulatedFrames, locate
from edge.dataset.source import BytesSource, Source, elements, whole
from edge.dataset.walk import DEFLATED_LE, DEPTH_CAP, EXPLICIT_BE, EXPLICIT_LE, PIXEL_DATA, Element, Malformed, items
from edge.errors import Permanent, StoreFull

LENGTH_MAX = 0xFFFFFFFE
"""Of a value of defined length (PS3.5 section 7.1.1)."""
_STEP = 1 << 20
_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ROWS, _COLUMNS, _ALLOCATED, _REPRESENTATION = 0x00280010, 0x00280011, 0x00280100, 0x00280103
_LOSSY = 0x00282110
_DESCRIBING = frozenset({_SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS, _ALLOCATED, _REPRESENTATION})
_LEFT_OUT = frozenset({0x00280000, 0x7FE00000, 0x7FE00001, 0x7FE00002, 0x7FE00003})
"""Group lengths that would be wrong, and what describes encapsulation: offset tables, and the length of what was encapsulated."""
_ENCAPSULATED = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_WRITE = Encoding.of(EXPLICIT_LE)

Write = Callable[[bytes | memoryview], object]


def write_native(source: Source, transfer_syntax: str, write: Write, at_most: int) -> int:
    """Hand the dataset to `write`, piece by piece; how many bytes it had. Bits that were lost stay lost, and the dataset says so.

    Raises Malformed or Undecodable for what cannot be had natively, Permanent for what does not fit a value, and StoreFull where it would
    have more than `at_most` bytes.
    """
    sink = _Sink(write, at_most)
    if transfer_syntax == DEFLATED_LE:
        for piece in _inflated(source):
            sink.take(piece)
    elif transfer_syntax == EXPLICIT_BE:
        for piece in little(source):
            sink.take(piece)
    else:
        _Decoding(source, transfer_syntax, sink).run()
    return sink.length


@dataclass(slots=True)
class _Sink:
    write: Write
    at_most: int
    length: int = 0

    def take(self, piece: bytes | memoryview) -> None:
        self.demand(len(piece))
        self.length += len(piece)
        self.write(piece)

    def demand(self, size: int) -> None:
        if self.length + size > self.at_most:
            raise StoreFull("There is no room on the disk for this instance in a form that the destination takes.")


@dataclass(slots=True)
class _Decoding:
    """A dataset, or an item of one, on its way; `depth` is how deep that item lies."""

    source: Source
    transfer_syntax: str
    sink: _Sink
    depth: int = 0
    shape: dict[int, bytes] = field(default_factory=dict)
    first: Frame | None = None
    """Decoded before anything is written: it says what has to be said of all of them."""

    def run(self) -> None:
        found = list(self._described())
        pixels = next((element for element in found if element.tag == PIXEL_DATA), None)
        frames: EncapsulatedFrames | None = None
        new: dict[int, bytes] = {}
        if pixels is not None and not (self.depth and pixels.length != UNDEFINED):
            frames = _encapsulated(self.source)
            self.first = self._frame(frames, 0)
            new = self._changed(self.first)
        pending = sorted(new)
        for element in found:
            while pending and pending[0] <= element.tag:
                self.sink.take(new[pending.pop(0)])
            if element.tag in new:
                continue
            if frames is not None and element.tag == PIXEL_DATA:
                self._pixels(frames)
            elif frames is None or element.tag not in _LEFT_OUT:
                self._copy(element)

    def _described(self) -> Iterator[Element]:
        for element in elements(self.source, EXPLICIT_LE):
            if element.tag in _DESCRIBING:
                self.shape[element.tag] = whole(self.source, element.value, min(64, element.end - element.value))
            yield element

    def _changed(self, first: Frame) -> dict[int, bytes]:
        """The elements that say something else of native pixels."""
        new = {_PHOTOMETRIC: _WRITE.element(_PHOTOMETRIC, "CS", first.photometric.encode())}
        if self._number(_SAMPLES) > 1:
            new[_PLANAR] = _WRITE.element(_PLANAR, "US", b"\0\0")
        if first.lossy:
            # Once lossy, always lossy (PS3.3 section C.7.6.1.1.5), whoever compressed it and did not say so.
            new[_LOSSY] = _WRITE.element(_LOSSY, "CS", b"01")
        return new

    def _pixels(self, frames: EncapsulatedFrames) -> None:
        frame, self.first = self.first, None  # one frame at a time is in memory
        assert frame is not None
        photometric = frame.photometric
        size = len(frame.cells) * frames.count
        if size + size % 2 > LENGTH_MAX:
            raise Permanent(f"Pixel Data of {size} bytes do not fit one value.")
        self.sink.demand(size)
        # PS3.5 section A.2: OW above 8 bits allocated.
        vr = "OW" if self._number(_ALLOCATED) > 8 else "OB"
        self.sink.take(_WRITE.header(PIXEL_DATA, vr, size + size % 2))
        self.sink.take(frame.cells)
        for index in range(1, frames.count):
            del frame
            frame = self._frame(frames, index)
            if frame.photometric != photometric:
                raise Malformed("frames of different colour spaces")
            self.sink.take(frame.cells)
        self.sink.take(b"\0" * (size % 2))

    def _frame(self, frames: EncapsulatedFrames, index: int) -> Frame:
        stream = b"".join(whole(self.source, offset, length) for offset, length in frames.at(index).ranges)
        shape = Shape(
            rows=self._number(_ROWS),
            columns=self._number(_COLUMNS),
            samples=self._number(_SAMPLES),
            allocated=self._number(_ALLOCATED),
            signed=self._number(_REPRESENTATION) == 1,
            photometric=self.shape.get(_PHOTOMETRIC, b"").decode("latin-1").strip(" \0"),
        )
        if shape.samples not in {1, 3} or shape.allocated not in {8, 16, 32}:
            raise Malformed(f"compressed pixels of {shape.samples} samples with {shape.allocated} bits")
        return decode(stream, self.transfer_syntax, shape)

    def _copy(self, element: Element) -> None:
        if element.vr == "SQ" and element.tag != PIXEL_DATA:
            value = whole(self.source, element.offset, element.end - element.offset)
            if _ENCAPSULATED in value:
                self._sequence(value, element)
                return
        for position in range(element.offset, element.end, _STEP):
            self.sink.take(whole(self.source, position, min(_STEP, element.end - position)))

    def _sequence(self, value: bytes, element: Element) -> None:
        """A sequence in which there are compressed pixels too, an icon for example."""
        if self.depth >= DEPTH_CAP // 2:
            raise Malformed("sequences are nested too deep")
        by = element.offset
        shifted = element._replace(offset=0, value=element.value - by, end=element.end - by)
        self.sink.take(_WRITE.header(element.tag, "SQ", UNDEFINED))
        for inside in items(value, shifted, EXPLICIT_LE):
            content = value[inside[0].offset : inside[-1].end] if inside else b""
            made = bytearray()
            room = self.sink.at_most - self.sink.length
            _Decoding(BytesSource(content), self.transfer_syntax, _Sink(made.extend, room), self.depth + 1).run()
            self.sink.take(_WRITE.header(ITEM, "", len(made)) + bytes(made))
        self.sink.take(_WRITE.header(SEQUENCE_END, "", 0))

    def _number(self, tag: int) -> int:
        value = self.shape.get(tag, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else 0


def _encapsulated(source: Source) -> EncapsulatedFrames:
    frames = locate(source, EXPLICIT_LE)
    if not isinstance(frames, EncapsulatedFrames):
        raise Malformed("native Pixel Data in a compressed transfer syntax")
    return frames


def _inflated(source: Source) -> Iterator[bytes]:
    """A deflated dataset (PS3.5 section A.5), within a step of memory."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for position in range(0, source.length, _STEP):
            rest = whole(source, position, min(_STEP, source.length - position))
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, _STEP)
                rest = unpacker.unconsumed_tail
        while not unpacker.eof and (more := unpacker.decompress(b"", _STEP)):
            yield more
    except zlib.error as fault:
        raise Malformed(f"no deflate stream: {fault}") from fault
    if not unpacker.eof:
        raise Malformed("a deflate stream without its end")
