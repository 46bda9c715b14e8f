"""Datasets that cannot be filed are set aside, one file for each digest, never thrown away.

Beside each lies what is known about it, because the dataset may not say so itself: the catalogue can be made again from both.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.durable import disk_errors, flush_directory, write_all, write_whole
from edge.errors import StoreFull
from edge.model import Digest, parse_digest

log = logging.getLogger(__name__)


class QuarantineFull(StoreFull):
    """Quarantine is at its cap. Look at what lies there, or raise `cache.quarantine_max_bytes`; a faulty device may be sending."""


@dataclass(frozen=True, slots=True)
class About:
    """Why a dataset was set aside, and how it came."""

    reason: str
    bytes: int
    syntax: str
    sop_instance: str
    """As the request named it, whatever the dataset says."""
    source_ae: str
    received_at: float


class Allowance:
    """What quarantine may hold, shared by all who write into it at the same time. Safe to use from several threads."""

    def __init__(self, max_bytes: int, recorded: Callable[[], int]) -> None:
        """`recorded` says how many bytes the catalogue has in quarantine."""
        self._max = max_bytes
        self._recorded = recorded
        self._known = 0
        self._arriving: dict[object, int] = {}
        self._lock = threading.Lock()

    def begin(self, writer: object) -> None:
        with self._lock:
            self._known = self._recorded()
            self._arriving[writer] = 0

    def take(self, writer: object, count: int) -> None:
        """Raises QuarantineFull, and nothing is taken."""
        with self._lock:
            if self._known + sum(self._arriving.values()) + count > self._max:
                raise QuarantineFull
            self._arriving[writer] += count

    def end(self, writer: object) -> None:
        """What it wrote is recorded by now, or gone. Idempotent."""
        with self._lock:
            if self._arriving.pop(writer, None) is not None:
                self._known = self._recorded()


class QuarantineWriter:
    """One dataset on its way into quarantine: write, commit, and when that is recorded, or was not to be, cut."""

    def __init__(self, directory: Path, allowance: Allowance) -> None:
        """Raises StoreFull or StoreFailed."""
        self._directory = directory
        self._allowance = allowance
        self._path = directory / f".{secrets.token_hex(8)}.new"
        self._hash = hashlib.sha256()
        self.size = 0
        with disk_errors():
            self._descriptor: int | None = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        allowance.begin(self)

    def write(self, fragment: memoryview | bytes) -> None:
        """Raises QuarantineFull, StoreFull or StoreFailed."""
        self._allowance.take(self, len(fragment))
        self.size += len(fragment)
        self._hash.update(fragment)
        assert self._descriptor is not None
        with disk_errors():
            write_all(self._descriptor, fragment)

    def commit(self, about: About) -> Digest:
        """Durable when it returns, with what is known about it; the same dataset again is one file, of which the first is told."""
        digest = Digest(self._hash.hexdigest())
        assert self._descriptor is not None
        with disk_errors():
            os.fsync(self._descriptor)
            if not (self._directory / digest).exists():
                write_whole(_about(self._directory, digest), msgspec.json.encode(about))
            self._path.rename(self._directory / digest)
            flush_directory(self._directory)
        self._close()
        return digest

    def cut(self) -> None:
        """Nothing stays of what was not committed. Idempotent."""
        try:
            with disk_errors():
                self._path.unlink(missing_ok=True)
        finally:
            self._close()
            self._allowance.end(self)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove what was being written, or thrown away, when Outpost ended: nobody was told about it."""
    for path in directory.glob(".*.new"):
        path.unlink()
    for path in directory.glob("*.json"):
        if not path.with_suffix("").exists():
            path.unlink()


def set_aside(directory: Path) -> dict[Digest, About]:
    """What lies in quarantine, and what is known about it."""
    digests = (digest for path in directory.iterdir() if (digest := parse_digest(path.name)))
    return {digest: _told(directory, digest) for digest in digests}


def discard(directory: Path, digest: str) -> None:
    """Throw a dataset away. Idempotent; interrupted, the next sweep does the rest."""
    with disk_errors():
        (directory / digest).unlink(missing_ok=True)
        _about(directory, digest).unlink(missing_ok=True)
        flush_directory(directory)


def _told(directory: Path, digest: Digest) -> About:
    try:
        return msgspec.json.decode(_about(directory, digest).read_bytes(), type=About)
    except (FileNotFoundError, msgspec.MsgspecError) as fault:
        log.warning("quarantine/%s: who sent it is not known any more (%s)", digest, fault)
        found = (directory / digest).stat()
        return About("found at a start; who sent it is not known any more", found.st_size, "", "", "", found.st_mtime)


def _about(directory: Path, digest: str) -> Path:
    return directory / f"{digest}.json"
