"""The archive's clock as its answers show it, and how far ours is from it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from edge.clock import Clock

WRONG_SECONDS = 900.0
"""Azure takes a request whose time is 15 minutes off for a forgery."""
SET_CLOCK = "`timedatectl set-ntp true` lets it be kept, and the firewall has to let NTP out (UDP 123)"
_UNITS = ((2 * 86_400, 86_400, "days"), (7200, 3600, "hours"), (0, 60, "minutes"))
"""From how many seconds on, in which unit of how many."""


class FarClock:
    """Remembers what time an answer named, and counts on from there: a clock of ours that jumps later is found out, too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._there: float | None = None
        """The archive's time when our monotonic clock was at 0."""

    def heard(self, stamp: float) -> None:
        """The archive just said that it has this time, in seconds since the epoch."""
        self._there = stamp - self._clock.monotonic()

    def answered(self, date: str) -> None:
        """The archive just answered with this header `Date`; empty, or no date, says nothing."""
        stamp = stamp_of(date)
        if stamp is not None:
            self.heard(stamp)

    @property
    def ahead_seconds(self) -> float:
        """By how much our clock is ahead of the archive's; below zero behind it. 0 while the archive has not named a time."""
        return 0.0 if self._there is None else self._clock.now() - (self._there + self._clock.monotonic())

    @property
    def wrong(self) -> str:
        """What to say of our clock, with the cure; empty while it is right, as far as is known."""
        return "" if abs(self.ahead_seconds) < WRONG_SECONDS else f"{off(self.ahead_seconds)}: set it; {SET_CLOCK}"


def stamp_of(date: str) -> float | None:
    """A header `Date` (RFC 9110 section 6.6.1) in seconds since the epoch; None for whatever is no date."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def off(ahead_seconds: float) -> str:
    """That our clock is off, and by how much."""
    size = abs(ahead_seconds)
    _, unit, name = next(each for each in _UNITS if size >= each[0])
    return f"the clock of this box is {size / unit:.0f} {name} {'ahead of' if ahead_seconds > 0 else 'behind'} the archive's"
