"""The ledger as a whole: one file, seen by each use case through a part of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cloudsync.ledger.allowances import Allowances
from cloudsync.ledger.asked import Asked
from cloudsync.ledger.chain import Chain
from cloudsync.ledger.database import Database
from cloudsync.ledger.following import Following
from cloudsync.ledger.holdings import Holdings
from cloudsync.ledger.instances import Instances
from cloudsync.ledger.merges import Merges
from cloudsync.ledger.recalls import Recalls
from cloudsync.ledger.retiring import Retiring
from cloudsync.ledger.shipping import Shipping
from cloudsync.ledger.telling import Telling
from cloudsync.ledger.verifying import Verifying


@dataclass(frozen=True, slots=True)
class Ledger:
    """An open ledger. Every method of its parts is one transaction: flushed when it returns, nothing of it done when it raises."""

    database: Database
    asked: Asked
    shipping: Shipping
    chain: Chain
    merges: Merges
    holdings: Holdings
    recalls: Recalls
    telling: Telling
    verifying: Verifying
    retiring: Retiring
    allowances: Allowances
    following: Following
    instances: Instances

    @classmethod
    async def open(cls, path: Path) -> Ledger:
        """Open the file, made on first use. Raises NewerDatabase, and Corrupt when it is no ledger or damaged."""
        opened, turn = await Database.open(path), asyncio.Lock()
        return cls(
            opened,
            Asked(opened, turn),
            Shipping(opened),
            Chain(opened),
            Merges(opened),
            Holdings(opened),
            Recalls(opened),
            Telling(opened, turn),
            Verifying(opened),
            Retiring(opened),
            Allowances(opened),
            Following(opened, turn),
            Instances(opened),
        )

    async def close(self) -> None:
        await self.database.close()
