"""The catalog chain as recorded: entries that are owed, the segment in flight, and where the chain stands."""

from __future__ import annotations

from collections.abc import Sequence

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import ChainTip, InFlight, Queued, Recorded, Segment
from cloudsync.span import Span
from edge.model import Digest


class Chain:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def owe(self, entries: Sequence[bytes], at: float) -> None:
        """Queue entries that no pack and no copy of site state waits for, all or none: an epoch of keys, what is shared, a takeover. They
        do not wait.
        """
        async with self._database.transaction() as transaction:
            for entry in entries:
                await transaction.run("entry_queued", entry=entry, pack=None, site=None, queued_at=at, urgent=True)

    async def owed(self) -> tuple[bytes, ...]:
        """Of these entries the ones that the archive does not have yet, oldest first."""
        async with self._database.transaction() as transaction:
            return tuple(row["entry"] for row in await transaction.all("entries_of_keys"))

    async def queued(self, at_most: int) -> Queued | None:
        """The oldest entries that no segment says yet; None when there are none."""
        async with self._database.transaction() as transaction:
            rows = list(await transaction.all("entries_queued", at_most=at_most))
        if not rows:
            return None
        return Queued(tuple(row["entry"] for row in rows), rows[-1]["number"], rows[0]["queued_at"], any(row["urgent"] for row in rows))

    async def tip(self) -> ChainTip | None:
        """Where the chain stands after its last recorded segment; None before the first."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("chain_state")
        return None if row is None else ChainTip(row["sequence"], Digest(row["tip"]), row["signer"])

    async def last_confirmed(self) -> int:
        """The number of the last segment that the archive has; 0 before the first."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("chain_confirmed")
        assert row is not None
        return int(row["sequence"])

    async def in_flight(self) -> InFlight | None:
        """The segment that is recorded and not confirmed."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("segment_in_flight")
        return None if row is None else InFlight(row["sequence"], row["name"], row["sealed"])

    async def beginning(self) -> Recorded | None:
        """The first segment that is recorded, or the merge that stands for it; None before any."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("segments_from")
        return None if row is None else Recorded(Span(row["level"], row["first"]), row["sealed"], None)

    async def left(self) -> int:
        """How many segments before the first that is recorded are not: 0 but where a catalog is being read back."""
        found = await self.beginning()
        return 0 if found is None else found.span.first - 1

    async def record(self, name: str, sealed: bytes, tip: ChainTip, upto: int) -> None:
        """A segment that says all queued entries up to `upto`, before the first byte of it is sent."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "segment_put", sequence=tip.sequence, name=name, tip=tip.digest, signer=tip.signer, sealed=sealed, confirmed=False
            )
            await transaction.run("entries_taken", sequence=tip.sequence, upto=upto)

    async def withdraw(self) -> None:
        """The recorded segment will never be confirmed, because another box has its place: what it says is queued again."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("segment_in_flight")
            if row is not None:
                await transaction.run("entries_back", sequence=row["sequence"])
                await transaction.run("segment_withdrawn", sequence=row["sequence"])

    async def confirmed(self, sequence: int) -> int:
        """The archive has exactly this segment: the packs that it names are held. Returns how many."""
        async with self._database.transaction() as transaction:
            await transaction.run("segment_confirmed", sequence=sequence)
            held = await transaction.run("packs_held", sequence=sequence)
            await transaction.run("site_states_listed", sequence=sequence)
            await transaction.run("entries_said", sequence=sequence)
            return held

    async def confirmed_after(self, sequence: int, at_most: int) -> tuple[Segment, ...]:
        """The segments that the archive had confirmed behind a number, in order."""
        async with self._database.transaction() as transaction:
            rows = await transaction.all("segments_after", sequence=sequence, at_most=at_most)
            return tuple(Segment(row["sequence"], row["name"], Digest(row["tip"]), row["signer"], row["size"]) for row in rows)

    async def sealed(self, sequence: int) -> bytes | None:
        """The bytes of a segment; None where they are not kept."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("segment_sealed", sequence=sequence)
        return None if row is None else row["sealed"]
