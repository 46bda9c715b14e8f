"""What may go over the link: a person's pause, and what went in the budget's month."""

from __future__ import annotations

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Allowance


class Allowances:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> Allowance:
        """As it is recorded."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("allowance")
        assert row is not None
        return Allowance(row["asked"], bool(row["paused"]), row["paused_until"], row["month"], row["used_bytes"])

    async def used(self, month: str, count: int) -> None:
        """So many more bytes went over the link in this month; with another month than before, counting begins anew."""
        async with self._database.transaction() as transaction:
            await transaction.run("used", month=month, bytes=count)
