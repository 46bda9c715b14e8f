"""Tells edge what happened: whatever the ledger holds untold becomes a fact, and is marked told once the fact is flushed.

A crash in between tells it again, and edge applies facts idempotently. Facts that only matter now (progress, the link) are not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Pack, Recalled
from edge import journal
from edge.journalfiles import JournalWriter

_AT_MOST = 200


class Teller:
    """The one writer of the facts. `say` and `wake` are for any task of the loop."""

    def __init__(self, ledger: Ledger, facts: JournalWriter, ring: Callable[[], None], complete: Callable[[], bool] = lambda: True) -> None:
        """`complete` says whether the ledger knows every holding: until then no ask is acknowledged, edge waits for them with it."""
        self._complete = complete
        self._ledger = ledger
        self._facts = facts
        self._ring = ring
        self._said: list[journal.Entry] = []
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()

    def wake(self) -> None:
        """Something in the ledger is untold."""
        self._woken.set()

    def say(self, *facts: journal.Entry) -> None:
        """Facts that need no record: lost when the process dies before they are written."""
        self._said += facts
        self._woken.set()

    def forget(self, upto: int) -> None:
        """Edge has committed the facts up to here. Idempotent."""
        self._facts.forget(upto)

    async def run(self) -> None:
        """Tell, for ever. Cancelled in the middle, what was begun is still told; `flush` waits for it."""
        while True:
            self._woken.clear()
            telling = asyncio.create_task(self.flush(), name="tell now")
            await asyncio.shield(telling)
            await self._woken.wait()

    async def flush(self) -> None:
        """Tell everything that is untold now; flushed when it returns."""
        async with self._turn:
            while True:
                async with self._ledger.telling.turn:
                    if not await self._round():
                        return

    async def _round(self) -> bool:
        telling = self._ledger.telling
        position = await self._ledger.asked.position()
        site_state = await telling.site_state()
        packs = await telling.packs(_AT_MOST)
        retired = await telling.retired(_AT_MOST)
        recalls = await telling.recalls(_AT_MOST)
        said, self._said = self._said, []
        facts: list[journal.Entry] = []
        if site_state is not None:
            facts.append(journal.SiteStateHere(bytes=site_state.size, digest=site_state.digest))
        facts += [fact for pack in packs for fact in _pack_facts(pack)]
        facts += [journal.Retired(pack=pack) for pack in retired]
        facts += [_recall_fact(recalled) for recalled in recalls]
        facts += said
        # An acknowledgement comes behind all that the asks before it want told of packs: who lost its catalogue waits for it.
        acknowledged = position.acknowledged
        if self._complete() and position.owed > acknowledged and max(len(packs), len(retired)) < _AT_MOST:
            acknowledged = position.position
            facts.append(journal.Ack(upto=acknowledged))
        if not facts:
            return False
        await asyncio.to_thread(self._facts.append, *facts)
        await telling.told(site_state, packs, retired, recalls, acknowledged)
        self._ring()
        return True


def _pack_facts(pack: Pack) -> list[journal.Entry]:
    if pack.state == "stopped":
        return [journal.Stopped(pack=pack.pack, reason=pack.reason)]
    held = journal.Held(
        pack=pack.pack,
        held_at=pack.proven_at,
        instances=pack.instances,
        raw_bytes=pack.raw_bytes,
        sealed_bytes=pack.sealed_bytes,
        sha256=pack.sha256,
        study=pack.study,
        series=pack.series,
        origin=pack.origin,
        news=pack.news,
    )
    return [held, journal.Damaged(pack=pack.pack, reason=pack.damage)] if pack.damage else [held]


def _recall_fact(recalled: Recalled) -> journal.Entry:
    if recalled.digest is None:
        return journal.RecallFailed(pack=recalled.pack, parts=[recalled.number], reason=recalled.reason or "", final=True)
    return journal.Here(pack=recalled.pack, number=recalled.number, bytes=recalled.size, digest=recalled.digest)
