"""What edge has yet to be told. The queue is a query: nothing has to be enqueued, so nothing can be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cloudsync.ledger.database import Database, Value
from cloudsync.ledger.holdings import pack_of
from cloudsync.ledger.values import Pack, Recalled, SiteState
from edge.model import Digest, PackId


class Telling:
    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        self._database = database
        self.turn = turn
        """To be held from the first question until `told`: what is asked for again in between would count as told."""

    async def site_state(self) -> SiteState | None:
        """The site state in the inbox that edge does not know of."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("untold_site_states")
        return None if row is None else SiteState(row["number"], row["bytes"], Digest(row["digest"]), None)

    async def packs(self, at_most: int) -> tuple[Pack, ...]:
        """Holdings and stops that edge does not know of."""
        async with self._database.transaction() as transaction:
            return tuple(pack_of(row) for row in await transaction.all("untold_packs", at_most=at_most))

    async def retired(self, at_most: int) -> tuple[PackId, ...]:
        """Retired packs that edge does not know of, and whose tombstones the archive has."""
        async with self._database.transaction() as transaction:
            return tuple(PackId(row["pack"]) for row in await transaction.all("untold_retired", at_most=at_most))

    async def recalls(self, at_most: int) -> tuple[Recalled, ...]:
        """Arrivals and failures that edge does not know of."""
        async with self._database.transaction() as transaction:
            rows = await transaction.all("untold_recalls", at_most=at_most)
        return tuple(
            Recalled(
                PackId(row["pack"]),
                row["number"],
                row["bytes"] or 0,
                Digest(row["digest"]) if row["state"] == "here" else None,
                row["reason"],
            )
            for row in rows
        )

    async def told(
        self,
        site_state: SiteState | None,
        packs: Iterable[Pack],
        retired: Iterable[PackId],
        recalls: Iterable[Recalled],
        acknowledged: int,
    ) -> None:
        """The facts of all these stand in the journal, flushed, and an acknowledgement of the asks up to `acknowledged`."""
        async with self._database.transaction() as transaction:
            if site_state is not None:
                await transaction.run("told_site_state", number=site_state.number)
            await transaction.many("told_pack", ({"pack": pack.pack, "state": pack.state, "damage": pack.damage} for pack in packs))
            await transaction.many("told_retired", ({"pack": pack} for pack in retired))
            await transaction.many("told_recall", map(_told, recalls))
            await transaction.run("asks_acknowledged", upto=acknowledged)


def _told(recalled: Recalled) -> dict[str, Value]:
    return {"pack": recalled.pack, "number": recalled.number, "state": "here" if recalled.reason is None else "failed"}
