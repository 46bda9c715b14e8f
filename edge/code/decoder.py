"""The decoder: head and parts of an archived pack -> the cached pack's bytes at their old offsets, in a sparse file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge import tarblock
from edge.code.apart import MemberReader
from edge.code.jobs import DecodeJob, FinishJob, Restored
from edge.code.manifest import HEAD_MAX_BYTES, PART_MAX_BYTES, Head, Manifest, Member, covering, read_head
from edge.code.parts import PartReader
from edge.code.pixels import Undecodable
from edge.code.rebuild import STEP_BYTES, rebuild
from edge.durable import flush_directory
from edge.errors import Corrupt
from edge.wall import Gate

HELD_MAX_BYTES = 512 << 20
"""A longer instance is decoded twice, once for its digest and once to write it, instead of being held in memory."""


def restore(job: DecodeJob) -> list[Restored]:
    """Restore every requested member that the parts cover, and flush once; repeating it is harmless.

    A member whose digest is wrong, or whose coded bytes do not decode, is reported, and nothing of it is written. Raises Corrupt when the
    head, or a part, is not what was archived; Trespass from the Gate; OSError from the disk.
    """
    head = _head(job.head_path, job.pack)
    manifest = head.manifest
    wanted = range(len(manifest.members)) if job.members is None else sorted(set(job.members))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < len(manifest.members):
        raise Corrupt(f"pack {job.pack} has no member {wanted[-1]}")
    covered = [index for index in wanted if job.parts.keys() >= set(covering(manifest, [index]))]
    reader = _reader(job, head)
    path = Path(job.target_path)
    fresh = not path.exists()
    target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        restored = [Restored(index=index, digest_ok=_restore(head, manifest.members[index], reader, target)) for index in covered]
        os.fdatasync(target)
    finally:
        os.close(target)
    if fresh:
        flush_directory(path.parent)
    return restored


def finish(manifest: Manifest, target_path: Path) -> bool:
    """Write the zero blocks that end the pack, flush, and compare its SHA-256. Idempotent; false when members are missing."""
    target = os.open(target_path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(target, manifest.raw_bytes)
        _write(target, tarblock.ZERO_TAIL, manifest.raw_bytes - len(tarblock.ZERO_TAIL))
        os.fdatasync(target)
        digest = hashlib.sha256()
        for begin in range(0, manifest.raw_bytes, STEP_BYTES):
            digest.update(os.pread(target, min(STEP_BYTES, manifest.raw_bytes - begin), begin))
    finally:
        os.close(target)
    return digest.hexdigest() == manifest.sha256


def finish_job(job: FinishJob) -> bool:
    """`finish` for a head that lies in a file."""
    return finish(_head(job.head_path, job.pack).manifest, Path(job.target_path))


def _restore(head: Head, member: Member, reader: PartReader | MemberReader, target: int) -> bool:
    def pieces() -> Iterator[bytes]:
        return rebuild(member, head.of(member), lambda offset, length: reader.read(member.coded_data_offset + offset, length))

    held: list[bytes] = []
    before = member.dataset_offset - member.content_offset
    digest, position = hashlib.sha256(), 0
    try:
        for piece in pieces():
            digest.update(piece[max(0, before - position) :])
            position += len(piece)
            if member.content_length <= HELD_MAX_BYTES:
                held.append(piece)
    except Undecodable:
        return False
    if digest.hexdigest() != member.digest or position != member.content_length:
        return False
    offset = member.content_offset
    for piece in held or pieces():
        _write(target, piece, offset)
        offset += len(piece)
    _write(target, bytes(tarblock.padding(member.content_length)), offset)
    # The header block is last: a member that has one is whole.
    _write(target, tarblock.header(member.name, member.series, member.content_length, member.received), member.header_offset)
    return True


def _head(path: str, pack: str) -> Head:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        head = read_head(file.read(HEAD_MAX_BYTES + 1))
    if head.manifest.pack != pack:
        raise Corrupt(f"the head of pack {head.manifest.pack} lies where that of {pack} belongs")
    return head


def _reader(job: DecodeJob, head: Head) -> PartReader | MemberReader:
    if head.manifest.apart:
        return MemberReader(head, lambda number: _open_part(job, number, tarblock.SIZE_MAX))
    return PartReader(head.manifest, lambda number: _open_part(job, number, PART_MAX_BYTES))


def _open_part(job: DecodeJob, number: int, at_most: int) -> int:
    path = job.parts[number]
    if job.inbox is not None:
        return Gate(Path(job.inbox), job.inbox_owner).open(path, at_most)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Corrupt(f"part {number} is no regular file")
    return descriptor


def _write(target: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(target, data, offset)
        data, offset = data[written:], offset + written
