"""An archive behind a link on which one object does not come before a test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cloudsync.archive.port import Archive, Stat


class HeldBack:
    """Gives the objects of these names once `let` is set, and keeps the names of all that it was asked for. Takes any while `puts` is."""

    def __init__(self, inner: Archive, *names: str) -> None:
        self._inner = inner
        self._names = names
        self.let = asyncio.Event()
        self.asked: list[str] = []
        self.puts = asyncio.Event()
        self.puts.set()
        self.asked_to_put = asyncio.Event()

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        self.asked_to_put.set()
        await self.puts.wait()
        await self._inner.put(name, data, md5)

    async def get(self, name: str) -> bytes:
        self.asked.append(name)
        if name in self._names:
            await self.let.wait()
        return await self._inner.get(name)

    async def head(self, name: str) -> Stat | None:
        return await self._inner.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        await self._inner.close()
