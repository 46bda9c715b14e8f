"""Sealed bytes on their way: each lies whole in a file from before its first byte is sent until the archive has confirmed it."""

from __future__ import annotations

import os
import threading
from collections.abc import Container
from hashlib import sha256
from pathlib import Path

from cloudsync.archive.port import md5_of
from cloudsync.ledger.values import Sealed
from edge.durable import flush_directory, write_whole
from edge.model import Digest, PackId

SITE = PackId("site")
"""Stands in for the pack of a site state."""


class SealedFiles:
    """`sealed/<pack>/<number>`. All methods block; call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # A folder goes with its last file, and must not go from under the next one.
        self._turn = threading.Lock()

    def keep(self, pack: PackId, number: int, data: bytes) -> Sealed:
        """Put the bytes into their file, flushed; the ledger records the answer before the first of them is sent."""
        path = self._path(pack, number)
        with self._turn:
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                flush_directory(self._root)
            write_whole(path, data, 0o600)
        return Sealed(len(data), Digest(sha256(data).hexdigest()), md5_of(data))

    def read(self, pack: PackId, number: int, recorded: Sealed) -> bytes | None:
        """The bytes that were recorded; None when the file does not hold exactly those."""
        try:
            data = self._path(pack, number).read_bytes()
        except FileNotFoundError:
            return None
        return data if sha256(data).hexdigest() == recorded.digest else None

    def drop(self, pack: PackId, number: int) -> None:
        """The archive has them, or nobody wants them. Idempotent."""
        path = self._path(pack, number)
        with self._turn:
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not os.listdir(path.parent):
                path.parent.rmdir()

    def sweep(self, kept: Container[tuple[PackId, int]]) -> None:
        """At start: remove what no row of the ledger names."""
        for directory in self._root.iterdir():
            if not directory.is_dir():
                directory.unlink()
                continue
            for path in directory.iterdir():
                if not path.name.isdigit() or (PackId(directory.name), int(path.name)) not in kept:
                    path.unlink()
            if not os.listdir(directory):
                directory.rmdir()

    def _path(self, pack: PackId, number: int) -> Path:
        return self._root / pack / f"{number:06d}"
