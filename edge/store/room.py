"""Room on the disk: who may write how far into what is free, and the ballast that is thrown off when nothing is.

| who | may write while free space stays above |
|---|---|
| reception, quarantine, recalls | `cache.reserve_bytes` |
| coding for the archive: only what is held can be evicted | half of it |
| the catalogue, closing of packs, eviction | nothing; where nothing is left, the ballast goes |
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from edge.errors import StoreFull

log = logging.getLogger(__name__)

INODES_KEPT = 100
"""Of a file system that counts them; of a small one, a twentieth of all."""


def disks(*places: Path) -> list[Path]:
    """One of these directories for each disk that they lie on."""
    return list({place.stat().st_dev: place for place in places}.values())


class Room:
    """The disk, or disks, under the state directory. Safe to use from several threads."""

    def __init__(
        self,
        places: Iterable[Path],
        reserve_bytes: int,
        ballast: Path | None = None,
        ballast_bytes: int = 0,
        refused: Callable[[], object] = lambda: None,
    ) -> None:
        """`places` are directories that are written to, one of each disk; `ballast` is a file of `ballast_bytes`, none where that is 0.
        `refused` is called, in any thread, whenever somebody is turned away at the reserve.
        """
        self._places = list(places)
        self._reserve = reserve_bytes
        self._ballast = ballast if ballast_bytes else None
        self._ballast_bytes = ballast_bytes
        self._refused = refused
        self._lock = threading.Lock()
        self.ballast_gone = False
        """The ballast was thrown off, and could not be taken on again yet."""

    def free(self) -> int:
        """Free bytes, of the fullest of the disks."""
        return min(found.f_bavail * found.f_frsize for found in map(os.statvfs, self._places))

    def left(self) -> int:
        """How many bytes may be written before the reserve is touched."""
        return max(0, self.free() - self._reserve)

    def demand(self, size: int = 0) -> None:
        """Raises StoreFull when `size` more bytes would touch the reserve, or no more files can be made."""
        try:
            self._demand(size, self._reserve)
            if self.ballast_gone:
                raise StoreFull
        except StoreFull:
            self._refused()
            raise

    def demand_for_archive(self, size: int) -> None:
        """As `demand`, for what makes packs evictable: it may use half of the reserve."""
        self._demand(size, self._reserve // 2)

    def give_way(self) -> None:
        """The disk is full: throw the ballast off, so that the catalogue can be written and packs can be evicted. Idempotent."""
        if self._ballast is None:
            return
        with self._lock:
            with suppress(OSError):
                self._ballast.unlink()
                log.error("the disk is full: the ballast of %d bytes is given up so that eviction can go on", self._ballast_bytes)
            self.ballast_gone = True

    def take_ballast(self) -> bool:
        """Make the ballast where it is missing and there is room for it above the reserve; whether it is there."""
        if self._ballast is None:
            return True
        with self._lock:
            if not self._ballast.exists():
                if self.free() < self._reserve + 2 * self._ballast_bytes or not _allocate(self._ballast, self._ballast_bytes):
                    return False
                log.info("ballast of %d bytes is on the disk", self._ballast_bytes)
            self.ballast_gone = False
            return True

    def scarce(self) -> bool:
        """Whether so little is left that the ballast is to go now, before the catalogue meets a full disk."""
        return self._ballast is not None and not self.ballast_gone and self.free() < self._ballast_bytes // 8

    def _demand(self, size: int, floor: int) -> None:
        for found in map(os.statvfs, self._places):
            if found.f_bavail * found.f_frsize < floor + size or (found.f_files and found.f_favail < min(INODES_KEPT, found.f_files // 20)):
                raise StoreFull


def _allocate(path: Path, size: int) -> bool:
    """A file that truly occupies `size` bytes; false, and nothing of it stays, when the disk does not take it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)
    return True
