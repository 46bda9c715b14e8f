"""The members of a pack as files of their own, for an archive that reads DICOM: written verbatim, read back as it gives them.

Part n is then member n: the Part 10 file of the cached pack, not compressed. The archive may write preamble and file meta anew; ours come
from the head, and the dataset from the file.
"""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from edge import tarblock
from edge.code.manifest import Head, Manifest, PartEntry
from edge.dataset.part10 import META_CAP, PREAMBLE, read_file_meta
from edge.dataset.walk import Malformed
from edge.durable import write_all
from edge.errors import Corrupt
from edge.listing import InstanceFile, write


class MemberWriter:
    """Writes each member into `<directory>/<number, 6 digits>`, from number 1, flushed. Counts places as the coded tar would have them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: list[PartEntry] = []
        self.offset = 0

    def add(self, _name: str, _prefix: str, size: int, _mtime: int, content: Iterable[bytes]) -> None:
        """Write one member; `content` yields exactly `size` bytes, or ValueError."""
        number, digest, written = len(self._entries) + 1, hashlib.sha256(), 0
        path = self._directory / f"{number:06d}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            for piece in content:
                digest.update(piece)
                write_all(descriptor, piece)
                written += len(piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if written != size:
            raise ValueError(f"{path.name}: {written} bytes of content, {size} announced")
        length = tarblock.BLOCK + size + tarblock.padding(size)
        self._entries.append(PartEntry(number=number, tar_offset=self.offset, tar_length=length, bytes=size, digest=digest.hexdigest()))
        self.offset += length

    def finish(self) -> list[PartEntry]:
        """The last one also stands for the blocks that would end the tar."""
        self.offset += len(tarblock.ZERO_TAIL)
        last = self._entries[-1]
        self._entries[-1] = msgspec.structs.replace(last, tar_length=last.tar_length + len(tarblock.ZERO_TAIL))
        return self._entries


class MemberReader:
    """Reads ranges of the coded tar that lie in members, out of the files that are here."""

    def __init__(self, head: Head, open_part: Callable[[int], int]) -> None:
        """`open_part` gives a descriptor of a member's file by its number; the reader closes it."""
        self._head = head
        self._open_part = open_part
        self._begins = [member.coded_data_offset for member in head.manifest.members]

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the coded tar, all of one member. Raises Corrupt when its file is none, or ends before."""
        index = bisect.bisect_right(self._begins, offset) - 1
        member = self._head.manifest.members[max(0, index)]
        place = offset - member.coded_data_offset
        if not 0 <= place <= place + length <= member.coded_length:
            raise Corrupt("a read outside of every member")
        meta = bytes(self._head.of(member)[: member.dataset_offset - member.content_offset])
        begin = meta[place : place + length]
        if len(begin) == length:
            return begin
        with os.fdopen(self._open_part(index + 1), "rb") as file:
            try:
                dataset = read_file_meta(file.read(len(PREAMBLE) + META_CAP)).dataset_offset
            except Malformed as fault:
                raise Corrupt(f"member {index + 1} did not come as a DICOM file: {fault}") from fault
            file.seek(dataset + max(0, place - len(meta)))
            rest = file.read(length - len(begin))
        if len(begin) + len(rest) != length:
            raise Corrupt(f"member {index + 1} came shorter than it went")
        return begin + rest


def listing(manifest: Manifest) -> bytes:
    """What cloudsync is told of the files: a pure function of the manifest."""
    return write(
        InstanceFile(manifest.study_uid, member.series, member.sop_instance, member.coded_length, member.digest)
        for member in manifest.members
    )
