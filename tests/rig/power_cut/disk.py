"""The disk itself: a FUSE process with one file `disk` under a loop device, that puts every write and every flush on tape.

`python -m tests.rig.power_cut.disk IMAGE TAPE MOUNTPOINT`. What is written to its file `notes` is put on tape between them, before the
write returns. Bytes written to its file `fault` make the next write of the disk that holds them fail, once, with EIO.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from pathlib import Path

import mfusepy

HEAD = struct.Struct("<cQQ")
"""Kind, offset, length of the data that follows."""
WRITE, FLUSH, NOTE = b"W", b"F", b"N"
NAMES = ("disk", "notes", "fault")


class Disk(mfusepy.Operations):
    """One thread answers one request after the other: the tape has them in the order in which they were done."""

    use_ns = True

    def __init__(self, image: Path, tape: Path) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._image).st_size
        self._tape = os.open(tape, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._fault = b""

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path[1:] not in NAMES:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size if path == "/disk" else 0}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *NAMES]

    def open(self, path: str, flags: int) -> int:
        return NAMES.index(path[1:])

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._image, size, offset) if path == "/disk" else b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == "/fault":
            self._fault = data
            return len(data)
        if path == "/notes":
            self._record(NOTE, 0, data)
            return len(data)
        if self._fault and self._fault in data:
            self._fault = b""
            raise mfusepy.FuseOSError(errno.EIO)
        os.pwrite(self._image, data, offset)
        self._record(WRITE, offset, data)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if path == "/disk":
            self._record(FLUSH, 0, b"")
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def _record(self, kind: bytes, offset: int, data: bytes) -> None:
        os.writev(self._tape, [HEAD.pack(kind, offset, len(data)), data])


if __name__ == "__main__":
    mfusepy.FUSE(Disk(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3], foreground=True, nothreads=True, direct_io=True)
