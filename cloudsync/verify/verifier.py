"""Compares the archive with the ledger whenever that is due or asked for. After a restart it goes on where it was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar

from cloudsync.archive.port import Archive
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Verification
from cloudsync.seal.keys import Keys
from cloudsync.teller import Teller
from cloudsync.verify.comparison import Comparison, Course, Superseded
from cloudsync.verify.merges import Merges
from cloudsync.verify.packs import Packs
from cloudsync.verify.sample import steps
from cloudsync.verify.segments import Segments
from edge.clock import Clock
from edge.config import Archive as Settings

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0
_CATALOG = "c"
"""The first step; those of packs are p and the beginning of their ids."""

C = TypeVar("C", bound=Course)


class Rounds:
    """One comparison at a time: the one that a person asked for, or the one that is due."""

    def __init__(self, ledger: Ledger, clock: Clock, settings: Settings) -> None:
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self.changed = asyncio.Event()
        """Set when one may have been asked for."""

    async def run(
        self, course_of: Callable[[Verification], C], first: Sequence[str], compare: Callable[[C, str, float], Awaitable[None]]
    ) -> NoReturn:
        """Compare, for ever: the steps `first`, then packs, each by `compare`, which is told how far it is (from 0 to 1)."""
        last = await self._ledger.verifying.last()
        if last.number and last.ended_at is not None:
            course_of(last).say(1.0)
        while True:
            self.changed.clear()
            last = await self._ledger.verifying.last()
            if last.ended_at is None:
                with suppress(Superseded):
                    await self._once(course_of(last), first, compare)
                continue
            due = due_seconds(last, self._settings.verify_days * _DAY_SECONDS, self._clock.now())
            if due is not None and due <= 0:
                await self._ledger.verifying.begin(self._settings.verify_read_percent)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await self.changed.wait()

    async def _once(self, course: C, first: Sequence[str], compare: Callable[[C, str, float], Awaitable[None]]) -> None:
        await course.begin()
        todo = [*first, *(f"p{prefix}" for prefix in steps(await self._ledger.verifying.holdings()))]
        for number, step in enumerate(todo):
            if done(step, course.found.upto):
                continue
            course.say_now_and_then(number / len(todo))
            await compare(course, step, number / len(todo))
            await course.did(step)
        await course.end()
        found = course.found
        log.log(
            logging.ERROR if found.damaged or found.faults else logging.INFO,
            "the archive was compared: %d objects, %d read; %d packs are damaged, %d other faults",
            *(found.objects, found.read_objects, found.damaged, len(found.faults)),
        )


class Verifier:
    """Compares an archive of sealed objects: catalog, site state, packs."""

    def __init__(self, ledger: Ledger, keys: Keys, teller: Teller, clock: Clock, settings: Settings, busy: Callable[[], bool]) -> None:
        """`busy` says whether somebody waits for the link: a comparison that nobody asked for waits then."""
        self._ledger = ledger
        self._teller = teller
        self._clock = clock
        self._settings = settings
        self._busy = busy
        self._rounds = Rounds(ledger, clock, settings)
        self._segments = Segments(ledger, keys, teller)
        self._merges = Merges(ledger, keys)
        self._packs = Packs(ledger, keys, teller)

    def wake(self) -> None:
        """One may have been asked for."""
        self._rounds.changed.set()

    async def run(self, archive: Archive) -> None:
        """Compare, for ever."""
        await self._rounds.run(lambda last: self._comparison(last, archive), [_CATALOG], self._compare)

    def _comparison(self, last: Verification, archive: Archive) -> Comparison:
        pace = self._settings.verify_bytes_per_second
        return Comparison(last, archive, self._ledger, self._teller, self._clock, pace, self._busy, self._rounds.changed)

    async def _compare(self, comparison: Comparison, step: str, so_far: float) -> None:
        if step == _CATALOG:
            await self._segments.compare(comparison)
            await self._merges.compare(comparison)
            await self._segments.compare_site_state(comparison)
        else:
            await self._packs.compare(comparison, step[1:], so_far)


def done(step: str, upto: str) -> bool:
    """Whether a step was done by a comparison that came so far, though it may have been cut into shorter steps then."""
    return step == upto or (step < upto and not upto.startswith(step))


def due_seconds(last: Verification, period_seconds: float, now: float) -> float | None:
    """Seconds until the next one begins by itself; None for never. A clock that was set back does not put it off."""
    if period_seconds <= 0:
        return None
    waited = now - (last.began_at or 0.0)
    return max(0.0, period_seconds - waited) if waited >= 0 else 0.0
