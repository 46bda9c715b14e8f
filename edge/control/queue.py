"""What is on its way to the archive, and what a person decides about what cannot go."""

from __future__ import annotations

from edge.control.message import Message


class ListQueue(Message, frozen=True, tag="list-queue"):
    """Answered by a Queued for each study of which something is not in the archive: STAT first, then in the order of reception."""


class DropStudy(Message, frozen=True, tag="drop-study"):
    """What waits for a person of a study is not shipped: it stays in the cache, and nowhere else. Answered by one Dropped."""

    study: str
    reason: str


class Queued(Message, frozen=True, tag="queued"):
    """How far a study is on its way, and why it is no further. What is in the archive of it already is not counted."""

    study: str
    urgency: str
    """stat, routine or background: of its most urgent pack."""
    state: str
    """stopped, receiving, coding, shipping, listing or dropped: of the pack that has most to do, a stopped one before all others."""
    why: str
    """Why it waits, as a sentence. No patient data."""
    packs: int
    coded: int
    confirmed: int
    """Objects (heads, parts, sums) that are proven to be in the archive, of `objects`: of the packs that are coded."""
    objects: int
    bytes: int
    received_at: float
    """When the first instance of it came that is not in the archive: seconds since the epoch."""


class Dropped(Message, frozen=True, tag="dropped"):
    """So many packs are not shipped any more."""

    study: str
    packs: int


Request = ListQueue | DropStudy
Answer = Queued | Dropped
