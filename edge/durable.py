"""Files appear whole or not at all, through one function."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from edge.errors import Corrupt, Exhausted, StoreFailed, StoreFull

_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def write_whole(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Put `data` at `path` so that after a power cut either the whole file is there or what was there before.

    Idempotent. Raises OSError; then `path` is unchanged and no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    flush_directory(path.parent)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte at the descriptor's position; a short write is continued."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def flush_directory(path: Path) -> None:
    """Make created, renamed and removed names in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_writeback(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel start writing a byte range to the disk, so that the flush that follows finds little left to do.

    Advice, and no promise of durability: a refusal is ignored, an error of the disk is reported by the flush (sync_file_range(2)).
    """
    _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class disk_errors:
    """Maps errors of writing, once: no space is StoreFull, no descriptor or memory is Exhausted, and both pass. Anything else is
    StoreFailed, the disk itself, and Outpost stops.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, OSError):
            if fault.errno in _FULL:
                raise StoreFull from fault
            if fault.errno in _EXHAUSTED:
                raise Exhausted from fault
            raise StoreFailed(
                f"The disk under the state directory reported: {fault.strerror}. Check it; Outpost re-reads what it admitted."
            ) from fault


class read_errors:
    """Maps errors of reading what is stored, once: no descriptor or memory is Exhausted and passes; anything else is Corrupt.

    What cannot be read puts nothing in doubt that is being written, so Outpost goes on.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, OSError):
            if fault.errno in _EXHAUSTED:
                raise Exhausted from fault
            raise Corrupt(
                f"Something stored cannot be read: {fault.strerror}. Check the disk; `outpost scrub` proves what it holds."
            ) from fault
