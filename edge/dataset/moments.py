"""Dates and times that belong together, and the time zone that they are in (Timezone Offset From UTC, 0008,0201)."""

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


def offset_seconds(text: str) -> int | None:
    """The value of Timezone Offset From UTC (`&ZZXX`) in seconds; None when it is none."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        return None
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return -seconds if found[1] == "-" else seconds


def in_zone(found: Json, zone: int) -> Json:
    """The dates and times of an answer in this zone, as far as its study says its own; and which zone they are in."""
    own = offset_seconds(str((found.get(TIME_ZONE, {}).get("Value") or [""])[0]))
    if own is None:
        return found
    moved = dict(found)
    for date, time in _SHIFTED:
        values = [(found.get(tag, {}).get("Value") or [""])[0] or "" for tag in (date, time)]
        here = parsed(*values)
        if here is not None:
            there = here + datetime.timedelta(seconds=zone - own)
            moved[date] = {"vr": "DA", "Value": [f"{there:%Y%m%d}"]}
            moved[time] = {"vr": "TM", "Value": [f"{there:%H%M%S}"[: max(4, len(values[1]))] + values[1][6:]]}
    sign, minutes = "-" if zone < 0 else "+", abs(zone) // 60
    moved[TIME_ZONE] = {"vr": "SH", "Value": [f"{sign}{minutes // 60:02}{minutes % 60:02}"]}
    return moved


def parsed(date: str, time: str) -> datetime.datetime | None:
    """A date and a time, to the second, in whatever zone; None when they are none."""
    clock = _TIME.fullmatch(time)
    if not _DATE.fullmatch(date) or clock is None or not "1000" <= date[:4] < "9999":
        return None
    try:
        return datetime.datetime(
            int(date[:4]), int(date[4:6]), int(date[6:]), int(clock[1]), int(clock[2] or 0), int(clock[3] or 0), tzinfo=datetime.UTC
        )
    except ValueError:
        return None
