"""How Outpost is, for whoever watches: asked of edge at most every few seconds, however many look."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from edge.clock import Clock
from edge.control.status import GetStatus, Status
from edge.errors import OutpostError, Transient
from edge.web.asking import ask

FRESH_SECONDS = 5.0
"""An answer that is no older is given to the next who looks."""
PATIENCE_SECONDS = 5.0
"""Edge that has not answered by then counts as one that does not."""


class Condition:
    """Used in one event loop."""

    def __init__(self, control: Path, clock: Clock, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`control` is edge's socket."""
        self._control = control
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._last: tuple[float, Status | OutpostError] | None = None
        self._asking = asyncio.Lock()

    async def now(self) -> Status:
        """As it was FRESH_SECONDS ago at most. Raises OutpostError when edge did not say so then."""
        async with self._asking:
            if self._last is None or self._clock.monotonic() - self._last[0] >= FRESH_SECONDS:
                told = await self._tried()
                self._last = (self._clock.monotonic(), told)
            told = self._last[1]
        if isinstance(told, OutpostError):
            raise told
        return told

    async def _tried(self) -> Status | OutpostError:
        """What edge says, or that it does not: nobody else need wait for that."""
        try:
            return await asyncio.wait_for(self._asked(), self._patience_seconds)
        except TimeoutError:
            return Transient("Outpost does not say how it is.")
        except OutpostError as fault:
            return fault

    async def _asked(self) -> Status:
        async with aclosing(ask(self._control, GetStatus())) as answers:
            async for answer in answers:
                if isinstance(answer, Status):
                    return answer
        raise OutpostError("Edge answered without saying how it is. Run edge and edge-web of one release.")
