"""Lines of a journal that its reader cannot follow, kept beside it.

A line that says nothing must not keep those behind it from being read.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from edge.durable import disk_errors, flush_directory, write_whole
from edge.errors import Corrupt
from edge.journal import Unread

log = logging.getLogger(__name__)

MOST = 1000
"""Lines that are kept; a journal with more of them is not read any further."""
_NAMED = 3


class _Kept(msgspec.Struct, frozen=True):
    """One file of the directory; `line` is base64 in JSON, for what does not parse may be any bytes."""

    seq: int
    reason: str
    line: bytes


class KeptLines:
    """The directory of lines that were set aside; `word` says what a line of this journal is. Safe to use from several threads."""

    def __init__(self, directory: Path, word: str) -> None:
        self.directory = directory
        self._word = word

    def keep(self, line: Unread) -> None:
        """Durable when this returns. Idempotent. Raises Corrupt when too many are kept, StoreFull or StoreFailed by the disk."""
        if len(self._files()) >= MOST:
            raise Corrupt(f"more than {MOST} {self._word}s cannot be followed, the last one is {line.seq}: {line.reason}")
        log.error("%s %d is set aside: %s", self._word, line.seq, line.reason)
        with disk_errors():
            self.directory.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._file(line), msgspec.json.encode(_Kept(line.seq, line.reason, line.line)), 0o600)
            flush_directory(self.directory)

    def all(self) -> list[Unread]:
        """Every one of them, oldest first."""
        return [_read(path) for path in self._files()]

    def forget(self, line: Unread) -> None:
        """Idempotent."""
        with disk_errors():
            self._file(line).unlink(missing_ok=True)

    def named(self) -> str:
        """The first of them with their reasons, and how many more there are, without patient data; empty when there is none."""
        files = self._files()
        if not files:
            return ""
        named = ", ".join(f"{one.seq} ({one.reason})" for one in map(_read, files[:_NAMED]))
        return f"{self._word} {named}" + f" and {len(files) - _NAMED} more" * (len(files) > _NAMED)

    def _file(self, line: Unread) -> Path:
        return self.directory / f"{line.seq:012d}-{hashlib.sha256(line.line).hexdigest()[:8]}.json"

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("*.json"))


def _read(path: Path) -> Unread:
    kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    return Unread(kept.seq, kept.line, kept.reason)
