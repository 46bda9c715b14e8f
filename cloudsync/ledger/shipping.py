"""Packs and site states under way: what is sent next, what is sealed, what is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from sqlite3 import Row

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Complete, Part, Progress, Sealed, SiteState
from cloudsync.seal.sums import Sum
from edge.model import Digest, PackId


class Shipping:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_parts(self, at_most: int, since: float) -> tuple[list[Part], list[Part]]:
        """Unconfirmed objects of what was received since then, and of the rest, at most so many of each: STAT first, heads before parts,
        then in the order asked.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.all("parts_next", at_most=at_most, since=since)
        return [_part(row) for row in rows if row["fresh"]], [_part(row) for row in rows if not row["fresh"]]

    async def sealed(self, part: Part, sealed: Sealed) -> bool:
        """Its sealed bytes lie in their file, whole. False when this attempt is no longer wanted."""
        async with self._database.transaction() as transaction:
            return (
                await transaction.run(
                    "part_sealed",
                    pack=part.pack,
                    number=part.number,
                    attempt=part.attempt,
                    sealed_bytes=sealed.size,
                    sealed_digest=sealed.digest,
                    sealed_md5=sealed.md5,
                )
                > 0
            )

    async def lost(self, part: Part) -> None:
        """Its sealed bytes are gone, and the archive does not have them: the next ones get another name."""
        async with self._database.transaction() as transaction:
            await transaction.run("part_lost", pack=part.pack, number=part.number, attempt=part.attempt)

    async def confirmed(self, part: Part) -> Progress:
        """The archive has exactly its sealed bytes."""
        async with self._database.transaction() as transaction:
            await transaction.run("part_confirmed", pack=part.pack, number=part.number, attempt=part.attempt)
            row = await transaction.one("pack_progress", pack=part.pack)
            assert row is not None
            return Progress(row["confirmed"], row["total"])

    async def stop(self, pack: PackId, reason: str) -> None:
        """Nothing of this pack goes on until edge asks for it again; edge is told the reason."""
        async with self._database.transaction() as transaction:
            await transaction.run("pack_stop", pack=pack, reason=reason)

    async def refused(self, pack: PackId, reason: str, again: Callable[[int], float | None]) -> bool:
        """The archive refused an object of a pack: nothing of it goes until the time that `again` gives for so many refusals; where that is
        None, it is stopped. Several that were refused at once count as one. True when it is stopped.
        """
        async with self._database.transaction() as transaction:
            row = await transaction.one("pack_tries", pack=pack)
            if row is None:
                return False
            refused = row["refused"] + 1
            at = again(refused)
            if at is None:
                await transaction.run("pack_stop", pack=pack, reason=f"{reason}; it was tried {refused} times")
            else:
                await transaction.run("pack_waits", pack=pack, refused=refused, retry_at=at)
            return at is None

    async def go_on(self, now: float, longest_seconds: float) -> float | None:
        """Packs that were refused go on when their time has come. When the next one's comes; None where none waits.

        None of them waits for longer than `longest_seconds`.
        """
        async with self._database.transaction() as transaction:
            await transaction.run("packs_go_on", now=now, latest=now + longest_seconds)
            row = await transaction.one("packs_wait")
            return None if row is None else row["at"]

    async def parts_kept(self) -> frozenset[tuple[PackId, int]]:
        """The parts whose sealed bytes have to be kept: recorded, and not confirmed."""
        async with self._database.transaction() as transaction:
            return frozenset((PackId(row["pack"]), row["number"]) for row in await transaction.all("parts_unconfirmed"))

    async def site_states_kept(self) -> frozenset[int]:
        """The site states whose sealed bytes have to be kept."""
        async with self._database.transaction() as transaction:
            return frozenset(row["number"] for row in await transaction.all("site_states_unconfirmed"))

    async def complete(self, at_most: int) -> tuple[Complete, ...]:
        """Packs whose objects are all confirmed, and whose sums are not."""
        async with self._database.transaction() as transaction:
            rows = await transaction.all("packs_complete", at_most=at_most)
            return tuple(Complete(PackId(row["pack"]), row["urgency"] == 0, row["sums"], PackId(row["stored_as"])) for row in rows)

    async def sum_up(self, pack: PackId, write: Callable[[tuple[Sum, ...]], bytes]) -> bytes | None:
        """Record the sums of a pack, made by `write` of its objects (head first), before the first byte of them is sent.

        None when an object is not confirmed after all: edge coded the pack again meanwhile.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.all("parts_of", pack=pack)
            objects = tuple(Sum(row["number"], row["sealed_bytes"], Digest(row["sealed_digest"]), row["attempt"]) for row in rows)
            if not objects:
                return None
            text = write(objects)
            digest = sha256(text).hexdigest()
            return text if await transaction.run("pack_summed", pack=pack, sums=text, sums_digest=digest) else None

    async def proven(self, pack: PackId, sealed_bytes: int, at: float, entry: bytes, *, urgent: bool) -> None:
        """The sums are confirmed; from here on the catalog owes `entry`, and the sums stand for the parts."""
        async with self._database.transaction() as transaction:
            if await transaction.run("pack_proven", pack=pack, sealed_bytes=sealed_bytes, proven_at=at):
                await transaction.run("parts_drop", pack=pack)
                await transaction.run("entry_queued", entry=entry, pack=pack, site=None, queued_at=at, urgent=urgent)

    async def nothing_left(self) -> bool:
        """No object of a pack or of site state waits to be sent."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("ships_nothing")
            return row is not None and bool(row["idle"])

    async def next_site_state(self) -> SiteState | None:
        """The oldest copy of the site's decisions that is on its way."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("site_state_next")
        return None if row is None else SiteState(row["number"], row["bytes"], Digest(row["digest"]), _sealed(row))

    async def site_state_sealed(self, number: int, sealed: Sealed) -> None:
        """Its sealed bytes lie in their file, whole."""
        async with self._database.transaction() as transaction:
            await transaction.run(
                "site_state_sealed", number=number, sealed_bytes=sealed.size, sealed_digest=sealed.digest, sealed_md5=sealed.md5
            )

    async def site_state_proven(self, number: int, at: float, entry: bytes) -> None:
        """The archive has exactly its sealed bytes; from here on the catalog owes `entry`."""
        async with self._database.transaction() as transaction:
            if await transaction.run("site_state_proven", number=number):
                await transaction.run("entry_queued", entry=entry, pack=None, site=number, queued_at=at, urgent=False)

    async def site_state_dropped(self, number: int) -> None:
        """This copy will not be sent."""
        async with self._database.transaction() as transaction:
            await transaction.run("site_state_dropped", number=number)

    async def site_state_again(self, lost: SiteState) -> None:
        """Its sealed bytes are gone, and the archive does not have them: it is sealed again under the next number."""
        async with self._database.transaction() as transaction:
            await transaction.run("site_state_dropped", number=lost.number)
            await transaction.run("site_state_asked", bytes=lost.size, digest=lost.digest)


def _part(row: Row) -> Part:
    return Part(
        PackId(row["pack"]),
        row["number"],
        row["attempt"],
        row["urgency"],
        row["plain_bytes"],
        Digest(row["plain_digest"]),
        _sealed(row),
        PackId(row["stored_as"]),
    )


def _sealed(row: Row) -> Sealed | None:
    if row["sealed_digest"] is None:
        return None
    return Sealed(row["sealed_bytes"], Digest(row["sealed_digest"]), row["sealed_md5"])
