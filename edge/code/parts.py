"""The coded tar as parts: each a slice of it in one zstd frame, so that `cat` of them, `zstd -d` and `tar x` open the pack."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard

from edge import tarblock
from edge.code.manifest import PART_MAX_BYTES, SLICE_MAX_BYTES, Manifest, PartEntry, inflate
from edge.durable import write_all
from edge.errors import Corrupt, Permanent

LEVEL = 9
"""zstd passes over JPEG-LS bytes at 400 MB/s and more; what stays verbatim it takes at 60 to 200 MB/s and makes some 3 % smaller than
level 3 does. Above 12, small gains cost ten times the time."""
_ONLY_LEVEL, _ONLY_BYTES = 19, 3 << 19
"""Of the only part of a small pack: at most 0.3 s, for what its head and its seals cost on the wire."""
_STEP_BYTES = 128 << 10
"""zstd's block: after so much input the compressed size is known."""
_PENDING_BYTES = 32 << 10
"""After so much input a block is ended at the member boundary, so that the compressed size is known there too."""
_SLICE_BYTES = 16 << 20
"""A part holds no more of the coded tar than this and one short member, however well it compresses."""
_LEAST, _MOST = 4 << 10, 7 << 18


class PartWriter:
    """Writes members of the coded tar into `<directory>/<number, 6 digits>`, from number 1. Each file appears complete, and is flushed.

    A part ends at the member boundary after it reached `part_bytes`; only a member that is longer than that is cut.
    """

    def __init__(self, directory: Path, part_bytes: int) -> None:
        if not _LEAST <= part_bytes <= _MOST:
            raise Permanent(f"part_bytes is {part_bytes}; use {_LEAST} to {_MOST}")
        self._directory = directory
        self._part_bytes = part_bytes
        self._entries: list[PartEntry] = []
        self._offset = 0
        self._begin = 0
        self._tar = bytearray()
        self._open()

    @property
    def offset(self) -> int:
        """Where in the coded tar the next header block goes."""
        return self._offset

    def add(self, name: str, prefix: str, size: int, mtime: int, content: Iterable[bytes]) -> None:
        """Append one member; `content` yields exactly `size` bytes, or ValueError."""
        self._roll()
        cut = size > self._part_bytes
        self._feed(tarblock.header(name, prefix, size, mtime))
        begin = self._offset
        for piece in content:
            for step in range(0, len(piece), _STEP_BYTES):
                if cut:
                    self._roll()
                self._feed(piece[step : step + _STEP_BYTES])
        if self._offset - begin != size:
            raise ValueError(f"{name}: {self._offset - begin} bytes of content, {size} announced")
        self._feed(bytes(tarblock.padding(size)))
        if self._pending >= _PENDING_BYTES:
            self._take(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def finish(self) -> list[PartEntry]:
        """End the tar and the last part."""
        self._feed(tarblock.ZERO_TAIL)
        frame = self._frame + self._compressor.flush()
        best: bytes | None = None
        if not self._entries and self._offset <= _ONLY_BYTES:
            best = zstandard.ZstdCompressor(level=_ONLY_LEVEL, write_checksum=True).compress(self._tar)
        self._write(frame if best is None or len(best) >= len(frame) else best)
        return self._entries

    def _feed(self, data: bytes) -> None:
        self._offset += len(data)
        self._pending += len(data)
        if self._offset <= _ONLY_BYTES:
            self._tar += data
        self._take(self._compressor.compress(data))

    def _take(self, frame: bytes) -> None:
        if frame:
            self._pending = 0
            self._frame += frame

    def _roll(self) -> None:
        if len(self._frame) >= self._part_bytes or self._offset - self._begin >= _SLICE_BYTES:
            self._write(self._frame + self._compressor.flush())
            self._begin = self._offset
            self._open()

    def _open(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._frame = bytearray()
        self._pending = 0

    def _write(self, frame: bytes | bytearray) -> None:
        number = len(self._entries) + 1
        path = self._directory / f"{number:06d}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            write_all(descriptor, frame)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._entries.append(
            PartEntry(
                number=number,
                tar_offset=self._begin,
                tar_length=self._offset - self._begin,
                bytes=len(frame),
                digest=hashlib.sha256(frame).hexdigest(),
            )
        )


class PartReader:
    """Reads ranges of the coded tar out of the parts that are here. Holds one inflated part at a time."""

    def __init__(self, manifest: Manifest, open_part: Callable[[int], int]) -> None:
        """`open_part` gives a descriptor of a part's file by its number; the reader closes it."""
        self._parts = manifest.parts
        self._open_part = open_part
        self._number = 0
        self._slice = b""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the coded tar. Raises Corrupt when a part is not, byte for byte, the one that the manifest names."""
        pieces: list[bytes] = []
        for part in self._parts[self._find(offset) :]:
            if length <= 0:
                break
            if part.number != self._number:
                self._load(part)
            begin = offset - part.tar_offset
            piece = self._slice[begin : begin + length]
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        if length > 0:
            raise Corrupt("a read past the end of the coded tar")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _find(self, offset: int) -> int:
        low, high = 0, len(self._parts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._parts[middle].tar_offset <= offset else (low, middle)
        return low

    def _load(self, part: PartEntry) -> None:
        self._number, self._slice = 0, b""
        with os.fdopen(self._open_part(part.number), "rb") as file:
            frame = file.read(PART_MAX_BYTES + 1)
        if len(frame) != part.bytes or hashlib.sha256(frame).hexdigest() != part.digest:
            raise Corrupt(f"part {part.number} is not what the manifest says")
        tar = inflate(frame, min(part.tar_length, SLICE_MAX_BYTES), f"part {part.number}")
        if len(tar) != part.tar_length:
            raise Corrupt(f"part {part.number} holds {len(tar)} bytes of the coded tar, the manifest says {part.tar_length}")
        self._number, self._slice = part.number, tar
