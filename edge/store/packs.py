"""The open packs: lent to one writer at a time, closed when their study is quiet or they are full."""

from __future__ import annotations

import math
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge.clock import Clock
from edge.config import Cache
from edge.durable import disk_errors, flush_directory, write_all
from edge.errors import StoreFull
from edge.model import UID, Digest, PackId, Urgency
from edge.store.catalogue import Catalogue
from edge.store.pack import OpenPack, digest_of
from edge.tarblock import ZERO_TAIL

AWAKE_MAX = 256
"""Packs that wait for their study's next instance with a descriptor of their own; those that wait longest give theirs back."""


@dataclass(slots=True)
class _Study:
    idle: list[OpenPack] = field(default_factory=list)
    lent: int = 0
    used_at: float = 0.0
    """Monotonic."""
    urgency: Urgency = Urgency.ROUTINE


class OpenPacks:
    """A second writer of the same study takes or starts another pack; all of a study's close together. Safe to use from several threads."""

    def __init__(self, cache: Path, settings: Cache, catalogue: Catalogue, clock: Clock, awake_max: int = AWAKE_MAX) -> None:
        self._cache = cache
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock
        self._awake_max = awake_max
        self._studies: dict[UID, _Study] = {}
        self._full: list[OpenPack] = []
        self._awake: dict[PackId, OpenPack] = {}
        """Not lent, with a descriptor; who waits longest first."""
        self._lock = threading.Lock()

    def lend(self, study: UID, urgency: Urgency) -> OpenPack:
        """An open pack of the study, the caller's alone until `give_back`. Raises StoreFull or StoreFailed."""
        with self._lock:
            entry = self._studies.setdefault(study, _Study())
            entry.lent += 1
            if urgency is Urgency.STAT:
                entry.urgency = urgency
            for place, pack in enumerate(entry.idle):
                if pack.urgency is urgency:
                    try:
                        pack.wake()
                    except BaseException:
                        entry.lent -= 1
                        raise
                    self._awake.pop(pack.id, None)
                    return entry.idle.pop(place)
        try:
            return OpenPack(self._cache / "open", study, urgency)
        except BaseException:
            with self._lock:
                entry.lent -= 1
            raise

    def give_back(self, pack: OpenPack) -> None:
        with self._lock:
            entry = self._studies[pack.study]
            entry.lent -= 1
            entry.used_at = self._clock.monotonic()
            full = pack.end >= self._settings.pack_max_bytes or pack.members >= self._settings.pack_max_members
            (self._full if full else entry.idle).append(pack)
            self._let_rest(pack)

    def take_due(self, everything: bool = False) -> list[OpenPack]:
        """The packs that are to be closed now; with `everything`, every pack that is not lent."""
        now = self._clock.monotonic()
        with self._lock:
            due, self._full = self._full, []
            for study, entry in list(self._studies.items()):
                if entry.lent == 0 and (everything or now - entry.used_at >= self._quiet(entry)):
                    due += entry.idle
                    del self._studies[study]
            for pack in due:
                self._awake.pop(pack.id, None)
        return due

    def seconds_until_due(self) -> float:
        """Until the first study that is being received now is quiet, if nothing more comes of it; infinite when there is none."""
        now = self._clock.monotonic()
        with self._lock:
            return min((entry.used_at + self._quiet(entry) - now for entry in self._studies.values() if entry.lent == 0), default=math.inf)

    def _quiet(self, entry: _Study) -> float:
        return self._settings.stat_quiet_seconds if entry.urgency is Urgency.STAT else self._settings.quiet_seconds

    def close(self, pack: OpenPack) -> None:
        """Close a pack that `take_due` returned: end the tar, take its SHA-256, commit with a flush, move it out of `open/`. Packs of the
        study that had lost instances, and none that was not sent again since, are forgotten.

        Killed in between, the next start closes it again. Raises StoreFull, and can be called again then; or StoreFailed.
        """
        if pack.members == 0:
            with disk_errors():
                pack.path.unlink(missing_ok=True)
            pack.close()
            self._catalogue.forget_empty(pack.id)
            return
        closed_at = float(int(self._clock.now()))
        pack.wake()
        size, sha256 = end_tar(pack.descriptor, pack.end, closed_at)
        self._catalogue.close_pack(pack.id, closed_at, size, sha256)
        move_out(self._cache, pack.path)
        pack.close()
        with suppress(StoreFull):  # the next close of a pack of this study does it
            for (emptied,) in self._catalogue.rows("emptied_packs", pack.id):
                self._catalogue.forget_empty(emptied)
                with disk_errors():
                    (self._cache / emptied[:2] / f"{emptied}.tar").unlink(missing_ok=True)

    def put_off(self, pack: OpenPack) -> None:
        """A pack that could not be closed, because the disk is full, is due again."""
        with self._lock:
            self._full.append(pack)
            self._let_rest(pack)

    def _let_rest(self, pack: OpenPack) -> None:
        """Under the lock: this pack begins to wait."""
        self._awake[pack.id] = pack
        while len(self._awake) > self._awake_max:
            self._awake.pop(next(iter(self._awake))).rest()

    @property
    def studies(self) -> list[UID]:
        """The studies that are being received."""
        with self._lock:
            return list(self._studies)


def end_tar(descriptor: int, end: int, closed_at: float) -> tuple[int, Digest]:
    """Put the two zero blocks behind the last member and flush; the size and the SHA-256 of the file, whose mtime is when it was closed."""
    with disk_errors():
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        write_all(descriptor, ZERO_TAIL)
        os.utime(descriptor, (closed_at, closed_at))
        os.fsync(descriptor)
        size = end + len(ZERO_TAIL)
        return size, digest_of(descriptor, 0, size)


def move_out(cache: Path, path: Path) -> Path:
    """Move a closed pack from `open/` to its place in the cache, names flushed. Idempotent across a crash."""
    target = cache / path.name[:2] / path.name
    with disk_errors():
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o750, exist_ok=True)
            flush_directory(cache)
        path.rename(target)
        flush_directory(target.parent)
        flush_directory(path.parent)
    return target
