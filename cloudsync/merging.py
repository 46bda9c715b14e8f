"""Merges of the catalog, made and shipped: nobody here waits for one, and who rebuilds the box one day reads few objects in place of many.

What is to be merged is a query of the ledger. A merge is recorded with its bytes before the first of them is sent, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from cloudsync import epochs, merge
from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused, Occupied, md5_of
from cloudsync.catalog import CatalogChain, ChainState, NewerFormat
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Recorded
from cloudsync.merge import MOST_BYTES
from cloudsync.seal.keys import Keys
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.span import FAN, Span

log = logging.getLogger(__name__)

_UNFIT = (Damaged, NewerFormat, NotOurs, NotThere, ObjectRefused, WrongKey)


class Merger:
    """Makes and ships merges."""

    def __init__(self, ledger: Ledger, keys: Keys, archive: Archive) -> None:
        self._ledger = ledger
        self._keys = keys
        self._archive = archive
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """The archive has another segment, or more may go."""
        self._changed.set()

    async def run(self, may_go: Callable[[], bool]) -> None:
        """Merge whatever can be merged, for ever, as long as `may_go` says so; else wait to be woken. A merge that cannot be made or
        shipped is passed over: the segments say the same.
        """
        while True:
            self._changed.clear()
            while may_go() and await self._step():
                pass
            await self._changed.wait()

    async def settle(self) -> None:
        """Merge until nothing is left to be merged. Raises what the archive raises."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        return await self._ship() or await self._make()

    async def _make(self) -> bool:
        """Record the merge that is due, or that it is passed over; False when none is due."""
        span = await self._ledger.merges.due()
        if span is None:
            return False
        parts = await self._ledger.merges.parts(span)
        if len(parts) < FAN or sum(len(part.sealed or b"") for part in parts) > MOST_BYTES:
            await self._ledger.merges.pass_over(span)
            return True
        try:
            whole, chain = await self._whole(parts), await self._chain()
            keys = epochs.in_force(self._keys, await self._ledger.chain.owed())
            sealed = await asyncio.to_thread(_merged, span, whole, chain, keys)
        except _UNFIT as fault:
            log.error("%s is not made: %s", span.name(self._keys.site_id), fault)
            await self._ledger.merges.pass_over(span)
        else:
            await self._ledger.merges.record(span, sealed)
        return True

    async def _ship(self) -> bool:
        """Ship the recorded merge; False when there is none."""
        found = await self._ledger.merges.sending()
        if found is None:
            return False
        assert found.sealed is not None
        name, sealed = found.span.name(self._keys.site_id), found.sealed
        try:
            try:
                await self._archive.put(name, sealed, md5_of(sealed))
            except Occupied:  # by the lost box in whose place this one was rebuilt, or by somebody else
                sealed = await self._archive.get(name)
                await asyncio.to_thread(_compare, found, sealed, await self._chain())
        except _UNFIT as fault:
            log.error("%s is left out: %s", name, fault)
            await self._ledger.merges.give_up(found.span)
        else:
            await self._ledger.merges.confirmed(found.span, sealed)
        return True

    async def _chain(self) -> CatalogChain:
        tip = await self._ledger.chain.tip()
        assert tip is not None
        return CatalogChain(self._keys.site_id, self._keys.trust_root, self._keys.open, ChainState(tip.sequence, tip.digest, tip.signer))

    async def _whole(self, parts: Sequence[Recorded]) -> list[tuple[Recorded, bytes]]:
        """The parts with their bytes; those that are not kept come from the archive."""
        return [(part, part.sealed or await self._archive.get(part.span.name(self._keys.site_id))) for part in parts]


def _merged(span: Span, parts: Sequence[tuple[Recorded, bytes]], chain: CatalogChain, keys: Keys) -> bytes:
    return merge.write(keys, merge.merged(span, [merge.read(chain, part.span, sealed, part.tip) for part, sealed in parts], chain.site))


def _compare(ours: Recorded, theirs: bytes, chain: CatalogChain) -> None:
    """Raises NotOurs where another merge of the site says something else than ours."""
    assert ours.sealed is not None
    if merge.read(chain, ours.span, theirs) != merge.read(chain, ours.span, ours.sealed):
        raise NotOurs(f"{ours.span.name(chain.site)} does not say what the segments say for which it stands")
