"""Datasets that cannot be filed are set aside, one file for each digest, never thrown away."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from edge.durable import flush_directory, write_all
from edge.errors import StoreFull
from edge.model import Digest
from edge.store.pack import disk_errors


class QuarantineFull(StoreFull):
    """Quarantine is at its cap. Look at `outpost quarantine`, keep or discard what is there; a faulty device may be sending."""


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
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)

    def write(self, fragment: memoryview | bytes) -> None:
        """Raises QuarantineFull, StoreFull or StoreFailed."""
        self.size += len(fragment)
        if self.size > self._room:
            raise QuarantineFull
        self._hash.update(fragment)
        with disk_errors():
            write_all(self._descriptor, fragment)

    def commit(self) -> Digest:
        """Durable when it returns; the same dataset again is one file."""
        digest = Digest(self._hash.hexdigest())
        with disk_errors():
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._path.rename(self._directory / digest)
            flush_directory(self._directory)
        return digest

    def cut(self) -> None:
        """Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
            os.close(self._descriptor)


def sweep(directory: Path) -> None:
    """Remove what was being written when Outpost ended; nobody was told about it."""
    for path in directory.glob(".*.new"):
        path.unlink()
