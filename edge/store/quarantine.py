"""Datasets that cannot be filed are set aside, one file for each digest, never thrown away."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from edge.durable import disk_errors, flush_directory, write_all
from edge.errors import StoreFull
from edge.model import Digest


class QuarantineFull(StoreFull):
    """Quarantine is at its cap. Look at what lies there, or raise `cache.quarantine_max_bytes`; a faulty device may be sending."""


class QuarantineWriter:
    """One dataset on its way into quarantine: write, then commit or cut."""

    def __init__(self, directory: Path, room_bytes: int) -> None:
        """`room_bytes` is what the cap leaves. Raises StoreFull or StoreFailed."""
        self._directory = directory
        self._room = room_bytes
        self._path = directory / f".{secrets.token_hex(8)}.new"
        self._hash = hashlib.sha256()
        self.size = 0
        with disk_errors():
            self._descriptor: int | None = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)

    def write(self, fragment: memoryview | bytes) -> None:
        """Raises QuarantineFull, StoreFull or StoreFailed."""
        self.size += len(fragment)
        if self.size > self._room:
            raise QuarantineFull
        self._hash.update(fragment)
        assert self._descriptor is not None
        with disk_errors():
            write_all(self._descriptor, fragment)

    def commit(self) -> Digest:
        """Durable when it returns; the same dataset again is one file."""
        digest = Digest(self._hash.hexdigest())
        assert self._descriptor is not None
        with disk_errors():
            os.fsync(self._descriptor)
            self._path.rename(self._directory / digest)
            flush_directory(self._directory)
        self._close()
        return digest

    def cut(self) -> None:
        """Idempotent."""
        with disk_errors():
            self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove what was being written when Outpost ended; nobody was told about it."""
    for path in directory.glob(".*.new"):
        path.unlink()
