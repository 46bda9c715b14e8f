"""Counts what crosses the link, and measures its goodput."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

from cloudsync.archive.port import Archive, Stat
from cloudsync.link.goodput import Goodput
from edge.clock import Clock, SystemClock


class Meter:
    """Bytes that arrived whole, and bytes a second while at least one transfer was under way."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._under_way = 0
        self._since = 0.0
        self._moved = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.goodput = Goodput()
        self.round_trip_seconds = 0.0
        """That the last small answer took; 0 before the first."""

    def sent(self, count: int) -> None:
        """So many bytes arrived whole in the archive. To be said within `transfer`."""
        self.sent_bytes += count
        self._moved += count

    def received(self, count: int) -> None:
        """So many bytes arrived whole here. To be said within `transfer`."""
        self.received_bytes += count
        self._moved += count

    @contextlib.contextmanager
    def question(self) -> Iterator[None]:
        """Something small is asked and answered in the block."""
        began = self._clock.monotonic()
        yield
        self.round_trip_seconds = self._clock.monotonic() - began

    @contextlib.contextmanager
    def transfer(self) -> Iterator[None]:
        """One transfer is under way in the block."""
        if self._under_way == 0:
            self._since = self._clock.monotonic()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            now = self._clock.monotonic()
            self.goodput = self.goodput.after(self._moved, now - self._since)
            self._moved, self._since = 0, now


class Metered:
    """An archive that measures."""

    def __init__(self, inner: Archive, clock: Clock | None = None) -> None:
        self._inner = inner
        self._meter = Meter(clock)

    @property
    def round_trip_seconds(self) -> float:
        return self._meter.round_trip_seconds

    @property
    def sent_bytes(self) -> int:
        return self._meter.sent_bytes

    @property
    def received_bytes(self) -> int:
        return self._meter.received_bytes

    @property
    def goodput(self) -> Goodput:
        return self._meter.goodput

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        with self._meter.transfer():
            await self._inner.put(name, data, md5)
            self._meter.sent(len(data))

    async def get(self, name: str) -> bytes:
        with self._meter.transfer():
            data = await self._inner.get(name)
            self._meter.received(len(data))
            return data

    async def head(self, name: str) -> Stat | None:
        with self._meter.question():
            return await self._inner.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        await self._inner.close()
