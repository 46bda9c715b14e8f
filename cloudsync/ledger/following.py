"""Other sites whose catalogs are followed: how far each is read, together with what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from cloudsync.ledger import holdings
from cloudsync.ledger.database import Database
from cloudsync.ledger.values import ChainTip, Reading
from cloudsync.segment import Held, Tombstone
from edge.model import Digest


class Following:
    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        """`turn` is the one of Telling: no holding changes while it is being told."""
        self._database = database
        self._turn = turn

    async def read(self, site: str) -> Reading | None:
        """Up to where the catalog of a site is read, and what it shared there; None before its first segment."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("followed_tip", site=site)
        return None if row is None else Reading(ChainTip(row["sequence"], Digest(row["tip"]), row["signer"]), row["shared"])

    async def follow(
        self, site: str, name: str, upto: Reading, held: Iterable[Held], tombstones: Iterable[Tombstone] = (), since: float = 0.0
    ) -> None:
        """A verified segment of another site, with the holdings and tombstones in it: edge will be told of them, with the site whose they
        are. What was held `since` then (seconds since the epoch) is news. What it shared before stays where the segment shares nothing.

        Raises NotOurs, and nothing changes, for a pack that is known as one of another site, or that replaces or retires one that is not
        known as its own.
        """
        async with self._turn, self._database.transaction() as transaction:
            await holdings.put(transaction, name, held, site, since)
            await holdings.bury(transaction, name, tombstones, told=False, origin=site)
            tip = upto.tip
            await transaction.run("followed_upto", site=site, sequence=tip.sequence, tip=tip.digest, signer=tip.signer, shared=upto.shared)

    async def keep(self, sites: Collection[str], now: float) -> list[str]:
        """Forget what is known of any other site: edge will be told. Those that were forgotten."""
        async with self._turn, self._database.transaction() as transaction:
            gone = [row["site"] for row in await transaction.all("followed_sites") if row["site"] not in sites]
            for site in gone:
                await transaction.run("unfollowed_packs", site=site, at=now)
                for name in ("unfollowed_recalls", "unfollowed_holdings", "unfollowed"):
                    await transaction.run(name, site=site)
        return gone
