"""Holdings that are retired: what there is to choose from, and the tombstones that are owed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

import msgspec

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Known
from cloudsync.segment import Tombstone
from edge.model import PackId

_ROWS = 500


class Retiring:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> AsyncIterator[Known]:
        """Every pack of our own of which something is known, in whatever state."""
        after = ""
        while True:
            async with self._database.transaction() as transaction:
                rows = list(await transaction.all("packs_of_studies", after=after, at_most=_ROWS))
            for row in rows:
                yield Known(
                    PackId(row["pack"]),
                    PackId(row["stored_as"]),
                    row["state"],
                    json.loads(row["study"]),
                    json.loads(row["series"]),
                    row["instances"],
                    row["sealed_bytes"] or 0,
                    row["proven_at"] or 0.0,
                )
            if not rows:
                return
            after = rows[-1]["pack"]

    async def is_retired(self, stored_as: PackId) -> bool:
        """Whether the pack that the archive has under this id stands as retired."""
        async with self._database.transaction() as transaction:
            return await transaction.one("is_retired", stored_as=stored_as) is not None

    async def retire(self, tombstones: Iterable[Tombstone]) -> int:
        """These packs are no holdings any more, and the catalog owes their tombstones, all together; how many. What is no holding, or is
        retired already, is passed over. Edge is told once the archive has the segment.
        """
        retired = 0
        async with self._database.transaction() as transaction:
            for tombstone in tombstones:
                row = await transaction.one("holding_named", stored_as=tombstone.pack, origin=None)
                if row is None:
                    continue
                entry = msgspec.json.encode(tombstone)
                await transaction.run("entry_queued", entry=entry, pack=None, site=None, queued_at=tombstone.at, urgent=True)
                last = await transaction.one("entry_last")
                assert last is not None
                await transaction.run(
                    "holding_retired",
                    pack=row["pack"],
                    stored_as=tombstone.pack,
                    at=tombstone.at,
                    entry=last["number"],
                    told=False,
                    origin=None,
                )
                await transaction.run("recalls_taken", pack=row["pack"])
                await transaction.run("holding_drop", pack=row["pack"])
                retired += 1
        return retired
