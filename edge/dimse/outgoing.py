"""Datasets on their way out: read from a descriptor straight in between PDU headers, and sent a frame of PDUs at a time."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from edge.dimse.faults import SourceFailed
from edge.dimse.pdu import COMMAND, HEADER, LAST, PDV, Kind, Wire
from edge.durable import read_errors
from edge.errors import Corrupt, OutpostError

_FRAME_BYTES = 512 << 10
_MAX_PDUS = 256
_LARGEST_DATA = 131_072
_OVERHEAD = HEADER.size + PDV.size


class Source(Protocol):
    """The bytes of one dataset, read once from front to end."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        ...

    def read_into(self, rooms: Sequence[memoryview], position: int) -> None:
        """Fill the rooms with what follows `position`. Raises Corrupt when the bytes are not there or cannot be read, and Exhausted."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A dataset as it lies in a file. `unread` is called when its bytes are not there or cannot be read."""

    descriptor: int
    offset: int
    length: int
    unread: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)

    def read(self, position: int, count: int) -> bytes:
        """At most `count` bytes, fewer at the end. Raises as `read_into`, but for those that are not there."""
        with self._noticed(), read_errors():
            return os.pread(self.descriptor, max(0, min(count, self.length - position)), self.offset + position)

    def read_into(self, rooms: Sequence[memoryview], position: int) -> None:
        wanted = sum(map(len, rooms))
        with self._noticed(), read_errors():
            count = os.preadv(self.descriptor, rooms, self.offset + position)
            while count < wanted:
                # A read may stop early at a page that has to come from the disk; only 0 means the end.
                rest = list(_rest(rooms, count))
                more = os.preadv(self.descriptor, rest, self.offset + position + count)
                if not more:
                    raise Corrupt("A stored dataset is shorter than the catalogue says.")
                count += more

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except Corrupt:
            self.unread()
            raise


@dataclass(frozen=True, slots=True)
class Spliced:
    """A dataset made of bytes and stretches of a file, one after the other."""

    pieces: tuple[bytes | Stored, ...]

    @property
    def length(self) -> int:
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self.pieces)

    def read_into(self, rooms: Sequence[memoryview], position: int) -> None:
        for room in rooms:
            self._fill(room, position)
            position += len(room)

    def _fill(self, room: memoryview, position: int) -> None:
        begin = 0
        for piece in self.pieces:
            length = len(piece) if isinstance(piece, bytes) else piece.length
            within = position - begin
            begin += length
            if not room or within >= length:
                continue
            count = min(length - within, len(room))
            if isinstance(piece, bytes):
                room[:count] = piece[within : within + count]
            else:
                piece.read_into([room[:count]], within)
            room, position = room[count:], position + count


class Outgoing:
    """The sending half of an association's P-DATA. `max_data_bytes` is what the peer takes in a PDU; 0 means that it takes any."""

    def __init__(self, wire: Wire, max_data_bytes: int) -> None:
        self._wire = wire
        limit = min(max_data_bytes or _LARGEST_DATA, _LARGEST_DATA)
        self._fragment = (limit - PDV.size) & ~1
        self._pdus = max(1, min(_MAX_PDUS, _FRAME_BYTES // (self._fragment + _OVERHEAD)))
        self._frame = memoryview(b"")
        self._rooms: list[memoryview] = []

    def send(self, context_id: int, command: bytes, dataset: bytes | None = None) -> None:
        """One message with a dataset that is in memory, or none."""
        pieces = self._fragments(context_id, COMMAND, command)
        if dataset is not None:
            pieces += self._fragments(context_id, 0, dataset)
        self._wire.send(b"".join(pieces))

    def send_source(self, context_id: int, command: bytes, source: Source) -> None:
        """One message whose dataset comes from a source. Raises what the source raises at its start: nothing is out then, and another may
        follow. Raises SourceFailed when half a message is out.

        A zero byte follows a dataset of odd length, which a deflate stream may have (PS3.5 section A.5): peers abort on an odd fragment
        (PS3.8 section E.1).
        """
        self._map()
        stride = self._fragment + _OVERHEAD
        head = b"".join(self._fragments(context_id, COMMAND, command))
        position, length = 0, source.length
        self._write_headers(context_id)
        while True:
            rest = length - position
            if rest > self._pdus * self._fragment:
                _read(source, self._rooms, position)
                self._wire.send(head, self._frame)
                position += self._pdus * self._fragment
                head = b""
                continue
            full = max(0, (rest - 1) // self._fragment)
            last = rest - full * self._fragment
            _read(source, [*self._rooms[:full], self._rooms[full][:last]], position)
            if last % 2:
                self._rooms[full][last] = 0
                last += 1
            self._header(full * stride, context_id, LAST, last)
            self._wire.send(head, self._frame[: full * stride + _OVERHEAD + last])
            return

    def _fragments(self, context_id: int, flags: int, data: bytes) -> list[bytes]:
        pieces = []
        for begin in range(0, max(1, len(data)), self._fragment):
            fragment = data[begin : begin + self._fragment]
            last = LAST if begin + self._fragment >= len(data) else 0
            pieces.append(_header(context_id, flags | last, len(fragment)) + fragment)
        return pieces

    def _map(self) -> None:
        """The frame is mapped when the first dataset goes out: most associations never send one."""
        if not self._rooms:
            stride = self._fragment + _OVERHEAD
            with read_errors():
                self._frame = memoryview(mmap.mmap(-1, self._pdus * stride))
            self._rooms = [self._frame[begin + _OVERHEAD : begin + stride] for begin in range(0, self._pdus * stride, stride)]

    def _write_headers(self, context_id: int) -> None:
        for index in range(self._pdus):
            self._header(index * (self._fragment + _OVERHEAD), context_id, 0, self._fragment)

    def _header(self, at: int, context_id: int, flags: int, length: int) -> None:
        self._frame[at : at + _OVERHEAD] = _header(context_id, flags, length)


def _read(source: Source, rooms: Sequence[memoryview], position: int) -> None:
    """From the start of the source on something is out, before it nothing is."""
    try:
        source.read_into(rooms, position)
    except OutpostError as fault:
        if not position:
            raise
        raise SourceFailed(str(fault)) from fault


def _header(context_id: int, flags: int, length: int) -> bytes:
    """The headers of a P-DATA PDU with one presentation data value."""
    return HEADER.pack(Kind.P_DATA, length + PDV.size) + PDV.pack(length + 2, context_id, flags)


def _rest(rooms: Sequence[memoryview], count: int) -> Sequence[memoryview]:
    """The rooms without their first `count` bytes."""
    rest = []
    for room in rooms:
        if count < len(room):
            rest.append(room[count:])
        count = max(0, count - len(room))
    return rest
