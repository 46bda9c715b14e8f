"""Random damage."""

from __future__ import annotations

import random
from collections.abc import Iterator


def mutations(original: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Flipped, cut, extended, doubled, moved and overwritten bytes, the same for a seed; none is the original."""
    dice = random.Random(seed)
    while count:
        mutated = bytearray(original)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            start, length = dice.randrange(len(mutated) + 1), dice.choice((1, 1, 2, 4, 16))
            match dice.randrange(7):
                case 0 if start < len(mutated):
                    mutated[start] ^= 1 << dice.randrange(8)
                case 1:
                    del mutated[start : start + length]
                case 2:
                    mutated[start:start] = dice.randbytes(length)
                case 3:
                    mutated[start:start] = mutated[start : start + length]
                case 4:
                    taken = mutated[start : start + length]
                    del mutated[start : start + length]
                    other = dice.randrange(len(mutated) + 1)
                    mutated[other:other] = taken
                case 5:
                    mutated[start : start + length] = dice.randbytes(length)
                case _:
                    mutated += dice.randbytes(length)
        if mutated != original:
            count -= 1
            yield bytes(mutated)
