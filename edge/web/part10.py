"""An instance as a Part 10 file on its way out: as it is stored, or native pixels rewritten in Explicit VR Little Endian."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from edge.code.explicit import element_header, explicit
from edge.dataset.part10 import META_CAP, file_meta, read_file_meta
from edge.dataset.patch import Kept, PatchedSource, Pieces, cut, patch
from edge.dataset.source import PackSource, Source, elements
from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE, PIXEL_DATA, Element, Malformed
from edge.model import UID, Correction, Digest, Identity, Located
from edge.store.reader import Stored
from edge.web.faults import NotAcceptable
from edge.web.streaming import STEP, FileRange, Piece

REWRITTEN_MAX_BYTES = 64 << 20
"""The most, beside Pixel Data, that is rewritten in memory."""
_REPRESENTATION = 0x00280103


def as_stored(descriptor: int, stored: Stored) -> list[Piece]:
    """The bytes of its Part 10 file in the pack; where its study was corrected, with a file meta and digest of its own.

    Raises Corrupt where it cannot be corrected.
    """
    if stored.located.correction is None:
        return [FileRange(descriptor, stored.content_offset, stored.content_length)]
    _, pieces = _dataset(descriptor, stored.located, stored.located.correction)
    placed = _placed(descriptor, stored, pieces)
    return [_meta(descriptor, stored, stored.located.transfer_syntax, _digest(placed)), *placed]


def as_explicit(descriptor: int, stored: Stored) -> list[Piece]:
    """An instance that is stored in Implicit VR Little Endian, in Explicit: values untouched, file meta and digest of its own.

    Raises NotAcceptable for a dataset that cannot be walked to its end, or needs more than REWRITTEN_MAX_BYTES; Corrupt where it cannot
    be corrected.
    """
    located = stored.located
    source, stretches = _dataset(descriptor, located, located.correction)
    try:
        found = list(elements(source, located.transfer_syntax))
        signed = any(bytes(source.read(element.value, 1)) == b"\1" for element in found if element.tag == _REPRESENTATION)
        pixels = next((element for element in found if element.tag == PIXEL_DATA), None)
        around = _around(pixels, source.length)
        if sum(end - begin for begin, end in around) > REWRITTEN_MAX_BYTES:
            raise NotAcceptable
        rewritten = [explicit(source.read(begin, end - begin), IMPLICIT_LE, signed) for begin, end in around]
    except (Malformed, ValueError) as fault:
        raise NotAcceptable(f"Instance cannot be rewritten ({fault}). Ask with transfer-syntax=*.") from fault
    pieces: list[Piece] = [rewritten[0]]
    if pixels is not None:
        header = element_header(PIXEL_DATA, "OW", pixels.length)
        pieces += [header, *_placed(descriptor, stored, cut(stretches, pixels.value, pixels.length)), rewritten[1]]
    return [_meta(descriptor, stored, UID(EXPLICIT_LE), _digest(pieces)), *pieces]


def _dataset(descriptor: int, located: Located, correction: Correction | None) -> tuple[Source, Pieces]:
    """The dataset as it is answered, and what it is made of."""
    source = PackSource(descriptor, located.dataset_offset, located.dataset_length)
    if correction is None:
        return source, (Kept(0, source.length),)
    pieces = patch(source, located.transfer_syntax, correction)
    return PatchedSource(source, pieces), pieces


def _placed(descriptor: int, stored: Stored, pieces: Iterable[bytes | Kept]) -> list[Piece]:
    """The pieces of a dataset where they lie in the pack file."""
    base = stored.located.dataset_offset
    return [piece if isinstance(piece, bytes) else FileRange(descriptor, base + piece.offset, piece.length) for piece in pieces]


def _around(pixels: Element | None, length: int) -> list[tuple[int, int]]:
    """What is to be rewritten: all but the Pixel Data."""
    return [(0, length)] if pixels is None else [(0, pixels.offset), (pixels.end, length)]


def _meta(descriptor: int, stored: Stored, syntax: UID, digest: Digest) -> bytes:
    located = stored.located
    kept = read_file_meta(os.pread(descriptor, min(META_CAP, located.dataset_offset - stored.content_offset), stored.content_offset))
    identity = Identity(located.sop_class, located.sop_instance, located.series, located.study)
    return file_meta(identity, syntax, kept.source_ae, digest)


def _digest(pieces: Iterable[Piece]) -> Digest:
    total = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, bytes):
            total.update(piece)
            continue
        for begin in range(0, piece.length, STEP):
            total.update(os.pread(piece.descriptor, min(STEP, piece.length - begin), piece.offset + begin))
    return Digest(total.hexdigest())
