"""The disk of the state directory: how fast it is, how long a flush takes, how much is free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edge import status
from edge.clock import Clock
from edge.config import Cache
from edge.finding import Finding

_BYTES, _FLUSHES, _BLOCK = 16 << 20, 16, 4096
SLOW_FLUSH_MS, SLOW_BYTES_PER_SECOND = 50.0, 20e6
FEW_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Disk:
    """What was measured on a disk."""

    size_bytes: int
    free_bytes: int
    """Of them, what a user who is not root may fill."""
    free_files: int | None
    """Names that can still be made; None where the file system has no such number."""
    bytes_per_second: float | None = None
    """Written and flushed; None where there was no room to try."""
    flush_ms: float | None = None
    """Median of an fdatasync after 4 KiB more."""


def measure(directory: Path, clock: Clock, reserve_bytes: int) -> Disk:
    """The disk below `directory`, by a nameless file of 16 MiB that is gone afterwards; none is written where less than the reserve
    would be left. Raises OSError.
    """
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    disk = Disk(found.f_blocks * found.f_frsize, free, found.f_favail if found.f_files else None)
    if free < reserve_bytes + 2 * _BYTES:
        return disk
    descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        began = clock.monotonic()
        data = os.urandom(1 << 20)
        for _ in range(_BYTES // len(data)):
            os.write(descriptor, data)
        os.fdatasync(descriptor)
        speed = _BYTES / max(clock.monotonic() - began, 1e-9)
        times = []
        for _ in range(_FLUSHES):
            began = clock.monotonic()
            os.write(descriptor, data[:_BLOCK])
            os.fdatasync(descriptor)
            times.append((clock.monotonic() - began) * 1000)
    finally:
        os.close(descriptor)
    return Disk(disk.size_bytes, free, disk.free_files, speed, median(times))


def look(disk: Disk, cache: Cache) -> Iterator[Finding]:
    """What follows from it for these settings."""
    yield _free(disk, cache)
    if cache.max_bytes > disk.size_bytes:
        sentence = f"The cache may grow to {status.size(cache.max_bytes)}, and the disk has {status.size(disk.size_bytes)}."
        yield Finding("disk.size", "warning", sentence, "Set cache.max_bytes to about 80 percent of the disk.")
    if disk.free_files is not None and disk.free_files < FEW_FILES:
        sentence = f"The file system has room for {disk.free_files:,} more files only."
        yield Finding("disk.files", "fault", sentence, "Remove files of other programs, or make the file system anew with more inodes.")
    if disk.bytes_per_second is None or disk.flush_ms is None:
        yield Finding("disk.speed", "unknown", "How fast the disk is was not measured: it has no room for that.")
        return
    megabytes, milliseconds = disk.bytes_per_second / 1e6, disk.flush_ms
    slow = disk.bytes_per_second < SLOW_BYTES_PER_SECOND
    sentence = f"The disk writes {megabytes:.0f} MB/s."
    figures = {"megabytes_per_second": round(megabytes, 1)}
    yield Finding("disk.speed", "warning" if slow else "good", sentence, _SLOW if slow else "", figures)
    slow = milliseconds > SLOW_FLUSH_MS
    sentence = f"A flush to the disk takes {milliseconds:.1f} ms; each instance waits for one before it is acknowledged."
    yield Finding("disk.flush", "warning" if slow else "good", sentence, _SLOW if slow else "", {"milliseconds": round(milliseconds, 2)})


_SLOW = (
    "Look whether the disk is failing (`smartctl -a`, `dmesg`) or busy with something else; an SSD with power-loss protection flushes in "
    "less than 1 ms. Never switch flushing off."
)


def _free(disk: Disk, cache: Cache) -> Finding:
    free, figures = status.size(disk.free_bytes), {"bytes": float(disk.free_bytes)}
    if disk.free_bytes < cache.reserve_bytes:
        sentence = f"The disk has {free} free, less than the reserve of {status.size(cache.reserve_bytes)}: modalities are turned away."
        cure = (
            "Remove what other programs left there; `outpost evict` frees what the archive holds, `outpost capacity` says how it goes on."
        )
        return Finding("disk.free", "fault", sentence, cure, figures)
    return Finding("disk.free", "good", f"The disk has {free} free.", "", figures)
