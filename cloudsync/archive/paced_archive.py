"""The pace of the link for an archive that has none of its own, such as a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cloudsync.archive.port import Archive, Stat
from cloudsync.link.pacing import Pacing


class PacedArchive:
    """An archive whose objects go, each in one go, once the cap has let as many bytes pass."""

    def __init__(self, inner: Archive, pacing: Pacing) -> None:
        self._inner = inner
        self._pacing = pacing

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        async for _ in self._pacing.up.pieces(data):
            pass
        await self._inner.put(name, data, md5)

    async def get(self, name: str) -> bytes:
        data = await self._inner.get(name)
        async for _ in self._pacing.down.pieces(data):
            pass
        return data

    async def head(self, name: str) -> Stat | None:
        return await self._inner.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        await self._inner.close()
