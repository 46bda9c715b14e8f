"""How the link is, what may go over it, and what went."""

from __future__ import annotations

from edge.control.message import Message


class GetLink(Message, frozen=True, tag="get-link"):
    """Answered by one LinkNow."""


class PauseLink(Message, frozen=True, tag="pause-link"):
    """Ship nothing until then (seconds since the epoch), or until a ResumeLink. Recalls go on. Answered by a LinkNow once it is so."""

    until: float | None = None


class ResumeLink(Message, frozen=True, tag="resume-link"):
    """Ship again. Answered by a LinkNow once it is so."""


class LinkNow(Message, frozen=True, tag="link-now"):
    """The link as cloudsync said last. Times are seconds since the epoch."""

    state: str
    """up, down, throttled, credential, quota, disk, clock, conflict, silent; empty before anything was heard of it."""
    since: float | None
    sentence: str
    goodput_bytes_per_second: float
    round_trip_seconds: float
    """That the archive took for its last small answer; 0 before the first."""
    hold: str
    """Why not everything goes: empty, paused (nothing but recalls does), reserve (only STAT and recalls do), spent (nothing does)."""
    hold_sentence: str
    paused_until: float | None
    cap_bytes_per_second: float
    """As the clock has it now; 0 for none."""
    budget_bytes: int
    """Of the month; 0 for none."""
    used_bytes: int
    month_began_at: float
    month_ends_at: float


Request = GetLink | PauseLink | ResumeLink
Answer = LinkNow
