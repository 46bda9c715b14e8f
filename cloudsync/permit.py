"""What may go over the link now: the cap by the clock, the month's budget, and a person's pause. And what has gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from cloudsync.ledger.allowances import Allowances
from cloudsync.link.budget import Budget, Hold, hold
from cloudsync.link.pacing import Pacing
from cloudsync.link.schedule import schedule
from edge.clock import Clock
from edge.config import Link as Settings
from edge.journal import Allowance

_COUNT_SECONDS = 5.0
"""What went is recorded so often: so much of it a power cut may forget."""
_SAY_SECONDS = 60.0


class Permit:
    """Asked before each object that is begun; what is under way is ended."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._schedule = schedule(settings.cap_bytes_per_second, settings.schedule)
        self._budget = Budget(settings.monthly_budget_bytes, settings.budget_first_day, settings.budget_stat_percent)
        self._clock = clock
        self._now = asyncio.Event()
        self._asked = 0
        self._paused = False
        self._paused_until: float | None = None
        self._month = ""
        self._used = 0
        self._recorded_wire = 0
        self._held = Hold.NONE
        self._said: tuple[object, ...] = ()
        self._said_at = 0.0
        self.pacing = Pacing(clock, self._cap, settings.cap_bytes_per_second)

    @property
    def least_cap(self) -> float:
        """Bytes a second; 0 for none."""
        return self._schedule.least

    @property
    def hold(self) -> Hold:
        """Why not everything may go now."""
        paused = self._paused and (self._paused_until is None or self._clock.now() < self._paused_until)
        return hold(paused, self._budget.hold(self._used_now()))

    def look(self) -> Hold:
        """As `hold`; a change is told at once, not when it is next looked at."""
        if self.hold is not self._held:
            self._now.set()
        return self.hold

    @property
    def refusal(self) -> str:
        """Why nothing may be recalled now, for people; empty when it may."""
        if self.hold is not Hold.SPENT:
            return ""
        ends = self._budget.ends(self._budget.began(self._local()))
        return f"the data budget of this month is used up: the next one begins on {ends:%Y-%m-%d}, or raise link.monthly_budget_bytes"

    def reread(self) -> None:
        """A person asked for a pause, or for its end."""
        self._now.set()

    async def begin(self, ledger: Allowances) -> None:
        """What was recorded before the start."""
        found = await ledger.now()
        self._month, self._used = found.month, found.used_bytes
        self._asked, self._paused, self._paused_until = found.asked, found.paused, found.paused_until

    async def keep(
        self, ledger: Allowances, round_trip: Callable[[], float], tell: Callable[[Allowance], None], changed: Callable[[], None]
    ) -> NoReturn:
        """Record what goes, and tell how it is, for ever. `changed` is called when more may go than before."""
        while True:
            self._now.clear()
            found = await ledger.now()
            self._asked, self._paused, self._paused_until = found.asked, found.paused, found.paused_until
            await self.record(ledger)
            self._say(round_trip(), tell)
            if self.hold is not self._held:
                self._held = self.hold
                changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_seconds()):
                    await self._now.wait()

    async def record(self, ledger: Allowances) -> None:
        """Record what went since that was done last."""
        wire, month = self.pacing.wire_bytes, self._month_now()
        if wire == self._recorded_wire and month == self._month:
            return
        count = wire - self._recorded_wire
        await ledger.used(month, count)
        self._used = count + (self._used if month == self._month else 0)
        self._month, self._recorded_wire = month, wire

    def _used_now(self) -> int:
        before = self._used if self._month_now() == self._month else 0
        return before + self.pacing.wire_bytes - self._recorded_wire

    def _month_now(self) -> str:
        return self._budget.began(self._local()).date().isoformat()

    def _wait_seconds(self) -> float:
        """Until it is to be looked again: at the end of a pause at once."""
        ends = self._paused_until if self.hold is Hold.PAUSED else None
        return _COUNT_SECONDS if ends is None else min(_COUNT_SECONDS, max(0.05, ends - self._clock.now()))

    def _say(self, round_trip: float, tell: Callable[[Allowance], None]) -> None:
        began = self._budget.began(self._local())
        now = self._clock.monotonic()
        said = (self._asked, self.hold, self._cap())
        if said == self._said and now - self._said_at < _SAY_SECONDS:
            return
        self._said, self._said_at = said, now
        tell(
            Allowance(
                asked=self._asked,
                hold=self.hold,
                paused_until=self._paused_until if self.hold is Hold.PAUSED else None,
                cap_bytes_per_second=self._cap(),
                budget_bytes=self._budget.month_bytes,
                used_bytes=self._used_now(),
                month_began_at=began.timestamp(),
                month_ends_at=self._budget.ends(began).timestamp(),
                round_trip_seconds=round_trip,
            )
        )

    def _local(self) -> datetime:
        """The clinic's clock."""
        return datetime.fromtimestamp(self._clock.now())  # noqa: DTZ006 - schedule and month mean the local time

    def _cap(self) -> float:
        return self._schedule.cap_at(self._local())
