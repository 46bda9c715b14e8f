"""Time, as a constructor argument: everything that waits or stamps takes a Clock, so that tests need no sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, seconds since the epoch. May jump; for stamps only, never for order or timers."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. For timers and deadlines."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def utc(stamp: float) -> str:
    """A stamp as ISO 8601 in UTC, to the second: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
