"""Corrections in what C-MOVE and C-GET send: new bytes between stretches of the pack file (edge.dataset.patch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edge.dataset.patch import patch
from edge.dimse.outgoing import Spliced, Stored
from edge.model import UID, Correction

_WINDOW = 1 << 16


def patched(dataset: Stored | Spliced, transfer_syntax: UID, correction: Correction) -> Spliced:
    """The corrected dataset, in the transfer syntax in which it is given. Raises Corrupt."""
    stored = dataset.pieces if isinstance(dataset, Spliced) else (dataset,)
    pieces: list[bytes | Stored] = []
    for piece in patch(_Reading(dataset), transfer_syntax, correction):
        pieces += [piece] if isinstance(piece, bytes) else _stretch(stored, piece.offset, piece.length)
    return Spliced(tuple(pieces))


class _Reading:
    """An outgoing dataset as a Source of edge.dataset."""

    def __init__(self, dataset: Stored | Spliced) -> None:
        self.length = dataset.length
        self.holes: Mapping[int, int] = {}
        self._dataset = dataset
        self._window = memoryview(b"")
        self._begin = 0

    def read(self, offset: int, count: int) -> memoryview:
        count = max(0, min(count, self.length - offset))
        if not self._begin <= offset <= offset + count <= self._begin + len(self._window):
            self._window = memoryview(bytearray(min(max(count, _WINDOW), self.length - offset)))
            self._begin = offset
            self._dataset.read_into([self._window], offset)
        return self._window[offset - self._begin :][:count]


def _stretch(pieces: tuple[bytes | Stored, ...], offset: int, length: int) -> Iterator[bytes | Stored]:
    for piece in pieces:
        size = len(piece) if isinstance(piece, bytes) else piece.length
        skip = min(offset, size)
        count = min(size - skip, length)
        if count:
            yield piece[skip : skip + count] if isinstance(piece, bytes) else replace(piece, offset=piece.offset + skip, length=count)
        offset, length = offset - skip, length - count
