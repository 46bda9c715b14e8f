"""The coder: a closed pack in the cache -> head and parts in a directory, each member proven to come back bit for bit."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge import tarblock
from edge.code import pixels
from edge.code.apart import MemberWriter, listing
from edge.code.jobs import HEAD_APART, CodedMember, CodedPack, CodeJob, MemberRow
from edge.code.jpegls import recompress
from edge.code.manifest import FORMAT, HEAD_MAX_BYTES, Manifest, Member, Omitted, coded_bytes, is_name_of, objects, write_head
from edge.code.outline import outline
from edge.code.parts import PartWriter
from edge.code.rebuild import STEP_BYTES, rebuild
from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from edge.durable import flush_directory, read_errors, write_all
from edge.errors import Corrupt, Permanent
from edge.journal import PartFile
from edge.model import UID, Identity

HELD_MAX_BYTES = 512 << 20
"""A longer instance is not held in memory: it is copied verbatim."""
_WALKED_BYTES = 16 << 20
"""Of such an instance, the beginning is read for the head."""
_NATIVE = frozenset({EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE})
_NUMBERED = re.compile(r"[0-9]{6}")


class RottenPack(Corrupt):
    """The cached pack is not what was closed. What is whole in it is archived as another pack. Check the disk; its study is named."""


def code(job: CodeJob) -> CodedPack:
    """Write `job.target_dir`/000000 (head) and 000001... (parts), flushed, directory too, or what `job.form` says. The same pack gives the
    same bytes.

    Raises RottenPack when the pack file is not the one that was closed, Corrupt when it cannot be read, and OSError from the disk.
    """
    pack = os.open(job.pack_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        entries = _entries(job, pack)
        directory = Path(job.target_dir)
        _clear(directory)
        writer = MemberWriter(directory) if job.form == "instances" else PartWriter(directory, job.part_bytes)
        work = _Work(job, pack, writer)
        for row in _acquisition_order(job):
            work.code(row, entries[row.header_offset])
        parts = writer.finish()
        raw_bytes = os.fstat(pack).st_size
    finally:
        os.close(pack)
    manifest = Manifest(
        format=FORMAT,
        pack=job.pack,
        sha256=job.sha256,
        raw_bytes=raw_bytes,
        coded_bytes=writer.offset,
        study_uid=job.members[0].study,
        study=job.study,
        series=job.series,
        members=work.members,
        parts=parts,
        form=job.form,
    )
    head = write_head(manifest, work.heads)
    first = listing(manifest) if manifest.apart else head
    if manifest.apart:
        _write(directory / HEAD_APART, head)
    _write(directory / "000000", first)
    flush_directory(directory)
    files = [PartFile(number=0, bytes=len(first), digest=hashlib.sha256(first).hexdigest())]
    if not manifest.apart:
        files += [PartFile(number=part.number, bytes=part.bytes, digest=part.digest) for part in parts]
    return CodedPack(
        parts=files,
        raw_bytes=raw_bytes,
        coded_bytes=coded_bytes(manifest, len(head)),
        objects=objects(manifest),
        members=[CodedMember(sop_instance=member.sop_instance, digest=member.digest, coding=member.coding) for member in work.members],
    )


@dataclass(slots=True)
class _Work:
    """What grows while the members of a pack are coded one after another."""

    job: CodeJob
    pack: int
    writer: PartWriter | MemberWriter
    members: list[Member] = field(default_factory=list)
    heads: bytearray = field(default_factory=bytearray)

    def code(self, row: MemberRow, entry: tarblock.Entry) -> None:
        if _digest(self.pack, row.dataset_offset, row.dataset_length) != row.digest:
            raise RottenPack(f"pack {self.job.pack}: the dataset of {row.sop_instance} has lost its digest")
        begin = row.header_offset + tarblock.BLOCK
        held = entry.size <= HELD_MAX_BYTES
        raw = read_exactly(self.pack, begin, entry.size if held else _WALKED_BYTES)
        content = memoryview(raw)
        share = (HEAD_MAX_BYTES - len(self.heads)) // (len(self.job.members) - len(self.members))
        shape = outline(content, entry.size, row.dataset_offset - begin, row.transfer_syntax, share)
        head = b"".join(read_exactly(self.pack, begin + offset, length) for offset, length in _kept(shape.omitted, entry.size))
        pixel_data = shape.pixel_data() if held and row.transfer_syntax in _NATIVE else None
        native = pixels.describe(content, shape, pixel_data) if pixel_data else None
        member = Member(
            series=row.series,
            sop_instance=row.sop_instance,
            sop_class=row.sop_class,
            transfer_syntax=row.transfer_syntax,
            digest=row.digest,
            name=entry.name,
            received=entry.mtime,
            header_offset=row.header_offset,
            dataset_offset=row.dataset_offset,
            dataset_length=row.dataset_length,
            coding="verbatim",
            coded_header_offset=self.writer.offset,
            coded_data_offset=self.writer.offset + tarblock.BLOCK,
            coded_length=entry.size,
            pixels=native,
            fragments=0,
            head_offset=len(self.heads),
            head_length=len(head),
            omitted=list(shape.omitted),
            attributes=row.attributes,
            fault=row.fault,
        )
        if native and pixel_data and not self.job.verbatim and self.job.form == "parts":
            identity = Identity(UID(row.sop_class), UID(row.sop_instance), UID(row.series), UID(row.study))
            coded = recompress(content, shape, row.transfer_syntax, identity, native, pixel_data)
            if coded:
                candidate = msgspec.structs.replace(member, coding="jpegls", coded_length=len(coded.content), fragments=coded.fragments)
                if _comes_back(candidate, memoryview(head), coded.content, content):
                    self._add(candidate, head, (coded.content,))
                    return
        self._add(member, head, (raw,) if held else _pieces(self.pack, begin, entry.size))

    def _add(self, member: Member, head: bytes, content: Iterable[bytes]) -> None:
        self.writer.add(member.name, member.series, member.coded_length, member.received, content)
        self.members.append(member)
        self.heads += head


def _comes_back(member: Member, head: memoryview, coded: bytes, content: memoryview) -> bool:
    """The decoder makes the cached content again, every byte of it."""
    position = 0
    try:
        for piece in rebuild(member, head, lambda offset, length: coded[offset : offset + length]):
            if bytes(content[position : position + len(piece)]) != piece:
                return False
            position += len(piece)
    except pixels.Undecodable:
        return False
    return position == len(content)


def _entries(job: CodeJob, pack: int) -> dict[int, tarblock.Entry]:
    """The header blocks by offset, after the pack file was compared with its SHA-256 and with what the manifest can say of it."""
    size = os.fstat(pack).st_size
    if not job.members or {row.study for row in job.members} != {job.members[0].study}:
        raise Permanent(f"pack {job.pack}: a pack holds instances of one study")
    if _digest(pack, 0, size) != job.sha256:
        raise RottenPack(f"pack {job.pack}: the file has lost its SHA-256")
    entries: dict[int, tarblock.Entry] = {}
    position = 0
    for row in sorted(job.members, key=lambda row: row.header_offset):
        entry = tarblock.parse(os.pread(pack, tarblock.BLOCK, position))
        if (
            entry is None
            or row.header_offset != position
            or position + tarblock.BLOCK + entry.size != row.dataset_offset + row.dataset_length
            or not is_name_of(entry.name, row.sop_instance)
            or entry.prefix != row.series
        ):
            raise RottenPack(f"pack {job.pack}: at byte {position} does not lie what the catalogue says of {row.sop_instance}")
        entries[position] = entry
        end = position + tarblock.BLOCK + entry.size
        position = end + tarblock.padding(entry.size)
        if os.pread(pack, position - end, end).strip(b"\0"):
            raise RottenPack(f"pack {job.pack}: bytes between members at byte {end}")
    if position + len(tarblock.ZERO_TAIL) != size or os.pread(pack, size - position, position) != tarblock.ZERO_TAIL:
        raise RottenPack(f"pack {job.pack}: the tar does not end after the members that the catalogue knows")
    return entries


def _acquisition_order(job: CodeJob) -> list[MemberRow]:
    """Series by series as their first instances arrived; inside one by Instance Number, then as they arrived."""
    first: dict[str, int] = {}
    for row in job.members:
        first[row.series] = min(row.header_offset, first.get(row.series, row.header_offset))

    def key(row: MemberRow) -> tuple[int, float, int]:
        numbers = row.attributes.get("00200013", {}).get("Value") or [None]
        number = float(numbers[0]) if isinstance(numbers[0], int) else float("inf")
        return first[row.series], number, row.header_offset

    return sorted(job.members, key=key)


def _kept(omitted: Iterable[Omitted], size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what lies between the omitted ranges."""
    position = 0
    for gap in omitted:
        yield position, gap.offset - position
        position = gap.offset + gap.length
    yield position, size - position


def _pieces(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    for begin in range(0, length, STEP_BYTES):
        yield read_exactly(descriptor, offset + begin, min(STEP_BYTES, length - begin))


def _digest(descriptor: int, offset: int, length: int) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(descriptor, offset, length):
        digest.update(piece)
    return digest.hexdigest()


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """`length` bytes at `offset`. Raises RottenPack when the file ends before, Corrupt when they cannot be read, and Exhausted."""
    pieces: list[bytes] = []
    while length > 0:
        with read_errors():
            piece = os.pread(descriptor, length, offset)
        if not piece:
            raise RottenPack("the cached pack ends before its last member")
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _clear(directory: Path) -> None:
    """An empty place for the numbered files: what an earlier attempt left is removed."""
    directory.mkdir(mode=0o750, exist_ok=True)
    for name in os.listdir(directory):
        if _NUMBERED.fullmatch(name) or name == HEAD_APART:
            (directory / name).unlink()


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
