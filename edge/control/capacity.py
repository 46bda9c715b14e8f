"""How long the disks last."""

from __future__ import annotations

from edge.control.message import Message


class GetCapacity(Message, frozen=True, tag="get-capacity"):
    """Answered by one Outlook, and a Growing for each modality that arrived, the largest first."""


class Outlook(Message, frozen=True, tag="outlook"):
    """Days are None where it does not happen within ten years, or cannot be told."""

    measured_days: float
    """Over how many days the arrivals were counted; 0 when there were none."""
    cache_bytes: int
    """Up to which the cache grows."""
    cache_days: float | None
    state_free_bytes: int
    state_full_days: float | None
    backlog_bytes_per_day: float
    """By how much the link falls behind."""
    archive_free_bytes: int | None
    """None where the archive is no folder, or edge's user cannot see its disk."""
    archive_full_days: float | None


class Growing(Message, frozen=True, tag="growing"):
    """How the archive grows by one modality: bytes received a day, and what becomes of them."""

    modality: str
    bytes_per_day: float
    ratio: float
    """Sealed bytes for each byte received."""
    basis: str
    """measured, measured over all modalities, or assumed."""
    sealed_bytes_per_year: float


Request = GetCapacity
Answer = Outlook | Growing
