"""Files read past the page cache: after a failed flush the kernel drops what it could not write, and goes on showing it from memory."""

from __future__ import annotations

import errno
import logging
import mmap
import os
from pathlib import Path

log = logging.getLogger(__name__)

ALIGNED = 4096
WINDOW = 1 << 20


class BareFile:
    """One file as its disk has it, through O_DIRECT. Where the file system refuses that, its pages are dropped first, and the log says so.

    Used by one thread. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        """A link is not followed (ELOOP)."""
        self._descriptor = self._open(path)
        self._window = mmap.mmap(-1, WINDOW)
        self._begin = 0
        self._filled = 0

    def __enter__(self) -> BareFile:
        return self

    def __exit__(self, *fault: object) -> None:
        os.close(self._descriptor)
        self._window.close()

    @property
    def size(self) -> int:
        """Bytes, as the file is now."""
        return os.fstat(self._descriptor).st_size

    def read(self, length: int, offset: int) -> bytes:
        """As pread: at most `length` bytes, fewer at the end of the file only."""
        pieces: list[bytes] = []
        while length > 0:
            if not self._begin <= offset < self._begin + self._filled:
                self._fill(offset & -ALIGNED)
            inside = offset - self._begin
            if inside >= self._filled:
                break
            piece = self._window[inside : min(inside + length, self._filled)]
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def _fill(self, begin: int) -> None:
        self._begin, self._filled = begin, 0
        with memoryview(self._window) as window:
            while self._filled < WINDOW:
                with window[self._filled :] as rest:
                    count = self._read_some(rest, begin + self._filled)
                self._filled += count
                if count == 0 or count % ALIGNED:
                    break

    def _read_some(self, into: memoryview, offset: int) -> int:
        try:
            return os.preadv(self._descriptor, [into], offset)
        except OSError:  # a bad sector spoils its own page, not the whole window
            if self._filled:
                return 0
            with into[:ALIGNED] as page:
                return os.preadv(self._descriptor, [page], offset)

    def _open(self, path: Path) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | os.O_DIRECT)
            try:
                probe = mmap.mmap(-1, ALIGNED)
                os.preadv(descriptor, [probe], 0)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor
        except OSError as fault:
            if fault.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
        log.warning("%s lies on a file system without O_DIRECT: its pages are dropped before it is proven", path.name)
        descriptor = os.open(path, flags)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return descriptor
