"""Merges of the catalog as recorded: the one on its way, and what the archive has of them."""

from __future__ import annotations

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Recorded
from cloudsync.span import LEVELS_MOST, Span, segments_of
from edge.model import Digest


class Merges:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self) -> Span | None:
        """A merge whose parts the archive has, and that is not recorded; the lowest level first. None where there is none."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("chain_confirmed")
            assert row is not None
            below = row["sequence"]
            for level in range(1, LEVELS_MOST + 1):
                row = await transaction.one("merges_end", level=level)
                assert row is not None
                span = Span(level, row["last"] // segments_of(level) * segments_of(level) + 1)
                if span.last <= below:
                    return span
                below = row["last"]
        return None

    async def parts(self, span: Span) -> tuple[Recorded, ...]:
        """The parts of a merge that the archive has, in order; fewer than 32 where one was passed over."""
        async with self._database.transaction() as transaction:
            if span.level == 1:
                rows = await transaction.all("segments_between", first=span.first, last=span.last)
                return tuple(Recorded(Span(0, row["sequence"]), row["sealed"], Digest(row["tip"])) for row in rows)
            rows = await transaction.all("merges_between", level=span.level - 1, first=span.first, last=span.last)
            return tuple(Recorded(Span(span.level - 1, row["first"]), row["sealed"], None) for row in rows if row["state"] == "there")

    async def sending(self) -> Recorded | None:
        """The merge that is recorded and not confirmed."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("merge_sending")
        return None if row is None else Recorded(Span(row["level"], row["first"]), row["sealed"], None)

    async def record(self, span: Span, sealed: bytes) -> None:
        """A merge, before the first byte of it is sent."""
        await self._put(span, "sending", sealed)

    async def confirmed(self, span: Span, sealed: bytes) -> None:
        """The archive has exactly this merge."""
        async with self._database.transaction() as transaction:
            await transaction.run("merge_ended", level=span.level, first=span.first, state="there", sealed=sealed)

    async def pass_over(self, span: Span) -> None:
        """A merge that is not recorded will not be written."""
        await self._put(span, "passed", None)

    async def give_up(self, span: Span) -> None:
        """The archive will not have the recorded merge."""
        async with self._database.transaction() as transaction:
            await transaction.run("merge_ended", level=span.level, first=span.first, state="passed", sealed=None)

    async def there(self) -> dict[Span, int]:
        """The merges that the archive had confirmed, in order, and their bytes."""
        async with self._database.transaction() as transaction:
            return {Span(row["level"], row["first"]): row["size"] for row in await transaction.all("merges_there")}

    async def sealed(self, span: Span) -> bytes | None:
        """The bytes of a merge; None where it was passed over, or is not recorded."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("merge_sealed", level=span.level, first=span.first)
        return None if row is None else row["sealed"]

    async def _put(self, span: Span, state: str, sealed: bytes | None) -> None:
        async with self._database.transaction() as transaction:
            await transaction.run("merge_put", level=span.level, first=span.first, last=span.last, state=state, sealed=sealed)
