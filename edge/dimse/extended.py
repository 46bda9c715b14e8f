"""SOP class extended negotiation (PS3.7 section D.3.3.5): what we say we can do, and what was agreed on."""

from __future__ import annotations

from edge.dataset.moments import offset_seconds
from edge.dimse.classes import Purpose
from edge.model import Manner

_FIND = bytes((1, 1, 1, 1, 0, 1, 1))
"""PS3.4 table C.5-2: relational queries, combined dates and times, fuzzy names, time zones, no conversion to enhanced multi-frame, empty
values, multiple values.
"""
_RETRIEVE = bytes((1, 0))
"""PS3.4 table C.5-4: relational retrieve, no conversion to enhanced multi-frame."""
_STORAGE = bytes((2, 0, 3, 0, 0, 0))
"""PS3.4 table B.3-2: level 2, every attribute is kept; signatures stay valid, because bits do; nothing is coerced."""
_RELATIONAL, _COMBINED, _FUZZY, _TIME_ZONE, _EMPTY = 0, 1, 2, 3, 5


def answered(purpose: Purpose | None, asked: bytes) -> bytes:
    """Our application information for a SOP class: of what was asked for that which we do, never longer than what was asked."""
    match purpose:
        case Purpose.FIND:
            return bytes(want and can for want, can in zip(asked, _FIND, strict=False))
        case Purpose.MOVE | Purpose.GET:
            return bytes(want and can for want, can in zip(asked, _RETRIEVE, strict=False))
        case Purpose.STORAGE:
            return _STORAGE[: len(asked)]
        case _:
            return b""


def manner(agreed: bytes, time_zone: str) -> Manner:
    """How a query matches after what was agreed; `time_zone` is its Timezone Offset From UTC (0008,0201)."""

    def on(place: int) -> bool:
        return agreed[place : place + 1] == b"\1"

    zone = offset_seconds(time_zone) if on(_TIME_ZONE) else None
    return Manner(on(_RELATIONAL), on(_COMBINED), on(_FUZZY), on(_EMPTY), zone)


def is_relational(agreed: bytes) -> bool:
    """Whether keys of levels above may be left out of a retrieve (PS3.4 section C.4.2.2.2)."""
    return agreed[:1] == b"\1"
