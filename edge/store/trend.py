"""When the disk will be full, by how the room on it went so far. A pure function of a few samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EVERY_SECONDS = 900.0
KEPT_SECONDS = 86_400.0
"""A day: clinics fill a disk by daylight, and the nights count too."""
LEAST_SECONDS = 3_600.0
"""Samples of less time say nothing yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The room at a moment: bytes that are free, or that eviction could free."""

    at: float
    bytes: int


def with_sample(samples: Sequence[Sample], one: Sample) -> list[Sample]:
    """The samples to keep from now on: about one for each quarter of an hour of the last day, in order. A clock that was set back begins
    anew.
    """
    kept = [known for known in samples if one.at - KEPT_SECONDS <= known.at <= one.at]
    if kept and one.at - kept[-1].at < EVERY_SECONDS * 0.9:
        return kept
    return [*kept, one]


def seconds_left(samples: Sequence[Sample], floor: int) -> float | None:
    """How long it takes at this pace until the room is down to `floor` bytes; None when it does not shrink, or too little is known."""
    if len(samples) < 3 or samples[-1].at - samples[0].at < LEAST_SECONDS:
        return None
    begin = samples[0].at
    mean_at = sum(one.at - begin for one in samples) / len(samples)
    mean_bytes = sum(one.bytes for one in samples) / len(samples)
    spread = sum((one.at - begin - mean_at) ** 2 for one in samples)
    pace = sum((one.at - begin - mean_at) * (one.bytes - mean_bytes) for one in samples) / spread
    if pace >= 0:
        return None
    return max(0.0, (floor - samples[-1].bytes) / pace)
