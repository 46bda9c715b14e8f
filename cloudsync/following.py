"""Reads a site's catalog into the ledger from its end back to its beginning: who lost a box waits for the newest studies.

The last segment counts by its signature, each one before it because the one behind it names the SHA-256 of its content too; a merge in the
place of its segments, because it ends with the one so named. What was read stands in the ledger, without a gap up to the last: broken off
at any point, it goes on there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from cloudsync import merge
from cloudsync.archive.port import Archive, NotThere
from cloudsync.catalog import BrokenChain, CatalogChain, ChainState, EpochEntry, Followed, Held, ReadBack, SharedEntry, Tombstone
from cloudsync.fetching import UNFIT, Fetching
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Ahead, ChainTip
from cloudsync.listing import names_from
from cloudsync.seal.part import NotOurs, epoch_of
from cloudsync.span import Span, cover
from edge.errors import OutpostError, Refused


class NotWhole(Refused):
    """The archive's catalog cannot be read to its beginning, so this box adds nothing to it. Bring back the object that the message names,
    then start Outpost again.
    """


class KeysChanged(Refused):
    """The other box has begun new keys, which only the recovery kit brings. Rebuild this box: `outpost restore` into an empty directory."""


class Following:
    """Nothing is shipped before it is done: what comes next in the catalog follows from all that is in it."""

    def __init__(
        self,
        ledger: Ledger,
        archive: Archive,
        chain: CatalogChain,
        shared: Callable[[SharedEntry], None],
        refused: Callable[[OutpostError], None],
    ) -> None:
        """`chain` stands behind a segment whose signer counts. `shared` keeps who else reads, the last first, in a thread; it is told again
        where that was broken off. `refused` is told of each merge that is of no use: what it stands for is read in its place.
        """
        self._ledger = ledger
        self._archive = archive
        self._chain = chain
        self._shared = shared
        self._refused = refused

    async def begin(self, sequence: int) -> ReadBack:
        """Fetch, verify and record the last segment of the archive. Errors as `run`."""
        sealed = await _segment(self._archive, self._chain, sequence)
        last = await asyncio.to_thread(self._chain.last, sequence, sealed)
        await self._record(last, Span(0, sequence), sealed, Ahead())
        return last

    async def run(self, enough: Callable[[ReadBack], bool]) -> None:
        """Read on until a segment is `enough`, or the first was read. `enough` is asked of each once it is recorded.

        Raises BrokenChain for one that is missing or was replaced, NotOurs, WrongKey, BadSignature or NewerFormat naming the segment,
        StoreFull, and what the archive raises.
        """
        beginning = await self._ledger.chain.beginning()
        assert beginning is not None
        assert beginning.sealed is not None  # of what was read, the bytes are kept
        behind = await asyncio.to_thread(merge.last, self._chain, beginning.span, beginning.sealed)
        ahead = await self._ledger.holdings.ahead()
        coming = Fetching(self._archive, self._chain.site, cover(behind.first - 1), self._refused)
        try:
            while (found := await coming.next()) is not None:
                span, sealed = found
                try:
                    behind = await asyncio.to_thread(merge.before, self._chain, behind, span, sealed)
                except UNFIT as fault:
                    coming.refuse(span, fault)
                    continue
                await self._record(behind, span, sealed, ahead)
                if enough(behind):
                    break
        finally:
            await coming.close()
        if behind.first == 1 and ahead.replaced:
            raise NotOurs(f"the catalog of site {self._chain.site} replaces pack {min(ahead.replaced)}, which no segment names")

    async def newer(self) -> int:
        """Follow what was written since by the box that was lost, or by another; how many segments. Errors as `run`, and KeysChanged."""
        tip = await self._ledger.chain.tip()
        assert tip is not None
        chain = self._chain.at(ChainState(tip.sequence, tip.digest, tip.signer))
        listing = chain.listing(await names_from(self._archive, chain.site, tip.sequence))
        for name in listing.names:
            sealed = await self._archive.get(name)
            followed = await asyncio.to_thread(chain.follow, sealed)
            if any(_epochs(followed)):
                raise KeysChanged
            for entry in followed.entries:
                if isinstance(entry, SharedEntry):
                    await asyncio.to_thread(self._shared, entry)
            await record(self._ledger, chain.site, Span(0, followed.state.sequence), sealed, followed, told=False)
            chain = chain.at(followed.state)
        return len(listing.names)

    async def _record(self, found: ReadBack, span: Span, sealed: bytes, ahead: Ahead) -> None:
        state = found.state
        for entry in reversed(found.entries):
            if isinstance(entry, SharedEntry):
                await asyncio.to_thread(self._shared, entry)
        entries = [entry for entry in found.entries if isinstance(entry, Held | Tombstone)]
        tip = ChainTip(state.sequence, state.tip, state.signer)
        await self._ledger.holdings.read_back(found.name, sealed, tip, entries, ahead, span if span.level else None)


async def epochs(archive: Archive, chain: CatalogChain, first: Followed, last: int) -> list[EpochEntry]:
    """The epochs of the site whose catalog ends with segment `last`, without all that is between: the segment that says an epoch is the
    last that is sealed under the one before it, so halving finds it.

    `chain` opens what is sealed under any epoch, and stands behind the first segment. Errors as Following.run.
    """
    said, low = list(_epochs(first)), 1
    final = await _segment(archive, chain, last)
    newest = epoch_of(final, _place(chain, last))
    while said and said[-1].epoch < newest:
        beyond = last
        while beyond - low > 1:
            middle = (low + beyond) // 2
            under = epoch_of(await _segment(archive, chain, middle), _place(chain, middle))
            low, beyond = (middle, beyond) if under <= said[-1].epoch else (low, middle)
        found = list(_epochs(await asyncio.to_thread(chain.last, low, await _segment(archive, chain, low))))
        if not found or found[-1].epoch <= said[-1].epoch:
            raise BrokenChain(f"{_place(chain, low)} does not bring the keys of what comes behind it")
        said += found
    if last > low:
        said += _epochs(await asyncio.to_thread(chain.last, last, final))
    return said


async def record(ledger: Ledger, site: str, span: Span, sealed: bytes, followed: Followed, *, told: bool) -> None:
    """Record what was verified and comes behind those that were read, with its holdings. Edge is told of what it retires unless `told`.
    Raises as Holdings.follow.
    """
    held = [entry for entry in followed.entries if isinstance(entry, Held)]
    tombstones = [entry for entry in followed.entries if isinstance(entry, Tombstone)]
    state = followed.state
    tip = ChainTip(state.sequence, state.tip, state.signer)
    await ledger.holdings.follow(span.name(site), sealed, tip, held, tombstones, told=told, merge=span if span.level else None)


def _epochs(found: Followed | ReadBack) -> Iterable[EpochEntry]:
    return (entry for entry in found.entries if isinstance(entry, EpochEntry))


def _place(chain: CatalogChain, sequence: int) -> str:
    return chain.at(ChainState(sequence - 1)).next_name


async def _segment(archive: Archive, chain: CatalogChain, sequence: int) -> bytes:
    place = _place(chain, sequence)
    try:
        return await archive.get(place)
    except NotThere as fault:
        raise BrokenChain(f"{place} is missing") from fault
