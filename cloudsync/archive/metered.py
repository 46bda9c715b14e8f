"""Counts what crosses the link, and measures its goodput."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

from cloudsync.archive.port import Archive, Stat
from cloudsync.link.goodput import Goodput
from edge.clock import Clock, SystemClock


class Metered:
    """An archive that measures: bytes that arrived whole, and bytes a second while at least one transfer was under way."""

    def __init__(self, inner: Archive, clock: Clock | None = None) -> None:
        self._inner = inner
        self._clock = clock or SystemClock()
        self._under_way = 0
        self._since = 0.0
        self._moved = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.goodput = Goodput()

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        with self._transfer():
            await self._inner.put(name, data, md5)
            self.sent_bytes += len(data)
            self._moved += len(data)

    async def get(self, name: str) -> bytes:
        with self._transfer():
            data = await self._inner.get(name)
            self.received_bytes += len(data)
            self._moved += len(data)
            return data

    async def head(self, name: str) -> Stat | None:
        return await self._inner.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        await self._inner.close()

    @contextlib.contextmanager
    def _transfer(self) -> Iterator[None]:
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
