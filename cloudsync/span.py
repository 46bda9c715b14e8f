"""Which segments of a catalog an object of it stands for, as its name says: level, and number of the first one.

A span of level n stands for 32 ** n segments and begins behind a multiple of that. Level 0 is a segment, every other one a merge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FAN = 32
"""Spans that one of the next level stands for."""
LEVELS_MOST = 6
"""More than 12 digits of segments need."""

_NAME = re.compile(r"([a-z2-7]{10})/c/([0-9])/([0-9]{12})")


@dataclass(frozen=True, slots=True)
class Span:
    """The segments from `first` on that an object of this level stands for."""

    level: int
    first: int
    """Number of the first segment; they count from 1."""

    def __str__(self) -> str:
        return f"{self.level}/{self.first:012d}"

    @property
    def last(self) -> int:
        """Number of the last segment."""
        return self.first + segments_of(self.level) - 1

    @property
    def parts(self) -> tuple[Span, ...]:
        """The spans of the level below that say the same; none of a segment."""
        if not self.level:
            return ()
        step = segments_of(self.level - 1)
        return tuple(Span(self.level - 1, self.first + number * step) for number in range(FAN))

    def name(self, site: str) -> str:
        """The archive name."""
        return f"{site}/c/{self}"


def segments_of(level: int) -> int:
    """How many segments a span of this level stands for."""
    return 1 << 5 * level


def merge_named(name: str, site: str) -> Span | None:
    """The span of a merge of this archive name; None where no merge of the site has it."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != site:
        return None
    span = Span(int(found[2]), int(found[3]))
    return span if 1 <= span.level <= LEVELS_MOST and span.first % segments_of(span.level) == 1 else None


def cover(last: int) -> list[Span]:
    """What to read for the segments up to `last`, the newest first, each once: the highest merges that there may be, else segments."""
    spans = []
    while last > 0:
        level = max(level for level in range(LEVELS_MOST + 1) if last % segments_of(level) == 0)
        last -= segments_of(level)
        spans.append(Span(level, last + 1))
    return spans
