"""The comparison of the archive with the ledger: how far it is, what there should be, and what was found."""

from __future__ import annotations

import json

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Sealed, SiteState, Stored, Verification
from edge.model import Digest, PackId


class Verifying:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self) -> Verification:
        """The one that is under way, or ended last."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("verification")
        assert row is not None
        values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row is a sequence of values, its keys are asked for
        return Verification(**values | {"faults": tuple(json.loads(row["faults"]))})

    async def begin(self, percent: float) -> None:
        """Begin one that nobody asked for."""
        async with self._database.transaction() as transaction:
            await transaction.run("verification_asked", asked=0, percent=percent)

    async def advanced(self, to: Verification) -> bool:
        """So far it is; False when another one was begun meanwhile."""
        async with self._database.transaction() as transaction:
            return (
                await transaction.run(
                    "verification_advanced",
                    number=to.number,
                    upto=to.upto,
                    began_at=to.began_at,
                    ended_at=to.ended_at,
                    objects=to.objects,
                    read_objects=to.read_objects,
                    read_bytes=to.read_bytes,
                    damaged=to.damaged,
                    faults=json.dumps(to.faults, ensure_ascii=False),
                )
                > 0
            )

    async def holdings(self) -> int:
        """How many there are."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("holdings_counted")
        assert row is not None
        return int(row["holdings"])

    async def stored(self, prefix: str) -> tuple[Stored, ...]:
        """The holdings whose ids in the archive begin so, in the order of those."""
        async with self._database.transaction() as transaction:
            rows = await transaction.all("holdings_stored", first=prefix, beyond=f"{prefix}~")
            return tuple(
                Stored(PackId(row["pack"]), PackId(row["stored_as"]), row["sums"], Digest(row["sums_digest"]), row["damage"] or "")
                for row in rows
            )

    async def damaged(self, holding: Stored, reason: str) -> None:
        """The archive's copy is not whole: edge is told. Nothing changes where the pack was shipped anew meanwhile."""
        async with self._database.transaction() as transaction:
            await transaction.run("holding_damaged", pack=holding.pack, stored_as=holding.stored_as, reason=reason)

    async def sound(self, holding: Stored) -> None:
        """Each byte of the archive's copy was read, and is what it was: edge is told, where it was told otherwise."""
        async with self._database.transaction() as transaction:
            await transaction.run("holding_sound", pack=holding.pack, stored_as=holding.stored_as)

    async def site_state(self) -> SiteState | None:
        """The newest copy of the site's decisions that the catalog names, with what the archive should have of it."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("site_state_listed")
        if row is None:
            return None
        sealed = Sealed(row["sealed_bytes"], Digest(row["sealed_digest"]), row["sealed_md5"])
        return SiteState(row["number"], row["bytes"], Digest(row["digest"]), sealed)

    async def site_state_damaged(self, number: int) -> None:
        """This copy does not count any more; the next one gets another number, also if it is the same."""
        async with self._database.transaction() as transaction:
            await transaction.run("site_state_damaged", number=number)
