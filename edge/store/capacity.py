"""Capacity: what a week of work says about the cache, the archive and the disks. A pure function of figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ASSUMED_RATIO = 0.5
"""Sealed bytes for each byte received, where nothing was measured yet. Lossless coding of CT and MR does better, ultrasound clips worse."""
YEAR_DAYS = 365.0
HORIZON_DAYS = 3650.0
"""What takes longer than ten years is not told as a number."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a site looks like, in bytes."""

    days: float
    """Over how many days `arrived` was counted; at least one."""
    arrived: Mapping[str, int]
    """By modality."""
    sealed: Mapping[str, tuple[int, float]]
    """By modality, of what was held of late: received, and sealed."""
    cached: int
    cache_limit: int
    """The high-water mark."""
    free: int
    reserve: int
    waiting: int
    """Received, and not in the archive yet."""
    link_per_second: float
    """What the link carried last; 0 when that is not known."""
    kept_per_day: float
    """What stays on the box for good: heads and catalogue."""
    archive_free: int | None
    """On the disk of a folder archive; None where it is none, or cannot be seen."""
    archive_beside: bool
    """The folder archive lies on the disk of the cache."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one modality, in bytes."""

    modality: str
    per_day: float
    ratio: float
    basis: str
    """From what the ratio is: this modality, all modalities, or an assumption."""
    sealed_per_year: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Days are None where it does not happen within ten years, or cannot be told."""

    growth: tuple[Growth, ...]
    """The largest first; empty when nothing arrived."""
    cache_days: float | None
    """How many days of work the cache holds before it evicts."""
    state_full_days: float | None
    archive_full_days: float | None
    backlog_per_day: float
    """By how many received bytes a day the link falls behind; 0 when it keeps up."""


def plan(found: Measured) -> Capacity:
    """What follows if every day is as those that were measured."""
    growth = tuple(_growth(modality, size / found.days, found.sealed) for modality, size in found.arrived.items() if size)
    per_day = sum(one.per_day for one in growth)
    sealed_per_day = sum(one.per_day * one.ratio for one in growth)
    room = min(found.cache_limit, found.cached + found.free - found.reserve)
    backlog = _backlog(per_day, sealed_per_day, found.link_per_second)
    beside = sealed_per_day if found.archive_beside else 0.0
    # The cache gives way to all of it, but for what is not in the archive.
    left = found.free + found.cached - found.reserve - found.waiting
    return Capacity(
        growth=tuple(sorted(growth, key=lambda one: -one.sealed_per_year)),
        cache_days=max(0, room) / per_day if per_day else None,
        state_full_days=_days(left, backlog + beside + found.kept_per_day),
        archive_full_days=None if found.archive_free is None else _days(found.archive_free, sealed_per_day),
        backlog_per_day=backlog,
    )


def _growth(modality: str, per_day: float, sealed: Mapping[str, tuple[int, float]]) -> Growth:
    raw, coded = sealed.get(modality, (0, 0.0))
    basis = "measured"
    if not raw:
        raw, coded, basis = sum(one for one, _ in sealed.values()), sum(one for _, one in sealed.values()), "measured over all modalities"
    ratio = coded / raw if raw else ASSUMED_RATIO
    return Growth(modality, per_day, ratio, basis if raw else "assumed", per_day * ratio * YEAR_DAYS)


def _backlog(per_day: float, sealed_per_day: float, link_per_second: float) -> float:
    carried = link_per_second * 86_400.0
    if not carried or not sealed_per_day or sealed_per_day <= carried:
        return 0.0
    return per_day * (1 - carried / sealed_per_day)


def _days(left: int, per_day: float) -> float | None:
    if per_day <= 0:
        return None
    days = max(0, left) / per_day
    return days if days <= HORIZON_DAYS else None
