"""Objects of the catalog in the order in which they are read, a few fetched ahead; of a merge that is not there, its parts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused
from cloudsync.catalog import BrokenChain, NewerFormat
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.span import Span
from edge.errors import OutpostError

UNFIT = (Damaged, NewerFormat, NotOurs, NotThere, ObjectRefused, WrongKey)
"""What shows that a merge is of no use: its parts are read."""
_AT_ONCE = 16
_AHEAD_BYTES = 128 << 10
"""Enough for a line while an object is looked at; with more, those that are needed first would come later. Two are always under way."""
_UNKNOWN_BYTES = _AHEAD_BYTES // 2
"""What is assumed of an object while none of its level has come."""


@dataclass(slots=True)
class _Object:
    span: Span
    coming: asyncio.Task[bytes] | None = None


class Fetching:
    """Close it, to end early or at the end."""

    def __init__(self, archive: Archive, site: str, spans: Iterable[Span], refused: Callable[[OutpostError], None]) -> None:
        """`spans` follow each other without a gap, the newest first or the oldest first. `refused` is told of each merge that is there and
        of no use.
        """
        self._archive = archive
        self._site = site
        self._rest = deque(_Object(span) for span in spans)
        self._newest_first = len(self._rest) > 1 and self._rest[0].span.first > self._rest[1].span.first
        self._refused = refused
        self._sizes: dict[int, int] = {0: 2048}
        """By level, of the one that came last."""

    async def next(self) -> tuple[Span, bytes] | None:
        """The next one, unverified; None at the end. Raises BrokenChain for a segment that is missing, and what the archive raises."""
        while self._rest:
            found = self._rest[0]
            self._fetch_ahead()
            assert found.coming is not None
            try:
                sealed = await found.coming
            except NotThere as fault:
                if not found.span.level:
                    raise BrokenChain(f"{found.span.name(self._site)} is missing") from fault
                self._rest.popleft()
                self._read_parts(found.span)
            except UNFIT as fault:
                if not found.span.level:
                    raise
                self._rest.popleft()
                self.refuse(found.span, fault)
            else:
                self._rest.popleft()
                self._sizes[found.span.level] = len(sealed)
                return found.span, sealed
        return None

    def refuse(self, span: Span, fault: OutpostError) -> None:
        """The merge that came last is of no use: its parts come next. Raises the fault where it was a segment."""
        if not span.level:
            raise fault
        self._refused(fault)
        self._read_parts(span)

    async def close(self) -> None:
        tasks = [each.coming for each in self._rest if each.coming is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read_parts(self, span: Span) -> None:
        self._rest.extendleft(_Object(part) for part in (span.parts if self._newest_first else reversed(span.parts)))

    def _fetch_ahead(self) -> None:
        ahead = 0
        for count, each in enumerate(self._rest):
            if count == _AT_ONCE or (count >= 2 and ahead >= _AHEAD_BYTES):
                return
            ahead += self._sizes.get(each.span.level, _UNKNOWN_BYTES)
            if each.coming is None:
                name = each.span.name(self._site)
                each.coming = asyncio.create_task(self._archive.get(name), name=f"fetch {name}")
