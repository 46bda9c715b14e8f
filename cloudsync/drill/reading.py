"""An archive that is only read: a rehearsal leaves no trace in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from cloudsync.archive.port import Archive, Stat
from cloudsync.link.backoff import Backoff
from edge.clock import Clock
from edge.errors import Refused, Transient


class Reading:
    """Counts what is read. Stays open until `end`, so that one part of a rehearsal after the other can close it."""

    def __init__(self, inner: Archive, clock: Clock, patience_seconds: float) -> None:
        self._inner = inner
        self._clock = clock
        self._patience_seconds = patience_seconds
        self.read_bytes = 0

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        raise Refused(f"{name} is not written: this is a rehearsal.")

    async def get(self, name: str) -> bytes:
        data = await self._inner.get(name)
        self.read_bytes += len(data)
        return data

    async def patiently(self, name: str) -> bytes:
        """As `get`; a fault that ends by itself is waited for."""
        attempt, since = 0, self._clock.monotonic()
        while True:
            try:
                return await self.get(name)
            except Transient:
                attempt += 1
                pause = Backoff(max_seconds=30.0).wait_seconds(attempt, random.SystemRandom().random())
                if self._clock.monotonic() + pause - since > self._patience_seconds:
                    raise
                await asyncio.sleep(pause)

    async def head(self, name: str) -> Stat | None:
        return await self._inner.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        """Nothing yet."""

    async def end(self) -> None:
        """Let go of connections."""
        await self._inner.close()
