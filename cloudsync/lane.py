"""The catalog lane: entries that are owed become signed segments, one in flight, each after the one before it is confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from cloudsync import epochs
from cloudsync.archive.port import Archive, Damaged, NotThere, Occupied, md5_of
from cloudsync.catalog import BadSignature, CatalogChain, ChainState, Entry, NewerFormat, SiteStateEntry
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip, Queued
from cloudsync.seal.keys import Keys
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.teller import Teller
from edge.clock import Clock, utc
from edge.errors import Refused

SEGMENT_TEXT_BYTES = 512 << 10
"""Of entries; about 64 KiB compressed."""
_ENTRIES_AT_MOST = 2000

log = logging.getLogger(__name__)


class AnotherWriter(Refused):
    """Another box writes this site's catalog: stop one of the two for good (docs/operations-archive.md, `conflict`)."""


class TakenOver(AnotherWriter):
    """Another box was put in the place of this one, which ships nothing more. Stop it for good, or let it take the site back: `outpost
    takeover` (docs/operations-archive.md, "Two boxes for one site").
    """


class NotRead(Refused):
    """This box was rebuilt, and has not read all of the archive's catalog yet, so it writes nothing there. Let Outpost run until `outpost
    status` no longer says so, then try again.
    """


async def check_read(ledger: Ledger) -> None:
    """Raises NotRead while this box was rebuilt and has not read the whole catalog: whoever would add to it asks first."""
    if await ledger.chain.left():
        raise NotRead


class CatalogLane:
    """Closes, records and ships segments."""

    def __init__(
        self,
        ledger: Ledger,
        keys: Keys,
        archive: Archive,
        teller: Teller,
        clock: Clock,
        segment_seconds: float,
        written: Callable[[int], None],
    ) -> None:
        """`written` is told the number of each segment that the archive has now."""
        self._ledger = ledger
        self._keys = keys
        self._archive = archive
        self._teller = teller
        self._clock = clock
        self._segment_seconds = segment_seconds
        self._written = written
        self._chain = CatalogChain(keys.site_id, keys.trust_root, keys.open)
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """An entry is owed, or there is nothing else left to send."""
        self._changed.set()

    async def run(self, may_ship: Callable[[], bool]) -> None:
        """Ship segments, for ever; while `may_ship` says no, wait to be woken. Raises AnotherWriter when other bytes lie at the next
        segment's name (TakenOver where they say so), or ObjectRefused.
        """
        looked = False
        while True:
            self._changed.clear()
            if not may_ship():
                await self._changed.wait()
                continue
            if not looked:
                await self.look()
                looked = True
            if await self._ship():
                continue
            # Asked in this order, "nothing left" means that the entry of everything that was sent is among the queued ones.
            nothing_left = await self._ledger.shipping.nothing_left()
            queued = await self._ledger.chain.queued(_ENTRIES_AT_MOST)
            wait = None
            if queued is not None:
                wait = wait_seconds(queued, nothing_left, self._clock.now(), self._segment_seconds)
                if wait <= 0:
                    await self._close(queued)
                    continue
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def settle(self) -> None:
        """Ship segments until nothing is owed. Raises as `run`, and what the archive raises."""
        while True:
            if await self._ship():
                continue
            queued = await self._ledger.chain.queued(_ENTRIES_AT_MOST)
            if queued is None:
                return
            await self._close(queued)

    async def _close(self, queued: Queued) -> None:
        """Make a segment of the entries, and record it with its bytes. Raises NotRead."""
        await check_read(self._ledger)
        tip = await self._ledger.chain.tip()
        state = ChainState() if tip is None else ChainState(tip.sequence, tip.digest, tip.signer)
        entries = [msgspec.json.decode(entry, type=Entry) for entry in queued.entries]
        keys = epochs.in_force(self._keys, await self._ledger.chain.owed())
        appended = await asyncio.to_thread(self._chain.at(state).append, keys, entries)
        after = ChainTip(appended.state.sequence, appended.state.tip, appended.state.signer)
        await self._ledger.chain.record(appended.name, appended.sealed, after, queued.upto)

    async def _ship(self) -> bool:
        """Ship the recorded segment; False when there is none."""
        segment = await self._ledger.chain.in_flight()
        if segment is None:
            return False
        try:
            await self._archive.put(segment.name, segment.sealed, md5_of(segment.sealed))
        except Occupied as fault:
            raise await self._other(segment.sequence) from fault
        await self._ledger.chain.confirmed(segment.sequence)
        self._written(segment.sequence)
        self._teller.wake()
        return True

    async def look(self) -> None:
        """Raises AnotherWriter when the archive has a segment that this box has not even begun."""
        sequence = await self._ledger.chain.last_confirmed() + 1
        name = self._chain.at(ChainState(sequence - 1)).next_name
        if await self._ledger.chain.in_flight() is None and await self._archive.head(name) is not None:
            raise await self._other(sequence)

    async def _other(self, sequence: int) -> AnotherWriter:
        """What to say of the segment of another box that lies at the place of the next one of this."""
        before = await self._ledger.chain.confirmed_after(sequence - 2, 1) if sequence > 1 else ()
        chain = self._chain.at(ChainState(before[0].sequence, before[0].digest, before[0].signer) if before else ChainState())
        with suppress(NotOurs, NotThere, Damaged, WrongKey, BadSignature, NewerFormat):
            followed = await asyncio.to_thread(chain.follow, await self._archive.get(chain.next_name))
            claims = [entry.at for entry in followed.entries if isinstance(entry, SiteStateEntry)]
            if claims:
                return TakenOver(
                    f"another box took this site over on {utc(claims[0])} and goes on from {chain.next_name}: this one ships nothing more."
                    ' What it has not shipped is on its disk alone: docs/operations-archive.md, "Two boxes for one site"'
                )
        return AnotherWriter(
            f"another box writes this site's catalog, and {chain.next_name} is its own: stop one of the two for good"
            " (docs/operations-archive.md, `conflict`)"
        )


def wait_seconds(queued: Queued, nothing_left: bool, now: float, segment_seconds: float) -> float:
    """Seconds until a segment is made of these entries; 0 for at once: STAT, nothing else to send, enough text, or old enough."""
    if queued.urgent or nothing_left or sum(map(len, queued.entries)) >= SEGMENT_TEXT_BYTES or len(queued.entries) == _ENTRIES_AT_MOST:
        return 0.0
    return max(0.0, queued.oldest_at + segment_seconds - now)
