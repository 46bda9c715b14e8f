"""An archive of instances that does not give up and measures: one wrapper, because a request that moves bytes is what is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from cloudsync.archive.instances import InstanceArchive, InstanceName, Offer, Reply
from cloudsync.archive.metered import Meter
from cloudsync.archive.retrying import LARGEST_BYTES, Insisting
from edge.model import UID


class Insisted:
    """As the port says, but for the errors that `insisting` waits for."""

    def __init__(self, inner: InstanceArchive, insisting: Insisting, meter: Meter) -> None:
        self._inner = inner
        self._insisting = insisting
        self._meter = meter

    async def store(self, offers: Sequence[Offer]) -> tuple[Reply, ...]:
        size = sum(offer.size for offer in offers)

        async def once() -> tuple[Reply, ...]:
            with self._meter.transfer():
                replies = await self._inner.store(offers)
                self._meter.sent(size)
                return replies

        return await self._insisting.on(once, size)

    async def exists(self, study: UID, series: UID) -> frozenset[UID]:
        async def once() -> frozenset[UID]:
            with self._meter.question():
                return await self._inner.exists(study, series)

        return await self._insisting.on(once, LARGEST_BYTES)

    async def retrieve(self, name: InstanceName, into: BinaryIO, at_most: int) -> None:
        async def once() -> None:
            with self._meter.transfer():
                await self._inner.retrieve(name, into, at_most)
                self._meter.received(into.tell())

        await self._insisting.on(once, at_most)

    async def list(self) -> AsyncIterator[InstanceName]:
        """As the port says. What was found is handed on only once the listing is whole."""
        for found in await self._insisting.on(self._gather, LARGEST_BYTES):
            yield found

    async def close(self) -> None:
        await self._inner.close()

    async def _gather(self) -> tuple[InstanceName, ...]:
        return tuple([found async for found in self._inner.list()])
