"""One compressed frame decoded to native cells (PS3.5 section 8.2): in a worker process, and only where its header fits the instance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jpeg_ls
import numpy
from imagecodecs import dicomrle_decode, jpeg2k_decode, jpeg8_decode

from edge.code.codestream import Undecodable, bare_jpeg_2000, read_jpeg, read_jpeg_2000

FRAME_MAX_BYTES = 60_000_000
"""Of the cells of one frame: the largest mammograms have 56 million, and OpenJPEG takes four times as much memory."""

RLE = "1.2.840.10008.1.2.5"
JPEG = frozenset({f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)})
JPEG_LS = frozenset({f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)})
JPEG_2000 = frozenset({f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)})
"""JPEG 2000, and High-Throughput JPEG 2000."""

_Cells = Any
"""A numpy array of rows, columns and samples."""
_LOSSLESS_PROCESS = 3
_SUBSAMPLED = {"YBR_FULL_422": "YBR_FULL"}
_LIBRARY_FAULTS = (RuntimeError, ValueError, TypeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a dataset says of each of its frames (PS3.3 section C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    allocated: int
    """Bits of a cell: 8, 16 or 32."""
    signed: bool
    photometric: str

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.allocated // 8


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: little-endian cells, the samples of a pixel side by side."""

    cells: memoryview
    photometric: str
    """Photometric Interpretation (0028,0004) of the cells."""
    lossy: bool
    """The codestream says that it lost something."""


def decode(stream: bytes, transfer_syntax: str, shape: Shape) -> Frame:
    """Raises Undecodable, also for what would take more than FRAME_MAX_BYTES."""
    if not 0 < shape.frame_bytes <= FRAME_MAX_BYTES:
        raise Undecodable(f"a frame of {shape.frame_bytes} bytes")
    try:
        if transfer_syntax == RLE:
            return _rle(stream, shape)
        if transfer_syntax in JPEG:
            return _jpeg(stream, shape)
        if transfer_syntax in JPEG_LS:
            return _jpeg_ls(stream, shape)
        if transfer_syntax in JPEG_2000:
            return _jpeg_2000(stream, shape)
    except _LIBRARY_FAULTS as fault:
        raise Undecodable(f"a codestream that does not decode: {fault}") from fault
    raise Undecodable("a transfer syntax that is not decoded")


def _rle(stream: bytes, shape: Shape) -> Frame:
    """PS3.5 annex G: byte planes of each sample, the most significant first."""
    if int.from_bytes(stream[:4], "little") != shape.samples * shape.allocated // 8:
        raise Undecodable("an RLE frame of another number of segments")
    planes = numpy.frombuffer(dicomrle_decode(stream, f"<u{shape.allocated // 8}"), f"<u{shape.allocated // 8}")
    if planes.size != shape.rows * shape.columns * shape.samples:
        raise Undecodable("an RLE frame of another size")
    cells = planes.reshape(shape.samples, shape.rows, shape.columns).transpose(1, 2, 0)
    return _frame(cells, shape, shape.allocated, signed=False)


def _jpeg(stream: bytes, shape: Shape) -> Frame:
    header = read_jpeg(stream)
    _demand(shape, (header.rows, header.columns, len(header.components)), header.precision)
    lossless = header.process == _LOSSLESS_PROCESS
    space = to = None
    photometric = shape.photometric
    if shape.samples == 3:
        # What the codestream says of its colours goes before what the dataset says: JFIF is YCbCr, Adobe names its transform.
        transformed = photometric.startswith("YBR") if header.adobe is None else header.adobe == 1
        if header.adobe is None and not lossless:
            transformed = (transformed or header.jfif) and bytes(header.components) != b"RGB"
        space, to = ("YCBCR", "RGB") if transformed and not lossless else ("RGB", "RGB")
        photometric = photometric if lossless else "RGB"
    cells = jpeg8_decode(stream, colorspace=space, outcolorspace=to)
    return _frame(cells, replace(shape, photometric=photometric), header.precision, signed=False, lossy=not lossless)


def _jpeg_ls(stream: bytes, shape: Shape) -> Frame:
    header = read_jpeg(stream)
    _demand(shape, (header.rows, header.columns, len(header.components)), header.precision)
    data, said = jpeg_ls.decode_buffer(stream)
    cells = numpy.frombuffer(data, "<u2" if header.precision > 8 else "u1")
    if shape.samples == 3 and said["interleave_mode"] == 0:
        cells = cells.reshape(3, shape.rows, shape.columns).transpose(1, 2, 0)
    return _frame(cells, shape, header.precision, signed=False, lossy=header.near > 0)


def _jpeg_2000(stream: bytes, shape: Shape) -> Frame:
    stream = bare_jpeg_2000(stream)
    header = read_jpeg_2000(stream)
    _demand(shape, (header.rows, header.columns, header.components), header.precision)
    cells = jpeg2k_decode(stream, numthreads=1)
    photometric = "RGB" if shape.photometric in {"YBR_ICT", "YBR_RCT"} or header.colour_transform else shape.photometric
    shape = replace(shape, photometric=photometric)
    return _frame(cells, shape, header.precision, signed=header.signed, lossy=not header.reversible)


def _demand(shape: Shape, size: tuple[int, int, int], precision: int) -> None:
    if size != (shape.rows, shape.columns, shape.samples) or not 2 <= precision <= min(shape.allocated, 16):
        raise Undecodable("a codestream of another frame")


def _frame(cells: _Cells, shape: Shape, precision: int, *, signed: bool, lossy: bool = False) -> Frame:
    """The cells at Bits Allocated; negative ones with their sign in every bit above (as a modality writes them natively)."""
    width = shape.allocated // 8
    if cells.size != shape.rows * shape.columns * shape.samples:
        raise Undecodable("a codestream that decodes to another size")
    if shape.signed and not signed and precision < shape.allocated:
        half = 1 << (precision - 1)
        cells = (cells.astype(f"<i{width}") ^ half) - half
    laid = numpy.ascontiguousarray(cells, dtype=f"<u{width}" if cells.dtype.kind == "u" else f"<i{width}")
    return Frame(laid.reshape(-1).view("u1").data, _SUBSAMPLED.get(shape.photometric, shape.photometric), lossy)
