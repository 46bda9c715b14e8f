"""Which objects of the archive are looked at, as pure functions of their names: a sample that comes round to each, and the steps."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
"""Of pack ids, in the order of names."""
_PER_STEP = 500
_LONGEST = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """`percent` of all names: those whose place on a circle lies behind `start` (from 0 to 1). One that starts where the one before it
    ended takes others, and after 100 / percent of them each name was taken once.
    """

    start: float
    percent: float

    def has(self, name: str) -> bool:
        """Whether the name is one of them."""
        place = int.from_bytes(sha256(name.encode()).digest()[:6]) / (1 << 48)
        return self.percent >= 100 or (place - self.start) % 1.0 < self.percent / 100


def steps(packs: int) -> list[str]:
    """The beginnings of pack ids, in order, by which so many packs are listed a few hundred at a time; together they are all ids."""
    length = next((length for length in range(_LONGEST) if packs <= _PER_STEP * len(_DIGITS) ** length), _LONGEST)
    found = [""]
    for _ in range(length):
        found = [prefix + digit for prefix in found for digit in _DIGITS]
    return found
