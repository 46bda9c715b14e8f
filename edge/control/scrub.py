"""How the cache is re-read and compared."""

from __future__ import annotations

from edge.control.message import Message
from edge.model import PackId


class GetScrub(Message, frozen=True, tag="get-scrub"):
    """Answered by one Scrubbing, and a Rot for each study of which something is rotten."""


class StartScrub(Message, frozen=True, tag="start-scrub"):
    """Begin a scrub now, from the start and faster than the period asks for. Answered as GetScrub."""


class Suspect(Message, frozen=True, tag="suspect"):
    """Bytes of these packs were not there, or could not be read: they are looked at next. Answered by Done."""

    packs: list[PackId]


class Scrubbing(Message, frozen=True, tag="scrubbing"):
    """The scrub that is under way, or else the one that ended last; `began_at` is None before the first."""

    under_way: bool
    hurried: bool
    began_at: float | None
    ended_at: float | None
    packs: int
    bytes: int
    of_bytes: int
    """In the cache."""
    rotten: int
    """Instances that it found."""
    repaired: int
    """Instances that became whole again since it began."""
    next_at: float | None
    """When the next one begins by itself; None while one is under way."""
    last_ended_at: float | None
    """When a scrub had read everything last."""


class Rot(Message, frozen=True, tag="rot"):
    """What rotted of a study in the cache and is not whole again, since when (seconds since the epoch)."""

    study: str
    instances: int
    """0 where only what lies around the instances is rotten."""
    held: bool
    """They are in the archive, and come back from there."""
    found_at: float


Request = GetScrub | StartScrub | Suspect
Answer = Scrubbing | Rot
