"""Where the catalog of an archive ends, found out without the names of all its segments: they take longer than what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cloudsync.archive.port import Archive
from cloudsync.span import Span

_FEW = 1024
"""Names of so many segments are simply listed."""
_AT_ONCE = 16
_LEFT_OUT = 2
"""Digits at the end of a number that a prefix leaves out: so up to 99 names are listed that are not asked for."""


async def near_end(archive: Archive, site: str) -> int:
    """The number of a segment near the last one; 1 where there are few. It proves nothing: names can be planted, and objects taken out."""
    numbers = [_FEW]
    while await _there(archive, site, numbers[-1:]):
        numbers.append(numbers[-1] * 32)
    if len(numbers) == 1:
        return 1
    low, high = numbers[-2:]
    while high - low > 10**_LEFT_OUT:
        step = max(1, (high - low) // _AT_ONCE)
        probes = [*range(low + step, high, step)]
        found = await _there(archive, site, probes)
        high = next((number for number in probes if number not in found), high)
        low = max((number for number in found if number < high), default=low)
    return low


async def names_from(archive: Archive, site: str, number: int) -> list[str]:
    """The names under `<site id>/c/0/` but for those of segments before this one, of which some are among them."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def listed(prefix: str) -> list[str]:
        async with turns:
            return [found.name async for found in archive.list(f"{site}/c/0/{prefix}")]

    return [name for names in await asyncio.gather(*map(listed, prefixes(number))) for name in names]


def prefixes(number: int) -> list[str]:
    """Beginnings of numbers of 12 digits: all from this one on, and few before it, begin with one of them."""
    if number == 1:
        return [""]
    kept = f"{number:012d}"[:-_LEFT_OUT]
    return [kept, *(kept[:place] + str(digit) for place in range(len(kept)) for digit in range(int(kept[place]) + 1, 10))]


async def _there(archive: Archive, site: str, numbers: Iterable[int]) -> set[int]:
    async def there(number: int) -> int:
        return number if await archive.head(Span(0, number).name(site)) else 0

    return set(await asyncio.gather(*map(there, numbers))) - {0}
