"""How the link is and what may go over it, for people; and their pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import msgspec

from edge import status
from edge.asks import Asks
from edge.clock import Clock
from edge.control.link import GetLink, LinkNow, PauseLink, ResumeLink
from edge.durable import disk_errors
from edge.errors import Transient
from edge.journal import Allowance, Pause, Resume
from edge.reach import Reach
from edge.responder import PEOPLE, Asker, Responder, at_once, streamed
from edge.store.catalogue import Catalogue

LOOK_SECONDS = 0.1
"""How often it is looked whether cloudsync has followed what was asked."""
ANSWER_SECONDS = 60.0
"""Whoever asked is told so long after that it is still to be done: cloudsync's disk may be full, say."""


class Linking:
    """Answers requests in the loop; `hold` is for any thread."""

    def __init__(self, catalogue: Catalogue, asks: Asks, reach: Reach, clock: Clock) -> None:
        self._catalogue = catalogue
        self._asks = asks
        self._reach = reach
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(GetLink, PEOPLE, lambda _request, _asker: [self._now()]),
            streamed(PauseLink, PEOPLE, self._pause),
            streamed(ResumeLink, PEOPLE, self._resume),
        ]

    def hold(self) -> str:
        """Why not everything is shipped, in a sentence; empty where nothing keeps it."""
        return status.hold(self._told(), self._clock.now())

    def told(self) -> tuple[Allowance | None, str]:
        """What cloudsync said last of what may go, and why not everything does, in a sentence. For any thread."""
        return self._told(), self.hold()

    def hindered(self) -> str:
        """Why the archive takes nothing, in a sentence; empty while it does. For any thread."""
        link = status.link(self._reach.link(), self._reach.silent_since(), self._clock.now())
        return "" if link.state in {"up", ""} or (link.state == "clock" and link.answers) else link.sentence

    async def _pause(self, request: PauseLink, _asker: Asker) -> AsyncGenerator[LinkNow, None]:
        yield await self._follow(Pause(until=request.until))

    async def _resume(self, _request: ResumeLink, _asker: Asker) -> AsyncGenerator[LinkNow, None]:
        yield await self._follow(Resume())

    async def _follow(self, ask: Pause | Resume) -> LinkNow:
        seq, until = await asyncio.to_thread(self._ask, ask), self._clock.monotonic() + ANSWER_SECONDS
        while True:
            told = await asyncio.to_thread(self._told)
            if told is not None and told.asked >= seq:
                return await asyncio.to_thread(self._now)
            if self._reach.silent_since() is not None:
                raise Transient("Cloudsync, which ships to the archive, does not run: its log says why. It will do so once it runs.")
            if self._clock.monotonic() >= until:
                raise Transient("Cloudsync, which ships to the archive, has not done so yet. It will: `outpost status` says what keeps it.")
            await asyncio.sleep(LOOK_SECONDS)

    def _ask(self, ask: Pause | Resume) -> int:
        with disk_errors():
            return self._asks.tell(ask)

    def _told(self) -> Allowance | None:
        """What cloudsync said last; None before it said anything."""
        told = self._catalogue.figure("allowance")
        return None if told is None else msgspec.json.decode(told, type=Allowance)

    def _now(self) -> LinkNow:
        now, told = self._clock.now(), self._told()
        link = status.link(self._reach.link(), self._reach.silent_since(), now)
        return LinkNow(
            state=link.state,
            since=link.since,
            sentence=link.sentence,
            goodput_bytes_per_second=link.goodput_bytes_per_second,
            round_trip_seconds=told.round_trip_seconds if told else 0.0,
            hold=told.hold if told else "",
            hold_sentence=status.hold(told, now),
            paused_until=told.paused_until if told else None,
            cap_bytes_per_second=told.cap_bytes_per_second if told else 0.0,
            budget_bytes=told.budget_bytes if told else 0,
            used_bytes=told.used_bytes if told else 0,
            month_began_at=told.month_began_at if told else 0.0,
            month_ends_at=told.month_ends_at if told else 0.0,
        )
