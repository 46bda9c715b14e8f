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

    def __init__(self, control: Path, clock: Clock) -> None:
        """`control` is edge's socket."""
        self._control = control
        self._clock = clock
        self._last: tuple[float, Status] | None = None
        self._asking = asyncio.Lock()

    async def now(self) -> Status:
        """As it was FRESH_SECONDS ago at most. Raises OutpostError when edge does not say."""
        async with self._asking:
            if self._last is not None and self._clock.monotonic() - self._last[0] < FRESH_SECONDS:
                return self._last[1]
            try:
                status = await asyncio.wait_for(self._asked(), PATIENCE_SECONDS)
            except TimeoutError as fault:
                raise Transient("Outpost does not say how it is.") from fault
            self._last = (self._clock.monotonic(), status)
            return status

    async def _asked(self) -> Status:
        async with aclosing(ask(self._control, GetStatus())) as answers:
            async for answer in answers:
                if isinstance(answer, Status):
                    return answer
        raise OutpostError("Edge answered without saying how it is. Run edge and edge-web of one release.")
