"""The files of a journal: its one writer, and its one reader (edge.journal says what the lines are, and how they get across)."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.durable import disk_errors, flush_directory, write_all
from edge.errors import Corrupt, Permanent
from edge.journal import Entry, Unread, decode, encode
from edge.wall import Gate

SEGMENT_BYTES = 1 << 20
LINE_BYTES = 1 << 20


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
