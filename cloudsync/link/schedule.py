"""The cap on the link by the clinic's clock, as a function of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edge.config import HOURS

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """So many percent of the cap, on these days from one minute of the day to another; one that is not later lies in the next day."""

    days: frozenset[int]
    """0 is Monday."""
    begin: int
    end: int
    percent: int

    def cover(self, day: int, minute: int) -> bool:
        """Whether a minute of a day lies within."""
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What may be taken of the line at any time."""

    cap_bytes_per_second: float = 0.0
    """0: there is no cap."""
    hours: tuple[Hours, ...] = ()

    def cap_at(self, local: datetime) -> float:
        """The cap in bytes a second at this time of the clinic's clock; 0 when there is none."""
        minute = local.hour * 60 + local.minute
        return self._percent([hours for hours in self.hours if hours.cover(local.weekday(), minute)])

    @property
    def least(self) -> float:
        """The lowest cap of the week, in bytes a second; 0 when there is none."""
        return self._percent(self.hours)

    def _percent(self, hours: tuple[Hours, ...] | list[Hours]) -> float:
        return self.cap_bytes_per_second * min([100, *(one.percent for one in hours)]) / 100


def schedule(cap_bytes_per_second: float, hours: Mapping[str, int]) -> Schedule:
    """From the settings, which edge.config has checked."""
    return Schedule(cap_bytes_per_second, tuple(_hours(text, percent) for text, percent in hours.items()))


def _hours(text: str, percent: int) -> Hours:
    found = HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} names no hours")
    first = _DAYS.index(found["first"]) if found["first"] else 0
    last = _DAYS.index(found["last"]) if found["last"] else first if found["first"] else 6
    days = frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))
    return Hours(days, _minute(found["begin"]), _minute(found["end"]), percent)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return (int(hour) * 60 + int(minute)) % _DAY_MINUTES
