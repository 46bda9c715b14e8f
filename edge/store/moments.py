"""Dates and times of one event in another time zone (PS3.4 section C.2.2.2.5 and the key Timezone Offset From UTC, 0008,0201)."""

from __future__ import annotations

import datetime
import re

from edge.model import Json

TIME_ZONE = "00080201"
EVENTS = (
    ("00080020", "00080030"),
    ("00080021", "00080031"),
    ("00080022", "00080032"),
    ("00080023", "00080033"),
    ("00080012", "00080013"),
    ("00400244", "00400245"),
    ("00100030", "00100032"),
)
"""Attributes that together say when something was: date, time. Birth, the last, is not shifted to another time zone."""
_SHIFTED = EVENTS[:-1]
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})")
_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"([0-9]{2})([0-9]{2})?([0-9]{2})?(\.[0-9]+)?")
_DAY = datetime.timedelta(days=1)

_ZONE = f"study.attributes ->> '$.\"{TIME_ZONE}\".Value[0]'"
_OWN = f"((substr({_ZONE}, 1, 1) || '1') * (substr({_ZONE}, 2, 2) * 3600 + substr({_ZONE}, 4, 2) * 60))"
"""Offset from UTC of a study, in seconds."""


def offset_seconds(text: str) -> int | None:
    """The value of Timezone Offset From UTC (`&ZZXX`) in seconds; None when it is none."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        return None
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return -seconds if found[1] == "-" else seconds


def shifted_date(date: str, time: str, zone: int) -> str:
    """SQL: the date in this zone (seconds from UTC); as it is where the study does not say its own, or there is no time."""
    return f"coalesce({_shifted(date, time, zone, '%Y%m%d')}, {date})"


def shifted_time(date: str, time: str, zone: int) -> str:
    """SQL: the time in this zone, as `shifted_date`."""
    return f"coalesce({_shifted(date, time, zone, '%H%M%S')} || substr({time}, 7), {time})"


def _shifted(date: str, time: str, zone: int, form: str) -> str:
    when = f"substr({date}, 1, 4) || '-' || substr({date}, 5, 2) || '-' || substr({date}, 7, 2)"
    clock = f"substr({time}, 1, 2) || ':' || substr({time} || '00', 3, 2) || ':' || substr({time} || '0000', 5, 2)"
    # Without the study's zone the modifier is NULL, and so is the result.
    return f"strftime('{form}', {when} || ' ' || {clock}, ({zone} - {_OWN}) || ' seconds')"


def widened(dates: str) -> str:
    """A range that is a day longer at either end than a date or a range of dates: whatever the zones, no other date can match.

    Open at both ends where the dates are none.
    """
    low, _, high = (part.strip() for part in (dates if "-" in dates else f"{dates}-{dates}").partition("-"))
    return f"{_moved(low, -_DAY)}-{_moved(high, _DAY)}"


def in_zone(found: Json, zone: int) -> Json:
    """The dates and times of an answer in this zone, as far as its study says its own; and which zone they are in."""
    own = offset_seconds(str((found.get(TIME_ZONE, {}).get("Value") or [""])[0]))
    if own is None:
        return found
    moved = dict(found)
    for date, time in _SHIFTED:
        values = [(found.get(tag, {}).get("Value") or [""])[0] or "" for tag in (date, time)]
        parsed = _parsed(*values)
        if parsed is not None:
            there = parsed + datetime.timedelta(seconds=zone - own)
            moved[date] = {"vr": "DA", "Value": [f"{there:%Y%m%d}"]}
            moved[time] = {"vr": "TM", "Value": [f"{there:%H%M%S}"[: max(4, len(values[1]))] + values[1][6:]]}
    sign, minutes = "-" if zone < 0 else "+", abs(zone) // 60
    moved[TIME_ZONE] = {"vr": "SH", "Value": [f"{sign}{minutes // 60:02}{minutes % 60:02}"]}
    return moved


def _parsed(date: str, time: str) -> datetime.datetime | None:
    clock = _TIME.fullmatch(time)
    if not _DATE.fullmatch(date) or clock is None:
        return None
    try:
        return datetime.datetime(
            int(date[:4]), int(date[4:6]), int(date[6:]), int(clock[1]), int(clock[2] or 0), int(clock[3] or 0), tzinfo=datetime.UTC
        )
    except ValueError:
        return None


def _moved(date: str, by: datetime.timedelta) -> str:
    parsed = _parsed(date, "00")
    try:
        return "" if parsed is None else f"{parsed + by:%Y%m%d}"
    except OverflowError:
        return ""
