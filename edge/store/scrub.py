"""Scrub: what a pack file holds is compared with what was received, as the disk has it. Reading alone; who scrubs acts on what is found."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge import tarblock
from edge.dataset.part10 import META_CAP, read_file_meta
from edge.dataset.walk import Malformed
from edge.model import Digest
from edge.store.bare import BareFile
from edge.store.pack import digest_through

log = logging.getLogger(__name__)

UNREADABLE = frozenset({errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EUCLEAN, errno.EREMOTEIO})
"""With which a disk or a file system says that it has lost what was written."""
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an instance should lie in its pack file."""

    header_offset: int
    dataset_offset: int
    dataset_length: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Whole:
    """A pack file that should be, byte for byte, what was closed."""

    bytes: int
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a pack file found."""

    file: tuple[int, int] | None
    """Device and number of the file that was read; None where there is none."""
    rotten: tuple[Extent, ...] = ()
    """Instances whose dataset is not what was received, or cannot be read."""
    worn: tuple[Extent, ...] = ()
    """Instances whose dataset is, and the file around it is not; all of the others where it cannot be said which."""

    @property
    def sound(self) -> bool:
        """Everything in the pack proved itself."""
        return not self.rotten and not self.worn


def examine(path: Path, members: Sequence[Extent], whole: Whole | None, pace: Callable[[int], None]) -> Found:
    """Read a pack file, past the page cache, and compare it: as a whole, or where only a part of it is here, each of these instances.

    `pace` is called before so many bytes are read; what it raises ends the look. Raises OSError for what says nothing about the bytes.
    """
    try:
        opened = BareFile(path)
    except FileNotFoundError:
        return Found(None, tuple(members))
    with opened as file:

        def read(length: int, offset: int) -> bytes:
            pace(length)
            return file.read(length, offset)

        stat = os.stat(path, follow_symlinks=False)
        place = stat.st_dev, stat.st_ino
        if whole is not None and file.size == whole.bytes and _digest(read, 0, whole.bytes) == whole.sha256:
            return Found(place)
        rotten = tuple(one for one in members if _digest(read, one.dataset_offset, one.dataset_length) != one.digest)
        others = tuple(one for one in members if one not in rotten)
        worn = tuple(one for one in others if not _dressed(read, one))
        return Found(place, rotten, others if whole is not None and not (rotten or worn) else worn)


def _digest(read: Callable[[int, int], bytes], offset: int, length: int) -> Digest | None:
    """None where the disk does not give the bytes."""
    try:
        return digest_through(read, offset, length)
    except OSError as fault:
        if fault.errno not in UNREADABLE:
            raise
        log.error("bytes %d to %d cannot be read: %s", offset, offset + length, fault.strerror)
        return None


def _dressed(read: Callable[[int, int], bytes], one: Extent) -> bool:
    """Whether header block, file meta and padding of an instance are such as reception writes them."""
    begin, end = one.header_offset + tarblock.BLOCK, one.dataset_offset + one.dataset_length
    try:
        entry = tarblock.parse(read(tarblock.BLOCK, one.header_offset))
        meta = read_file_meta(read(min(META_CAP, one.dataset_offset - begin), begin))
        padding = read(tarblock.padding(end), end)
    except Malformed:
        return False
    except OSError as fault:
        if fault.errno not in UNREADABLE:
            raise
        return False
    fits = entry is not None and entry.size == end - begin
    return fits and meta.digest == one.digest and meta.dataset_offset == one.dataset_offset - begin and not padding.strip(b"\0")


def read_when_idle() -> None:
    """Have the disk serve what this thread reads only when nobody else wants anything, where its scheduler knows that (ioprio_set(2)).

    Advice: a refusal is ignored. Only reading is put back: a thread of low priority in itself would hold up the others of its process.
    """
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
