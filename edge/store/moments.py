"""Dates and times in another time zone, as SQL (PS3.4 section C.4.1.1.3 on Timezone Offset From UTC, 0008,0201)."""

from __future__ import annotations

import datetime

from edge.dataset.moments import TIME_ZONE, parsed

_DAY = datetime.timedelta(days=1)
_ZONE = f"study.attributes ->> '$.\"{TIME_ZONE}\".Value[0]'"
_OWN = f"((substr({_ZONE}, 1, 1) || '1') * (substr({_ZONE}, 2, 2) * 3600 + substr({_ZONE}, 4, 2) * 60))"
"""Offset from UTC of a study, in seconds."""


def shifted_date(date: str, time: str, zone: int) -> str:
    """SQL: the date in this zone (seconds from UTC); as it is where the study does not say its own, or there is no time."""
    return f"coalesce({_shifted(date, time, zone, '%Y%m%d')}, {date})"


def shifted_time(date: str, time: str, zone: int) -> str:
    """SQL: the time in this zone, as `shifted_date`."""
    return f"coalesce({_shifted(date, time, zone, '%H%M%S')} || substr({time}, 7), {time})"


def widened(dates: str) -> str:
    """A range that is a day longer at either end than a date or a range of dates: whatever the zones, no other date can match.

    Open at both ends where the dates are none.
    """
    low, _, high = (part.strip() for part in (dates if "-" in dates else f"{dates}-{dates}").partition("-"))
    return f"{_moved(low, -_DAY)}-{_moved(high, _DAY)}"


def _shifted(date: str, time: str, zone: int, form: str) -> str:
    when = f"substr({date}, 1, 4) || '-' || substr({date}, 5, 2) || '-' || substr({date}, 7, 2)"
    clock = f"substr({time}, 1, 2) || ':' || substr({time} || '00', 3, 2) || ':' || substr({time} || '0000', 5, 2)"
    # Without the study's zone the modifier is NULL, and so is the result.
    return f"strftime('{form}', {when} || ' ' || {clock}, ({zone} - {_OWN}) || ' seconds')"


def _moved(date: str, by: datetime.timedelta) -> str:
    day = parsed(date, "00")
    return "" if day is None else f"{day + by:%Y%m%d}"
