"""Follows the catalogs of other sites: what each segment names is a holding that edge is told of as its own, with the site whose it is.

Each round asks for the segment that comes next, so that a site with nothing new costs one small question. What does not verify stops the
site there, is said, and is looked at again in the next round; other sites go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused
from cloudsync.catalog import (
    BadSignature,
    BrokenChain,
    CatalogChain,
    ChainState,
    Entry,
    Held,
    NewerFormat,
    Opener,
    SharedEntry,
    Tombstone,
)
from cloudsync.catalog import Followed as Segment
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip, Reading
from cloudsync.seal import followed, sharing
from cloudsync.seal.certificates import to_der
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.seal.sharing import Shared
from cloudsync.teller import Teller
from edge.clock import Clock
from edge.errors import OutpostError
from edge.journal import Follows
from edge.model import parse_digest, parse_pack_id

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Segments of one site that are followed before the next one has its turn."""
BEYOND_SECONDS = 86_400.0
"""How often it is looked whether the archive has segments beyond a missing one."""
_COUNT_MAX, _BYTES_MAX, _TIME_MAX = 1 << 31, 1 << 50, float(1 << 36)
_NOT_FOLLOWED = (NotOurs, WrongKey, BadSignature, NewerFormat, Damaged, ObjectRefused)


@dataclass(slots=True)
class _Site:
    shared: Shared
    chain: CatalogChain
    since: float
    """When it was followed first: what it ships from then on is news."""
    fault: str | None = None
    """None until its first round is over."""
    looked_at: float | None = None
    """Monotonic: when it was looked what lies beyond the end of its catalog."""
    gap: BrokenChain | None = None
    """What was found there."""

    def take(self, shared: Shared) -> None:
        """It has shared more keys; what was shared before is among them."""
        if shared.epoch >= self.shared.epoch:
            self.shared = shared
            self.chain = replace(self.chain, opener=shared.open)


class Follower:
    """Reads on in the catalog of each site, at least every `seconds`."""

    def __init__(self, ledger: Ledger, sites: followed.Followed, teller: Teller, clock: Clock, seconds: float) -> None:
        self._ledger = ledger
        self._sibling = sites.sibling
        self._names = sites.names
        self._faults = sites.faults
        self._sites = {site.shared.site_id: _begin(site) for site in sites.sites}
        self._teller = teller
        self._clock = clock
        self._seconds = seconds

    def opener(self, site: str) -> Opener | None:
        """What opens the objects of a site; None where it is not followed."""
        found = self._sites.get(site)
        return None if found is None else found.shared.open

    async def begin(self) -> None:
        """Once, before all else: where each site was left, and what it has shared since it is followed. What is followed no more is
        forgotten.
        """
        for name in await self._ledger.following.keep(self._names, self._clock.now()):
            log.info("site %s is followed no more: what it holds is forgotten", name)
            self._teller.say(Follows(site=name, sequence=0, fault=""))
        for name, site in self._sites.items():
            reading = await self._ledger.following.read(name)
            if reading is None:
                continue
            if reading.shared is not None:
                try:
                    site.take(self._open(site, reading.shared, "the ledger"))
                except (NotOurs, WrongKey) as fault:  # it was shared for a key that this box had before
                    log.warning("site %s: what it shared before counts no more: %s", name, fault)
            tip = reading.tip
            site.chain = site.chain.at(ChainState(tip.sequence, tip.digest, tip.signer))

    async def run(self, archive: Archive, may: Callable[[], bool]) -> None:
        """Follow, for ever; `may` says whether anything may be fetched now."""
        while True:
            self._teller.say(*(Follows(site=site, sequence=0, fault=fault) for site, fault in self._faults.items()))
            more = [site for site in self._sites.values() if may() and await self._read_on(site, archive)]
            if not more:
                await asyncio.sleep(self._seconds)

    async def _read_on(self, site: _Site, archive: Archive) -> bool:
        """A round of one site; whether there is more to read now."""
        before = site.chain.state.sequence
        fault = ""
        try:
            more = await self._segments(site, archive)
        except _NOT_FOLLOWED as found:
            more, fault = False, _sentence(site.chain, found)
        if fault != (site.fault or "") and fault:
            log.error("%s", fault)
        if fault or site.fault != fault or site.chain.state.sequence != before:
            self._teller.say(Follows(site=site.chain.site, sequence=site.chain.state.sequence, fault=fault))
        site.fault = fault
        return more

    async def _segments(self, site: _Site, archive: Archive) -> bool:
        for _ in range(AT_ONCE):
            try:
                sealed = await archive.get(site.chain.next_name)
            except NotThere:
                return await self._is_behind(site, archive)
            await self._take(site, await asyncio.to_thread(site.chain.follow, sealed))
        return True

    async def _take(self, site: _Site, segment: Segment) -> None:
        chain, state = site.chain, segment.state
        held = [entry for entry in segment.entries if isinstance(entry, Held)]
        tombstones = [entry for entry in segment.entries if isinstance(entry, Tombstone)]
        for entry in held:
            if rule := broken_rule(entry):
                raise NotOurs(f"{chain.next_name}: {rule}")
        sealed = self._shared_with_us(segment.entries)
        shared = None if sealed is None else self._open(site, sealed, chain.next_name)
        upto = Reading(ChainTip(state.sequence, state.tip, state.signer), sealed)
        await self._ledger.following.follow(chain.site, chain.next_name, upto, held, tombstones, site.since)
        site.chain, site.gap = chain.at(state), None
        if shared is not None:
            site.take(shared)
        self._teller.wake()

    def _shared_with_us(self, entries: Iterable[Entry]) -> bytes | None:
        """What these entries share with this box, the newest of it."""
        if self._sibling is None:
            return None
        ours = to_der(self._sibling.certificate)
        found = [entry.sealed for entry in entries if isinstance(entry, SharedEntry) and entry.sibling == ours]
        return found[-1] if found else None

    def _open(self, site: _Site, sealed: bytes, where: str) -> Shared:
        """What a site has shared. Raises NotOurs where it does not open, or is of a site that began otherwise."""
        assert self._sibling is not None, "a site is followed by a sibling key"
        shared = sharing.open_shared(sealed, site.chain.site, self._sibling)
        if shared.trust_root != site.chain.trust_root:
            raise NotOurs(f"{where} shares the keys of a site whose catalog began otherwise")
        return shared

    async def _is_behind(self, site: _Site, archive: Archive) -> bool:
        """Now and then, at the end of what could be read: whether a segment came meanwhile. Raises BrokenChain for one beyond a gap."""
        now = self._clock.monotonic()
        if site.looked_at is None or now - site.looked_at >= BEYOND_SECONDS:
            site.looked_at, site.gap = now, None
            listing = site.chain.listing([found.name async for found in archive.list(f"{site.chain.site}/c/0/")])
            if listing.names:
                return True
            if listing.stray:
                site.gap = BrokenChain(f"the archive has {listing.stray[0]}, but {site.chain.next_name} is missing")
        if site.gap is not None:
            raise site.gap
        return False


def _begin(site: followed.Site) -> _Site:
    shared = site.shared
    return _Site(shared, CatalogChain(shared.site_id, shared.trust_root, shared.open), site.since)


def broken_rule(entry: Held) -> str:
    """Why a holding that another site names cannot be taken; empty when it can. A signature says who wrote it, not that it is sane."""
    if any(name and parse_pack_id(name) is None for name in (entry.pack, entry.replaces)) or not entry.pack:
        return "it names something that is no pack"
    if any(parse_digest(digest) is None for digest in (entry.sha256, entry.sums_digest)):
        return f"pack {entry.pack} has something that is no SHA-256"
    counts = 0 <= entry.instances < _COUNT_MAX and 1 <= entry.objects < _COUNT_MAX
    sizes = all(0 <= size < _BYTES_MAX for size in (entry.raw_bytes, entry.sealed_bytes))
    if not (counts and sizes and 0 <= entry.held_at < _TIME_MAX):
        return f"pack {entry.pack} has a size, a number or a time that cannot be"
    return ""


def _sentence(chain: CatalogChain, fault: OutpostError) -> str:
    said = str(fault).rstrip(".")
    cure = (
        "Have it export its keys once more, and run `outpost follow` with that file."
        if isinstance(fault, WrongKey)
        else "Ask there what became of it."
    )
    return f"The catalog of site {chain.site} is followed up to segment {chain.state.sequence} and no further: {said}. {cure}"
