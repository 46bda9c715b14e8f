"""The link to the archive as cloudsync last said it is, and what that is worth as time goes by."""

from __future__ import annotations

from dataclasses import dataclass

SILENT_SECONDS = 180.0
"""Cloudsync says each minute how the link is; after so long without a word it does not run."""


PART_SECONDS = 10.0
"""So long a part is on its way: what a STAT study waits for at most, and what a cut costs."""
LEAST_PART_BYTES = 128 << 10
"""Below that, what comes with each part counts for too much."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """Times are seconds since the epoch."""

    state: str
    """As edge.journal.Link says."""
    since: float
    goodput_bytes_per_second: float
    sentence: str
    answered_at: float
    """When the archive answered last; 0 when it did not since cloudsync started."""
    sequence: int
    """Of the last catalog segment that the archive has."""
    said_at: float
    """When cloudsync said so; 0 when that is not known."""


def silent_since(link: LinkState | None, began: float, now: float) -> float | None:
    """Since when cloudsync has been silent; None while it speaks. Whoever asks runs since `began`, and gives it time to say something."""
    if now - began <= SILENT_SECONDS:
        return None
    heard = link.said_at or began if link is not None else began
    # A time that lies ahead is from before the clock was set right.
    return heard if abs(now - heard) > SILENT_SECONDS else None


def answers(link: LinkState | None) -> bool:
    """Whether the archive answered when it was asked last, as far as is known.

    Where another box writes the catalog, recalls still go on; and a clock that is wrong need not keep the archive from answering.
    """
    return link is None or link.state in {"up", "conflict"} or (link.state == "clock" and link.answered_at >= link.since)


def reachable(link: LinkState | None, offline_after_seconds: float, began: float, now: float) -> bool:
    """Whether what only the archive has counts as within reach: not once the link has been down, or cloudsync silent, for so long."""
    silent = silent_since(link, began, now)
    if silent is not None:
        return abs(now - silent) < offline_after_seconds
    return answers(link) or (link is not None and now - link.since < offline_after_seconds)


def part_bytes(link: LinkState | None, most: int) -> int:
    """How large the parts of a pack are made: what goes in PART_SECONDS at the speed that cloudsync said last, not more than `most`.

    Before a speed was measured: `most`.
    """
    if link is None or link.goodput_bytes_per_second <= 0:
        return most
    return min(most, max(LEAST_PART_BYTES, int(PART_SECONDS * link.goodput_bytes_per_second)))
