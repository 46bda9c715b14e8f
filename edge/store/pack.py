"""The pack file: a ustar tar of instances of one study, only appended to (docs/formats.md, "Pack, in the cache").

A member is durable when its header block, its file meta with the digest, and its dataset are on disk by one flush. Until then nobody
was told about it, and a scan cuts it off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge import tarblock
from edge.dataset.part10 import META_CAP, FileMeta, file_meta, read_file_meta
from edge.dataset.walk import Malformed
from edge.durable import begin_writeback, disk_errors, flush_directory
from edge.errors import StoreFull
from edge.model import UID, Digest, Identity, PackId, Urgency, new_pack_id
from edge.tarblock import BLOCK

_READ = 1 << 20
PAGE = 4096
WRITEBACK_BYTES = 240 << 10

Read = Callable[[int, int], bytes]
"""(length, offset) -> bytes of a file, as os.pread has it."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where an instance lies in its pack file."""

    header_offset: int
    dataset_offset: int
    dataset_length: int
    digest: Digest


class OpenPack:
    """A pack that is being appended to, by one writer at a time."""

    def __init__(self, directory: Path, study: UID, urgency: Urgency) -> None:
        """Create the file and make its name durable. Raises StoreFull or StoreFailed."""
        self.id: PackId = new_pack_id()
        self.study = study
        self.urgency = urgency
        self.path = directory / f"{self.id}.tar"
        self.end = 0
        self.members = 0
        with disk_errors():
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            try:
                flush_directory(directory)
            except OSError:
                self.rest()
                self.path.unlink()
                raise

    def __repr__(self) -> str:
        return f"<OpenPack {self.id} {self.members} members {self.end} bytes>"

    def append(self, identity: Identity, transfer_syntax: UID, source_ae: str, received_at: int) -> MemberWriter:
        """Reserve the header block and file meta of the next member. One at a time: commit or cut it before the next."""
        return MemberWriter(self, identity, transfer_syntax, source_ae, received_at)

    def take_back(self, member: Member) -> None:
        """Cut off the member that was committed last: it is not admitted after all."""
        self.end = member.header_offset
        self.members -= 1
        with disk_errors():
            os.ftruncate(self.descriptor, self.end)

    def rest(self) -> None:
        """Give the descriptor back until the pack is woken: nothing is written meanwhile. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def wake(self) -> None:
        """Have a descriptor again. Idempotent. Raises StoreFull or StoreFailed."""
        if self.descriptor < 0:
            with disk_errors():
                self.descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self) -> None:
        self.rest()


class MemberWriter:
    """One member on its way into a pack: write fragments, then commit or cut."""

    def __init__(self, pack: OpenPack, identity: Identity, transfer_syntax: UID, source_ae: str, received_at: int) -> None:
        self._pack = pack
        self._identity = identity
        self._syntax = transfer_syntax
        self._source = source_ae
        self._received_at = received_at
        self._begin = pack.end
        self._dataset = pack.end + BLOCK + len(file_meta(identity, transfer_syntax, source_ae, None))
        self._end = self._dataset
        self._started = (self._dataset + PAGE - 1) & -PAGE
        """From where the disk has not begun to write; the page of the header block is written once, with the flush."""
        self._hash = hashlib.sha256()

    def write(self, fragment: memoryview | bytes) -> None:
        """The next bytes of the dataset. Raises StoreFull or StoreFailed."""
        if self._end - self._begin - BLOCK + len(fragment) > tarblock.SIZE_MAX:
            raise StoreFull("An instance over 8 GiB does not fit a pack member.")
        with disk_errors():
            _pwrite(self._pack.descriptor, fragment, self._end)
        self._end += len(fragment)
        if self._end - self._started >= WRITEBACK_BYTES:
            # The disk works while the peer still sends and while we hash: the flush then finds little left to do.
            whole_pages = self._end & -PAGE
            begin_writeback(self._pack.descriptor, self._started, whole_pages - self._started)
            self._started = whole_pages
        self._hash.update(fragment)

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())

    def commit(self, name: str) -> Member:
        """Fill the header block and the file meta and flush once: durable when it returns. `name` is the member's file name."""
        digest = self.digest
        content = self._end - self._begin - BLOCK
        meta = file_meta(self._identity, self._syntax, self._source, digest)
        header = tarblock.header(name, self._identity.series, content, self._received_at)
        padded = self._end + tarblock.padding(content)
        descriptor = self._pack.descriptor
        with disk_errors():
            if padded > self._end:
                _pwrite(descriptor, bytes(padded - self._end), self._end)
            _pwrite(descriptor, header + meta, self._begin)
            os.fdatasync(descriptor)
        self._pack.end = padded
        self._pack.members += 1
        return Member(self._begin, self._dataset, self._end - self._dataset, digest)

    def cut(self) -> None:
        """Cut the pack back to its last member. Idempotent."""
        with disk_errors():
            os.ftruncate(self._pack.descriptor, self._pack.end)


@dataclass(frozen=True, slots=True)
class Found:
    """A whole member that a scan found: its digest holds."""

    member: Member
    name: str
    series: str
    meta: FileMeta
    received_at: int
    end: int


def scan(descriptor: int) -> Iterator[Found]:
    """The members of a pack file that prove themselves, from its start. One whose bytes rotted is passed over by what its header says; a
    block that is no header ends the scan: a torn tail, or the zero blocks of a close.
    """
    return scan_through(partial(os.pread, descriptor), os.fstat(descriptor).st_size)


def scan_through(read: Read, size: int) -> Iterator[Found]:
    """As `scan`, of a file of `size` bytes that is read in another way."""
    position = 0
    while position + BLOCK <= size:
        entry = tarblock.parse(read(BLOCK, position))
        if entry is None or position + BLOCK + entry.size > size:
            return
        end = position + BLOCK + entry.size + tarblock.padding(entry.size)
        if (found := _prove(read, position, entry, end)) is not None:
            yield found
        position = end


def proves(descriptor: int, member: Member) -> bool:
    """Whether a pack file, which may have holes, holds this member whole."""
    entry = tarblock.parse(os.pread(descriptor, BLOCK, member.header_offset))
    if entry is None or member.header_offset + BLOCK + entry.size != member.dataset_offset + member.dataset_length:
        return False
    return digest_of(descriptor, member.dataset_offset, member.dataset_length) == member.digest


def _prove(read: Read, position: int, entry: tarblock.Entry, end: int) -> Found | None:
    try:
        meta = read_file_meta(read(min(entry.size, META_CAP), position + BLOCK))
    except Malformed:
        return None
    begin, length = position + BLOCK + meta.dataset_offset, entry.size - meta.dataset_offset
    digest = digest_through(read, begin, length)
    if digest != meta.digest:
        return None
    return Found(Member(position, begin, length, digest), entry.name, entry.prefix, meta, entry.mtime, end)


def digest_of(descriptor: int, offset: int, length: int) -> Digest:
    """SHA-256 of a byte range; of what is there when the file is shorter."""
    return digest_through(partial(os.pread, descriptor), offset, length)


def digest_through(read: Read, offset: int, length: int) -> Digest:
    """As `digest_of`, of a file that is read in another way."""
    total = hashlib.sha256()
    while length > 0:
        data = read(min(length, _READ), offset)
        if not data:
            break
        total.update(data)
        offset, length = offset + len(data), length - len(data)
    return Digest(total.hexdigest())


def _pwrite(descriptor: int, data: memoryview | bytes, offset: int) -> None:
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)
