"""Faults of what is flushed when, at the calls by which the product speaks to the disk."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from contextlib import suppress

_fdatasync, _fsync, _pwrite, _ftruncate = os.fdatasync, os.fsync, os.pwrite, os.ftruncate
LATE_SECONDS = 0.3


def no_flush_of_the_pack() -> None:
    os.fdatasync = _unless(_is_open_pack, _fdatasync)


def no_directory_flush() -> None:
    os.fsync = _unless(_is_open_directory, _fsync)


def answer_before_the_flush() -> None:
    def fdatasync(descriptor: int) -> None:
        if not _is_open_pack(descriptor):
            _fdatasync(descriptor)
            return
        later = threading.Timer(LATE_SECONDS, _flush_and_close, [os.dup(descriptor)])
        later.daemon = True
        later.start()

    os.fdatasync = fdatasync


def retry_after_an_error() -> None:
    def fdatasync(descriptor: int) -> None:
        try:
            _fdatasync(descriptor)
        except OSError:
            _fdatasync(descriptor)

    os.fdatasync = fdatasync


def header_blocks_first() -> None:
    """What is written to a pack waits for its flush; then header block and file meta are flushed in their place, the data after them."""
    waiting: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)

    def pwrite(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if not _is_open_pack(descriptor):
            return _pwrite(descriptor, data, offset)
        waiting[descriptor].append((offset, bytes(data)))
        return len(data)

    def ftruncate(descriptor: int, length: int) -> None:
        waiting.pop(descriptor, None)
        _ftruncate(descriptor, length)

    def fdatasync(descriptor: int) -> None:
        writes = sorted(waiting.pop(descriptor, []))
        if writes:
            _ftruncate(descriptor, max(offset + len(data) for offset, data in writes))
        for offset, data in writes:
            _pwrite(descriptor, data, offset)
            _fdatasync(descriptor)
        _fdatasync(descriptor)

    os.pwrite, os.ftruncate, os.fdatasync = pwrite, ftruncate, fdatasync


def _unless(skipped, call):
    def flush(descriptor: int) -> None:
        if not skipped(descriptor):
            call(descriptor)

    return flush


def _flush_and_close(descriptor: int) -> None:
    with suppress(OSError):
        _fdatasync(descriptor)
    os.close(descriptor)


def _is_open_pack(descriptor: int) -> bool:
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    return "/cache/open/" in name and name.endswith(".tar")


def _is_open_directory(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").endswith("/cache/open")
