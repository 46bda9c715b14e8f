"""Datasets that cannot be filed are set aside, one file for each digest, never thrown away.

Beside each lies what is known about it, because the dataset may not say so itself: the catalogue can be made again from both.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.dataset.source import PackSource
from edge.durable import disk_errors, flush_directory, write_all, write_whole
from edge.errors import StoreFull
from edge.model import Digest, parse_digest

log = logging.getLogger(__name__)


class QuarantineFull(StoreFull):
    """Quarantine is at its cap, or what this peer sent is. Look at what lies there (`outpost quarantine ls`), or raise
    `cache.quarantine_max_bytes` or `cache.quarantine_peer_max_bytes`; a faulty device may be sending.
    """


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


NEAR_PERCENT = 80
"""From here on people are told."""


class Allowance:
    """What quarantine may hold, and of one source, shared by all who write into it at the same time. Safe to use from several threads."""

    def __init__(self, max_bytes: int, peer_max_bytes: int, recorded: Callable[[], Mapping[str, int]]) -> None:
        """`recorded` says how many bytes the catalogue has in quarantine, by the AE title that sent them."""
        self._max = max_bytes
        self._peer_max = peer_max_bytes
        self._recorded = recorded
        self._known: Mapping[str, int] = {}
        self._arriving: dict[object, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def begin(self, writer: object, source_ae: str) -> None:
        with self._lock:
            self._known = self._recorded()
            self._arriving[writer] = source_ae, 0

    def take(self, writer: object, count: int) -> bool:
        """Whether there is room for so many bytes more; if not, nothing is taken."""
        with self._lock:
            source, taken = self._arriving[writer]
            of_source = self._known.get(source, 0) + sum(some for one, some in self._arriving.values() if one == source)
            every = sum(self._known.values()) + sum(some for _, some in self._arriving.values())
            if every + count > self._max or of_source + count > self._peer_max:
                return False
            self._arriving[writer] = source, taken + count
            return True

    def end(self, writer: object) -> None:
        """What it wrote is recorded by now, or gone. Idempotent."""
        with self._lock:
            if self._arriving.pop(writer, None) is not None:
                self._known = self._recorded()

    def alarms(self) -> list[str]:
        """What is nearly full, or full: from then on a modality is told that there is no room for what cannot be filed."""
        recorded = self._recorded()
        whole = _alarm("Quarantine holds", sum(recorded.values()), self._max)
        return whole + [
            alarm for source in sorted(recorded) for alarm in _alarm(f"Quarantine holds of {source}", recorded[source], self._peer_max)
        ]


class QuarantineWriter:
    """One dataset on its way into quarantine: write, commit, and when that is recorded, or was not to be, cut.

    What there is no room for is not kept, but looked at to its end: it may be what quarantine holds already.
    """

    def __init__(self, directory: Path, allowance: Allowance, source_ae: str) -> None:
        """Raises StoreFull or StoreFailed."""
        self._directory = directory
        self._allowance = allowance
        self._path = directory / f".{secrets.token_hex(8)}.new"
        self._hash = hashlib.sha256()
        self.size = 0
        with disk_errors():
            self._descriptor: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        allowance.begin(self, source_ae)

    def write(self, fragment: memoryview | bytes) -> None:
        """Raises StoreFull or StoreFailed."""
        self.size += len(fragment)
        self._hash.update(fragment)
        if self._descriptor is None:
            return
        if not self._allowance.take(self, len(fragment)):
            self.cut()
            return
        with disk_errors():
            write_all(self._descriptor, fragment)

    def source(self) -> PackSource | None:
        """What was written, to be read before it is committed or cut; None when there was no room for it."""
        return None if self._descriptor is None else PackSource(self._descriptor, 0, self.size)

    def commit(self, about: About) -> Digest:
        """Durable when it returns, with what is known about it; the same dataset again is one file, of which the first is told.

        Raises QuarantineFull when there was no room and it is not there already; StoreFull or StoreFailed.
        """
        digest = Digest(self._hash.hexdigest())
        with disk_errors():
            if (self._directory / digest).exists():
                self._path.unlink(missing_ok=True)
            elif self._descriptor is None:
                raise QuarantineFull
            else:
                os.fsync(self._descriptor)
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


def _alarm(holds: str, held: int, most: int) -> list[str]:
    if held * 100 < most * NEAR_PERCENT or not held:
        return []
    return [f"{holds} {held / 1e9:.1f} of {most / 1e9:.1f} GB: then what cannot be filed is refused. See `outpost quarantine ls`."]


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
