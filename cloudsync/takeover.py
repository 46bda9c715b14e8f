"""Of two boxes of one site, one writes the catalog. Who is put in the other's place says so there; the other finds it, and stops.

What says so is the newest copy of the site's decisions, named once more, with the time: a segment that any version reads, at a name that
only one box can create.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cloudsync.catalog import SiteStateEntry
from cloudsync.following import Following
from cloudsync.lane import AnotherWriter, CatalogLane, check_read
from cloudsync.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Taken:
    """How a site was taken over."""

    followed: int
    """Segments of the other box that this one has read; 0 where it had written none, and nothing was to be taken."""
    sequence: int
    """Of the last segment, which is this box's own."""


async def owe_claim(ledger: Ledger, state: SiteStateEntry, now: float) -> None:
    """The catalog will say with the next segment that this box writes the site from `now` on (seconds since the epoch)."""
    await ledger.chain.owe([msgspec.json.encode(msgspec.structs.replace(state, at=now))], now)


async def take_over(ledger: Ledger, lane: CatalogLane, following: Following, now: float) -> Taken:
    """Make this box the one that writes: read what the other one wrote, claim the site, and say all that is owed. Cloudsync is stopped.

    Broken off at any point, it can be done again. Raises NotRead, KeysChanged, AnotherWriter when the other box was quicker once more,
    what Following.run raises of the other box's segments, and what the archive raises.
    """
    await check_read(ledger)
    followed = 0
    try:
        await lane.look()
        await lane.settle()
    except AnotherWriter:
        await ledger.chain.withdraw()
        followed = await following.newer()
        state = await ledger.verifying.site_state()
        if state is not None and state.sealed is not None:
            sealed = state.sealed
            claim = SiteStateEntry(
                number=state.number, at=now, bytes=state.size, digest=state.digest, sealed_bytes=sealed.size, sealed_digest=sealed.digest
            )
            await owe_claim(ledger, claim, now)
        await lane.settle()
    return Taken(followed, await ledger.chain.last_confirmed())
