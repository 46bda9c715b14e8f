"""Who may send now: so many at once as the link may have, the most urgent first."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable


class Turns:
    """Hands out turns. In one loop."""

    def __init__(self, at_once: Callable[[], int], urgent_only: Callable[[], bool] = lambda: False) -> None:
        """`at_once` says how many may be taken now, `urgent_only` whether by none but STAT; whoever changes that calls `changed`."""
        self._at_once = at_once
        self._urgent_only = urgent_only
        self._taken = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def one(self, urgency: int) -> AsyncIterator[None]:
        """A turn for the block. Those of a lower number, 0 for STAT, come first, then those who asked first."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._numbers), turn))
        self.changed()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise
        try:
            yield
        finally:
            self._give_back()

    def changed(self) -> None:
        """There may be more turns than before."""
        while self._waiting and self._taken < self._at_once():
            urgency, *_ = self._waiting[0]
            if urgency and self._urgent_only():
                return
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    def _give_back(self) -> None:
        self._taken -= 1
        self.changed()
