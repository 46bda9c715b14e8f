"""The tape of a disk, and the disk as of a moment on it."""

from __future__ import annotations

import json
import mmap
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.rig.power_cut.disk import FLUSH, HEAD, NOTE, WRITE

SECTOR = 512
SUPERBLOCK = 4096
"""At the begin of the disk; its journal has no copy of it. Torn, no ext4 can be mounted, whatever lies on it: it is written whole."""


@dataclass(frozen=True, slots=True)
class Record:
    kind: bytes
    offset: int
    begin: int
    """Of its data in the tape."""
    length: int


class Tape:
    """Everything that was recorded, in order. Places are indexes into `records`; a cut at one comes before that record."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.records = list(self._read())
        self.notes: list[tuple[int, dict[str, Any]]] = [
            (place, json.loads(self.data(record))) for place, record in enumerate(self.records) if record.kind == NOTE
        ]

    def data(self, record: Record) -> bytes:
        return self._data[record.begin : record.begin + record.length]

    def notes_before(self, cut: int, name: str) -> Iterator[Any]:
        """What was noted under a name before a cut."""
        for place, note in self.notes:
            if place < cut and name in note:
                yield note[name]

    def phases(self) -> dict[str, list[int]]:
        """The places of each phase, as the workload noted them; those before the first are of none."""
        places: dict[str, list[int]] = defaultdict(list)
        begins = [(place, note["phase"]) for place, note in self.notes if "phase" in note]
        for (begin, name), (end, _) in zip(begins, [*begins[1:], (len(self.records) + 1, "")], strict=True):
            places[name] += range(begin + 1, end)
        return places

    def _read(self) -> Iterator[Record]:
        position = 0
        while position + HEAD.size <= len(self._data):
            kind, offset, length = HEAD.unpack_from(self._data, position)
            position += HEAD.size
            yield Record(kind, offset, position, length)
            position += length


class Platter:
    """The disk as of cuts, one after the other in the order of the tape: everything that was flushed before, and of what was written since
    the last flush what chance leaves of it.
    """

    def __init__(self, base: Path, tape: Tape) -> None:
        self._flushed = bytearray(base.read_bytes())
        self._tape = tape
        self._next = 0
        self._pending: list[Record] = []

    def at(self, cut: int, chance: random.Random) -> bytearray:
        """The image. Cuts must not go back."""
        assert cut >= self._next
        for record in self._tape.records[self._next : cut]:
            if record.kind == WRITE:
                self._pending.append(record)
            elif record.kind == FLUSH:
                for written in self._pending:
                    self._put(self._flushed, written.offset, self._tape.data(written))
                self._pending.clear()
        self._next = cut
        image = bytearray(self._flushed)
        for offset, data in _survivors([(one.offset, self._tape.data(one)) for one in self._pending], chance):
            self._put(image, offset, data)
        return image

    @staticmethod
    def _put(image: bytearray, offset: int, data: bytes) -> None:
        image[offset : offset + len(data)] = data


def _survivors(writes: list[tuple[int, bytes]], chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """A drive writes its cache in any order and loses the rest: nothing, everything, the first ones and part of the next, any of them, or
    any sectors of them.
    """
    how = chance.choice(("none", "all", "first", "any", "any", "torn"))
    if how == "all":
        yield from writes
    elif how == "first":
        count = chance.randrange(len(writes) + 1)
        yield from writes[:count]
        for offset, data in writes[count : count + 1]:
            yield offset, data[: _whole(offset, data, SECTOR * chance.randrange(len(data) // SECTOR + 1))]
    elif how == "any":
        share = chance.random()
        yield from (one for one in writes if chance.random() < share)
    elif how == "torn":
        share = chance.random()
        for offset, data in writes:
            first = _whole(offset, data, SECTOR)
            for begin, end in pairwise([0, *range(first, len(data), SECTOR), len(data)]):
                if chance.random() < share:
                    yield offset + begin, data[begin:end]


def _whole(offset: int, data: bytes, length: int) -> int:
    """So much of the begin of a write, and of the superblock nothing or all."""
    return max(length, SUPERBLOCK - offset) if length > 0 and offset < SUPERBLOCK else length
