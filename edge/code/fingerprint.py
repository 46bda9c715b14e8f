"""What a variant of an instance says, whatever its encoding: three digests by which two variants are compared.

Encoding, group lengths and trailing padding make no difference (docs/formats.md, "Identity"); native pixels and the lossless
compressions of them that can be decoded here are the same pixels.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Protocol

from edge.code.head_source import HeadSource
from edge.code.jobs import Fingerprint, FingerprintJob, Variant
from edge.code.manifest import HEAD_MAX_BYTES, Pixels, read_head
from edge.dataset.source import BytesSource, PackSource, Source, elements
from edge.dataset.vr import TEXT, WORDS, dictionary_vr, turned
from edge.dataset.walk import (
    DEFLATED_LE,
    DEPTH_CAP,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    PIXEL_DATA,
    UNDEFINED,
    Element,
    Malformed,
    inflate,
    walk,
)
from edge.errors import Corrupt

HELD_MAX_BYTES = 512 << 20
"""A longer instance is not decoded; a deflated one that inflates to more is compared as far as that."""
PADDING_MAX_BYTES = 4096

_STEP = 1 << 20
_DECODED = frozenset({"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"})
"""Lossless compressions that are decoded, to be compared with other encodings of the same pixels."""
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED, _FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280008
_SHAPE = frozenset({_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED, _FRAMES})
_PATIENT_ID, _BIRTH_DATE, _PADDING = 0x00100020, 0x00100030, 0xFFFCFFFC
_STUDY = frozenset(
    {0x00080005, 0x00080015, 0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080080, 0x00080081, 0x00080082, 0x00080090}
    | {0x00080092, 0x00080094, 0x00080096, 0x0008009C, 0x0008009D, 0x00081030, 0x00081032, 0x00081048, 0x00081049, 0x00081060}
    | {0x00081062, 0x00081080, 0x00081084, 0x00081110, 0x00081120, 0x00200010, 0x00321032, 0x00321033, 0x00321034, 0x00321060}
    | {0x00321064, 0x00324000, 0x00400275, 0x00401001, 0x00401003, 0x00402016, 0x00402017, 0x00400253, 0x04000561}
)
"""Beside group 0010 and visits (group 0038): what a modality fills in from patient, order and visit (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2),
with what records its change, and the character set that it takes.
"""


def fingerprints(job: FingerprintJob) -> list[Fingerprint | None]:
    """One for each variant; None for one whose bytes are away, and whose head does not say enough. Raises Corrupt for a wrong head."""
    return [_of_file(one) if one.head_path is None else _of_head(one, one.head_path) for one in job.variants]


def fingerprint(source: Source, transfer_syntax: str, known: Pixels | None = None) -> Fingerprint | None:
    """`known` are the pixels as the manifest has them, where they are not here; None as in `fingerprints`."""
    read: Source = source
    if transfer_syntax == DEFLATED_LE:
        if source.holes:
            return None
        try:
            read, transfer_syntax = BytesSource(inflate(source.read(0, source.length), HELD_MAX_BYTES)), EXPLICIT_LE
        except Malformed:
            transfer_syntax = EXPLICIT_LE
    work = _Print(transfer_syntax)
    end = 0
    try:
        for element in elements(read, transfer_syntax):
            if element.value in read.holes and not (element.tag == PIXEL_DATA and known is not None):
                return None
            work.add(read, element, known)
            end = element.end
    except Malformed:
        if read.holes:
            return None
        work.rest.update(b"behind the fault" + transfer_syntax.encode())
        for piece in _pieces(read, end, read.length - end):
            work.rest.update(piece)
    return work.done()


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


class _Print:
    def __init__(self, transfer_syntax: str) -> None:
        self.syntax = transfer_syntax
        self.study, self.rest = hashlib.sha256(), hashlib.sha256()
        self._shape: dict[int, bytes] = {}
        self._patient_id = self._birth_date = ""
        self._pixels = "none"

    def add(self, source: Source, element: Element, known: Pixels | None) -> None:
        tag = element.tag
        if tag & 0xFFFF == 0 or tag == _PADDING:
            return
        if tag in _PIXELS:
            self._pixels = f"native {known.sha256}" if element.value in source.holes and known else self._pixel_digest(source, element)
            return
        into = self.study if tag >> 16 in {0x0010, 0x0038} or tag in _STUDY else self.rest
        if element.end - element.value > HELD_MAX_BYTES:
            into.update(struct.pack("<LQ", tag, element.end - element.value))
            for piece in _pieces(source, element.value, element.end - element.value):
                into.update(piece)
            return
        value = bytes(source.read(element.value, element.end - element.value))
        if tag in _SHAPE:
            self._shape[tag] = value
        elif tag == _PATIENT_ID:
            self._patient_id = value.decode("latin-1").strip(" \0")
        elif tag == _BIRTH_DATE:
            self._birth_date = value.decode("latin-1").strip(" \0")
        _digest_element(into, tag, element.vr, element.length, memoryview(value), self.syntax, 0)

    def done(self) -> Fingerprint:
        return Fingerprint(
            study=self.study.hexdigest(),
            rest=self.rest.hexdigest(),
            pixels=self._pixels,
            patient_id=self._patient_id,
            birth_date=self._birth_date,
        )

    def _pixel_digest(self, source: Source, element: Element) -> str:
        if element.length == UNDEFINED:
            return self._decoded(source) or f"{self.syntax} {_digest(source, element.value, element.end - element.value)}"
        length = element.end - element.value
        size = self._cells()
        cells = size if 0 < size <= length <= size + PADDING_MAX_BYTES else length
        swapped = 2 if self.syntax == EXPLICIT_BE and element.vr == "OW" else 1
        return f"native {_digest(source, element.value, cells, swapped)}"

    def _cells(self) -> int:
        """Bytes of native pixels as the instance describes them; 0 where it does not."""
        big = self.syntax == EXPLICIT_BE
        rows, columns, samples, allocated = (
            int.from_bytes(self._shape.get(tag, b"")[:2], "big" if big else "little") for tag in (_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED)
        )
        frames = self._shape.get(_FRAMES, b"1").strip(b" \0") or b"1"
        count = int(frames) if frames.isdigit() and len(frames) <= 9 else 0
        return rows * columns * samples * allocated * count // 8

    def _decoded(self, source: Source) -> str | None:
        if self.syntax not in _DECODED or source.length > HELD_MAX_BYTES:
            return None
        from pydicom.dataset import FileMetaDataset  # noqa: PLC0415 - its decoders cost each coding worker 0.1 s at start; few need them
        from pydicom.filereader import read_dataset  # noqa: PLC0415
        from pydicom.pixels import get_decoder  # noqa: PLC0415

        digest = hashlib.sha256()
        try:
            dataset = read_dataset(BytesIO(source.read(0, source.length)), False, True)
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = self.syntax
            for cells, _ in get_decoder(self.syntax).iter_buffer(dataset, raw=True):
                digest.update(cells)
        except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, IndexError, EOFError, NotImplementedError, struct.error):
            return None  # pixels that do not decode are compared as the fragments that they are
        return f"native {digest.hexdigest()}"


def _digest_element(into: _Hash, tag: int, vr: str, length: int, value: memoryview, syntax: str, depth: int) -> None:
    """One element, in a form that is the same for every encoding of it."""
    implicit = syntax == IMPLICIT_LE
    mark = b"\xff\xfe\xe0\x00" if syntax == EXPLICIT_BE else b"\xfe\xff\x00\xe0"
    unknown = vr in {"", "UN"}
    meant = dictionary_vr(tag) if unknown else vr
    if meant == "SQ" or (unknown and bytes(value[:4]) == mark):
        inner = IMPLICIT_LE if vr == "UN" or implicit else syntax
        items = hashlib.sha256()
        try:
            count = _digest_items(items, value, inner, depth + 1)
        except Malformed:
            pass  # no sequence after all
        else:
            into.update(struct.pack("<LBQ", tag, 1, count) + items.digest())
            return
    if dictionary_vr(tag) in TEXT:
        value = memoryview(bytes(value).rstrip(b" \0"))
    elif syntax == EXPLICIT_BE and (width := WORDS.get(meant)):
        value = memoryview(turned(bytes(value), width))
    into.update(struct.pack("<LBQ", tag, 0, len(value)) + value)


def _digest_items(into: _Hash, value: memoryview, syntax: str, depth: int) -> int:
    """The items of a sequence; how many there were."""
    if depth > DEPTH_CAP // 2:
        raise Malformed("sequences are nested too deep")
    order = ">" if syntax == EXPLICIT_BE else "<"
    position = count = 0
    while position + 8 <= len(value):
        group, number, length = struct.unpack_from(order + "HHL", value, position)
        position += 8
        if (group, number) == (0xFFFE, 0xE0DD):
            break
        if (group, number) != (0xFFFE, 0xE000):
            raise Malformed("a sequence of something other than items")
        inner = value[position:] if length == UNDEFINED else value[position : position + length]
        content = hashlib.sha256()
        position += _digest_content(content, inner, syntax, length == UNDEFINED, depth)
        into.update(content.digest())
        count += 1
    return count


def _digest_content(into: _Hash, data: memoryview, syntax: str, delimited: bool, depth: int) -> int:
    """The elements of an item; how many bytes they took, the delimiter included."""
    end_mark = struct.pack((">" if syntax == EXPLICIT_BE else "<") + "HHL", 0xFFFE, 0xE00D, 0)
    if delimited and bytes(data[:8]) == end_mark:
        return 8
    position = 0
    for found in walk(data, syntax):
        position = found.end
        if found.tag & 0xFFFF:
            _digest_element(into, found.tag, found.vr, found.length, data[found.value : found.end], syntax, depth)
        if delimited and bytes(data[position : position + 8]) == end_mark:
            return position + 8
    if delimited:
        raise Malformed("an item without its delimiter")
    return position


def _of_file(one: Variant) -> Fingerprint | None:
    descriptor = os.open(one.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return fingerprint(PackSource(descriptor, one.dataset_offset, one.dataset_length), one.transfer_syntax)
    finally:
        os.close(descriptor)


def _of_head(one: Variant, head_path: str) -> Fingerprint | None:
    descriptor = os.open(head_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        head = read_head(file.read(HEAD_MAX_BYTES + 1))
    for member in head.manifest.members:
        if member.dataset_offset == one.dataset_offset:
            return fingerprint(HeadSource(head, member), one.transfer_syntax, member.pixels)
    raise Corrupt(f"the head of pack {head.manifest.pack} does not know an instance of it")


def _pieces(source: Source, offset: int, length: int) -> Iterator[bytes]:
    while length > 0:
        piece = bytes(source.read(offset, min(_STEP, length)))
        if not piece:
            raise Corrupt("a cached instance is shorter than the catalogue says")
        yield piece
        offset, length = offset + len(piece), length - len(piece)


def _digest(source: Source, offset: int, length: int, width: int = 1) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(source, offset, length):
        digest.update(turned(piece, width))
    return digest.hexdigest()
