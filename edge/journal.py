"""The wall's journals: what edge wants of cloudsync (asks), and what cloudsync says happened (facts).

A journal is a directory of append-only JSON-line segments named `<first seq, 12 digits>.jsonl`. Its one writer flushes each line before
it tells anyone; the reader commits what it read, with its position, in one transaction of its own database, applies lines idempotently
by seq, and acknowledges by an `Ack` in its own journal; the writer then removes the segments that are acknowledged as a whole.
This table of kinds is the whole contract between the two sides.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.durable import disk_errors, flush_directory, write_all
from edge.errors import Corrupt, Permanent
from edge.wall import Gate

SEGMENT_BYTES = 1 << 20
LINE_BYTES = 1 << 20


class Line(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    """What every line carries. `seq` starts at 1 and has no gaps; the writer sets it."""

    seq: int = 0


class Ack(Line, frozen=True, tag="ack"):
    """Everything up to `upto` in the other journal is committed by its reader."""

    upto: int


class PartFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plaintext object of a coded pack in `outbox/<pack>/<number, 6 digits>`; number 0 is the head."""

    number: int
    bytes: int
    digest: str


class Coded(Line, frozen=True, tag="coded"):
    """Ask: a pack is coded and lies in the outbox; seal and ship it."""

    pack: str
    urgency: str
    instances: int
    raw_bytes: int
    sha256: str
    """Of the closed pack file in the cache."""
    study: dict[str, Any]
    """Study attributes in the DICOM JSON Model, patient attributes among them."""
    series: list[dict[str, Any]]
    parts: list[PartFile]
    form: str = "parts"
    """`parts`, or `instances` for an archive that reads DICOM: one part then, number 0, the listing of edge.listing."""


class SiteState(Line, frozen=True, tag="site-state"):
    """Ask: a consistent copy of site.db, zstd-compressed, lies in `outbox/site/<digest>`; seal it into the catalog."""

    bytes: int
    digest: str


class Recall(Line, frozen=True, tag="recall"):
    """Ask: bring these parts of a held pack to the inbox. Repeating it is harmless."""

    pack: str
    parts: list[int]


class Taken(Line, frozen=True, tag="taken"):
    """Ask: the inbox files of this pack are no longer needed."""

    pack: str


class Restate(Line, frozen=True, tag="restate"):
    """Ask: tell all holdings again from the ledger."""


class Verify(Line, frozen=True, tag="verify"):
    """Ask: compare the archive with the ledger now, from the start, and read `percent` of its objects. One that is under way gives way."""

    percent: float


class Progress(Line, frozen=True, tag="progress"):
    """Fact: `confirmed` of `total` objects of a pack are proven to be in the archive."""

    pack: str
    confirmed: int
    total: int


class Held(Line, frozen=True, tag="held"):
    """Fact: head, parts, sums and the catalog segment that names the pack are confirmed. The pack may be evicted."""

    pack: str
    held_at: float
    instances: int
    raw_bytes: int
    sealed_bytes: int
    sha256: str
    study: dict[str, Any]
    series: list[dict[str, Any]]


class Here(Line, frozen=True, tag="here"):
    """Fact: a part was fetched, opened and compared, and lies in `inbox/<pack>/<number, 6 digits>`."""

    pack: str
    number: int
    bytes: int
    digest: str


class RecallFailed(Line, frozen=True, tag="recall-failed"):
    """Fact: these parts cannot be brought now. `final` when the archive has no such bytes; else the link is down and it is tried again."""

    pack: str
    parts: list[int]
    reason: str
    final: bool


class Stopped(Line, frozen=True, tag="stopped"):
    """Fact: this pack is not shipped any further until a person acts (its outbox files were refused, or the archive refuses it)."""

    pack: str
    reason: str


class Link(Line, frozen=True, tag="link"):
    """Fact: how the link is. `state` is one of up, down, throttled, credential, quota, disk, clock, conflict."""

    state: str
    since: float
    goodput_bytes_per_second: float
    sentence: str
    """What is wrong with the link, in plain words, for people; with the cure where there is one. No secret, no PHI."""
    answered_at: float = 0.0
    """When the archive answered last; 0 when it did not since cloudsync started."""
    said_at: float = 0.0
    """When cloudsync said so: each minute, and whenever it changes."""
    sequence: int = 0
    """Of the last catalog segment that the archive has; the end of the catalog that a rebuild is to find."""


class SiteStateHere(Line, frozen=True, tag="site-state-here"):
    """Fact: the newest site state of the archive lies in `inbox/site/<digest>`; an empty box starts from it."""

    bytes: int
    digest: str


class AsksUnread(Line, frozen=True, tag="asks-unread"):
    """Fact: cloudsync has set asks aside that it cannot read. Said when it does, and behind each `link` as long as they are kept."""

    sentence: str
    """Which, why, and what to do, for people. No secret, no PHI."""


class Damaged(Line, frozen=True, tag="damaged"):
    """Fact: the archive's copy of a held pack is not whole. Where the cache has the pack it is coded and asked for once more; `site` stands
    for the newest copy of site state. Comes behind the `held` of the pack.
    """

    pack: str
    reason: str


class Verification(Line, frozen=True, tag="verification"):
    """Fact: how far the comparison of the archive with the ledger is, or how the last one ended."""

    asked: int
    """The seq of the ask; 0 where it began by itself."""
    percent: float
    """So much of the objects is read."""
    began_at: float
    ended_at: float | None
    done: float
    """From 0 to 1."""
    objects: int
    """That were looked for by name and size."""
    read_objects: int
    read_bytes: int
    damaged: int
    """Packs of which something is missing or not what it was."""
    faults: list[str]
    """What is wrong with the catalog or with site state: sentences with the cure, no PHI."""


class Retired(Line, frozen=True, tag="retired"):
    """Fact: the archive's catalog says that a pack is retired: nothing of it is to be known any more, and its cached file goes too."""

    pack: str


Ask = Ack | Coded | SiteState | Recall | Taken | Restate | Verify
Fact = Ack | Progress | Held | Here | RecallFailed | Stopped | Link | SiteStateHere | AsksUnread | Damaged | Verification | Retired
Entry = Ask | Fact


@dataclass(frozen=True, slots=True)
class Unread:
    """A line at its place in the journal that says nothing this version knows."""

    seq: int
    line: bytes
    reason: str


encode = msgspec.json.Encoder().encode
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def decode(seq: int, line: bytes) -> Entry | Unread:
    """The line of this number."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError) as fault:
        return Unread(seq, line, f"it does not parse: {fault}")


class JournalWriter:
    """The one writer of a journal directory. Safe to use from several threads.

    Opening it cuts a torn last line, which no one was told about.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        segments = _segments(os.listdir(directory))
        first = segments[-1] if segments else 1
        self._path = directory / _name(first)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        content = os.pread(self._descriptor, SEGMENT_BYTES + LINE_BYTES, 0)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._descriptor, whole)
            os.fsync(self._descriptor)
        self._next = first + content.count(b"\n")
        self._bytes = whole
        flush_directory(directory)

    @property
    def last(self) -> int:
        """The seq of the last line that was written; 0 before the first."""
        return self._next - 1

    def append(self, *entries: Entry) -> int:
        """Write the entries in this order, with one flush for what fits a segment; returns the seq of the last. Durable when it returns.

        Raises Permanent for a line over 1 MiB, and nothing is written. Raises StoreFull or StoreFailed when the disk refuses: what was
        flushed before that stays written, which is harmless, because entries may be repeated.
        """
        with self._lock:
            lines: list[bytes] = []
            for seq, entry in enumerate(entries, self._next):
                line = encode(msgspec.structs.replace(entry, seq=seq)) + b"\n"
                if len(line) > LINE_BYTES:
                    raise Permanent(f"a journal line of {len(line)} bytes; at most {LINE_BYTES} are allowed")
                lines.append(line)
            while lines:
                if self._bytes and self._bytes + len(lines[0]) > SEGMENT_BYTES:
                    self._roll()
                sizes = itertools.accumulate(map(len, lines), initial=self._bytes)
                count = max(1, sum(size <= SEGMENT_BYTES for size in sizes) - 1)
                self._write(lines[:count])
                del lines[:count]
            return self._next - 1

    def forget(self, upto: int) -> None:
        """Remove the segments that hold nothing after `upto`. Idempotent."""
        with self._lock:
            segments = _segments(os.listdir(self._directory))
            for first, following in itertools.pairwise(segments):
                if following - 1 <= upto:
                    (self._directory / _name(first)).unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        with disk_errors():
            try:
                write_all(self._descriptor, data)
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, self._bytes)
                raise
        self._bytes += len(data)
        self._next += len(lines)

    def _roll(self) -> None:
        path = self._directory / _name(self._next)
        with disk_errors():
            fresh = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
            flush_directory(self._directory)
        os.close(self._descriptor)
        self._path, self._descriptor, self._bytes = path, fresh, 0


class JournalReader:
    """Reads a journal that the other side writes, through the guarded way, from a position that the caller keeps."""

    def __init__(self, gate: Gate, position: int) -> None:
        """`position` is the seq of the last line that was committed; 0 for none."""
        self._gate = gate
        self._position = position

    def read(self, at_most: int = 500) -> list[Entry]:
        """The next lines in order, at most so many; an empty list when there are none. The position moves past them. They are durable.

        Raises Corrupt when a line is missing or does not parse, or the journal ends before the position; Trespass when a segment is no
        plain file of the other side; StoreFull or StoreFailed when the disk does not flush it.
        """
        before = self._position
        entries: list[Entry] = []
        for entry in self.read_all(at_most):
            if isinstance(entry, Unread):
                self._position = before
                raise Corrupt(f"{self._gate.root.name} line {entry.seq}: {entry.reason}")
            entries.append(entry)
        return entries

    def read_all(self, at_most: int = 500) -> list[Entry | Unread]:
        """As `read`; a line that does not parse is given as it is, in its place."""
        entries: list[Entry | Unread] = []
        for entry in self._following():
            entries.append(entry)
            if len(entries) == at_most:
                break
        if entries:
            self._position = entries[-1].seq
        return entries

    def rewind(self, position: int) -> None:
        """Read again what comes after `position`: it was read, and could not be committed."""
        self._position = position

    def _following(self) -> Iterator[Entry | Unread]:
        try:
            segments = _segments(os.listdir(self._gate.root))
        except FileNotFoundError:
            return
        if not segments:
            return
        # A reader that lost its position starts with what is still there; what it missed was acknowledged, and is told again on `restate`.
        expected = self._position + 1 if self._position else segments[0]
        begin = max((number for number, first in enumerate(segments) if first <= expected), default=0)
        for first in segments[begin:]:
            try:
                content = self._gate.read(_name(first), SEGMENT_BYTES + LINE_BYTES)
            except FileNotFoundError:
                return
            lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
            if first == segments[-1] and first + len(lines) < expected:
                raise Corrupt(f"{self._gate.root.name} ends at line {first + len(lines) - 1}, but {expected - 1} were read from it before")
            if first + len(lines) > expected:
                self._flush(first)
            for number, line in enumerate(lines):
                if first + number < expected:
                    continue
                entry = decode(expected, line)
                if entry.seq != expected:
                    raise Corrupt(f"{self._gate.root.name}: line {expected} is missing, found {entry.seq}")
                expected += 1
                yield entry

    def _flush(self, first: int) -> None:
        """A line can be read before its writer has flushed it: were it committed, then lost with the power, another would take its seq."""
        descriptor = self._gate.open(_name(first), SEGMENT_BYTES + LINE_BYTES)
        try:
            with disk_errors():
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(first: int) -> str:
    return f"{first:012d}.jsonl"


def _segments(names: list[str]) -> list[int]:
    return sorted(int(name[:12]) for name in names if len(name) == 18 and name[:12].isdigit() and name.endswith(".jsonl"))
