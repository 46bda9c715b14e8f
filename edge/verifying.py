"""Has cloudsync compare the archive with its ledger, and says what was found."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

import msgspec

from edge.asks import Asks
from edge.control.verify import CURE, GetVerify, Hurt, StartVerify, Verified
from edge.durable import disk_errors
from edge.errors import Transient
from edge.journal import Verification, Verify
from edge.link import answers
from edge.reach import Reach
from edge.responder import PEOPLE, Asker, Responder, at_once, streamed
from edge.store.catalogue import Catalogue

LOOK_SECONDS = 0.2
"""How often it is looked whether there is news for who waits."""
_NAMED = 5


class Verifying:
    """Answers requests in the loop; `found` and `alarms` are for any thread."""

    def __init__(self, catalogue: Catalogue, asks: Asks, reach: Reach) -> None:
        self._catalogue = catalogue
        self._asks = asks
        self._reach = reach
        self._waiting: list[dict[str, Hurt]] = []
        """For each comparison that somebody waits for: what it found, also where the pack was mended before its end."""

    def responders(self) -> Iterable[Responder]:
        return [at_once(GetVerify, PEOPLE, self._tell), streamed(StartVerify, PEOPLE, self._start)]

    def found(self, pack: str) -> None:
        """The archive's copy of this pack is not whole, as the catalogue has it now."""
        for hurt in self._hurt():
            if hurt.pack == pack:
                for one in list(self._waiting):
                    one[pack] = hurt

    def alarms(self) -> list[str]:
        """What a person must see to."""
        told = self._told()
        alarms = [] if told is None else [f"The archive is not as it should be: {fault}" for fault in told.faults[:_NAMED]]
        lasting = [hurt for hurt in self._hurt() if not hurt.mending]
        alarms += [f"{_called(hurt)} is damaged in the archive: {hurt.reason}. {CURE}" for hurt in lasting[:_NAMED]]
        if len(lasting) > _NAMED:
            alarms.append(f"{len(lasting) - _NAMED} more packs are damaged in the archive: `outpost verify --last` names them.")
        return alarms

    def _tell(self, _request: GetVerify, _asker: Asker) -> list[Verified | Hurt]:
        told = self._told()
        return [*([] if told is None else [self._verified(told)]), *self._hurt()]

    async def _start(self, request: StartVerify, _asker: Asker) -> AsyncGenerator[Verified | Hurt, None]:
        found: dict[str, Hurt] = {}
        self._waiting.append(found)
        try:
            async with contextlib.aclosing(self._follow(await asyncio.to_thread(self._ask, request.percent))) as followed:
                async for now in followed:
                    yield now
        finally:
            self._waiting[:] = [one for one in self._waiting if one is not found]
        found |= {hurt.pack: hurt for hurt in await asyncio.to_thread(self._hurt)}
        for hurt in found.values():
            yield hurt

    async def _follow(self, seq: int) -> AsyncGenerator[Verified, None]:
        """How far the comparison is that was asked for, whenever it has come further, until it ends."""
        before: Verified | None = None
        while True:
            told = await asyncio.to_thread(self._told)
            if told is not None and told.asked >= seq:
                now = self._verified(told)
                if now != before:
                    before = now
                    yield now
                if told.ended_at is not None:
                    return
            elif self._reach.silent_since() is not None:
                raise Transient("Cloudsync, which asks the archive, does not run: its log says why. It compares the archive once it runs.")
            await asyncio.sleep(LOOK_SECONDS)

    def _ask(self, percent: float) -> int:
        with disk_errors():
            return self._asks.tell(Verify(percent=percent))

    def _told(self) -> Verification | None:
        """What cloudsync said last; None before it said anything."""
        told = self._catalogue.figure("verification")
        return None if told is None else msgspec.json.decode(told, type=Verification)

    def _hurt(self) -> list[Hurt]:
        return [
            Hurt(study=study, accession=accession, pack=pack, reason=reason, mending=bool(mending))
            for study, accession, pack, reason, mending in self._catalogue.rows("damaged_packs")
        ]

    def _verified(self, told: Verification) -> Verified:
        link = self._reach.link()
        return Verified(
            percent=told.percent,
            began_at=told.began_at,
            ended_at=told.ended_at,
            done=told.done,
            objects=told.objects,
            read_objects=told.read_objects,
            read_bytes=told.read_bytes,
            damaged=told.damaged,
            faults=told.faults,
            hindered=link.sentence if link is not None and not answers(link) and told.ended_at is None else "",
        )


def _called(hurt: Hurt) -> str:
    accession = f" (accession number {hurt.accession})" if hurt.accession else ""
    return f"Study {hurt.study}{accession}"
