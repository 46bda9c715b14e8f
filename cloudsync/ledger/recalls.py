"""What edge wants back, and what became of it."""

from __future__ import annotations

from cloudsync.ledger.database import Database
from edge.model import Digest, PackId


class Recalls:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def wanted(self, at_most: int) -> tuple[tuple[PackId, int], ...]:
        """Wanted parts in the order asked."""
        async with self._database.transaction() as transaction:
            return tuple((PackId(row["pack"]), row["number"]) for row in await transaction.all("recalls_next", at_most=at_most))

    async def here(self, pack: PackId, number: int, size: int, digest: Digest) -> bool:
        """The part lies in the inbox, whole. False when nobody wants it any more: the caller removes it."""
        async with self._database.transaction() as transaction:
            return await transaction.run("recall_here", pack=pack, number=number, bytes=size, digest=digest) > 0

    async def failed(self, pack: PackId, number: int, reason: str) -> None:
        """The archive has no such bytes; edge is told, and may ask again."""
        async with self._database.transaction() as transaction:
            await transaction.run("recall_failed", pack=pack, number=number, reason=reason)

    async def in_inbox(self) -> frozenset[tuple[PackId, int]]:
        """The parts that lie in the inbox."""
        async with self._database.transaction() as transaction:
            return frozenset((PackId(row["pack"]), row["number"]) for row in await transaction.all("recalls_here"))

    async def in_inbox_of(self, pack: PackId) -> frozenset[int]:
        """The parts of one pack that lie in the inbox."""
        async with self._database.transaction() as transaction:
            return frozenset(row["number"] for row in await transaction.all("recalls_here_of", pack=pack))

    async def wanted_again(self, pack: PackId, number: int) -> None:
        """The inbox does not have this part after all."""
        async with self._database.transaction() as transaction:
            await transaction.run("recall_wanted_again", pack=pack, number=number)
