"""Whoever reads is told of to edge, for its audit trail, before the first byte is answered."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from aiohttp import web

from edge.clock import Clock
from edge.control.access import NoteAccess
from edge.web.asking import ask
from edge.web.guard import Handler
from edge.web.target import uid_in

AGAIN_SECONDS = 300.0
"""A study that the same address reads on is told of once in this time."""
_MOST = 4096
_SHOWN = 64
"""Keys of a search that are named."""


class Witness:
    """Used in one event loop."""

    def __init__(self, control: Path, clock: Clock) -> None:
        """`control` is edge's socket."""
        self._control = control
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        """Address and study, and when that is told again."""

    async def searches(self, request: web.Request, study: str, keys: list[str]) -> None:
        """A search, by these tags. Raises OutpostError when it cannot be kept: then nothing may be shown."""
        await self._tell("QIDO-RS", request, study, sorted(keys)[:_SHOWN])

    def reading(self, handler: Handler) -> Handler:
        """The handler of a resource below a study, told of before it answers; errors as `searches`."""

        async def witnessed(request: web.Request) -> web.StreamResponse:
            await self._reads(request, uid_in(request, "study"))
            return await handler(request)

        return witnessed

    async def _reads(self, request: web.Request, study: str) -> None:
        now, key = self._clock.monotonic(), (request.remote or "", study)
        if self._told.get(key, 0.0) > now:
            return
        await self._tell("WADO-RS", request, study, [])
        if len(self._told) >= _MOST:
            self._told = {known: until for known, until in self._told.items() if until > now}
            while len(self._told) >= _MOST:
                self._told.pop(next(iter(self._told)))
        self._told[key] = now + AGAIN_SECONDS

    async def _tell(self, service: str, request: web.Request, study: str, keys: list[str]) -> None:
        note = NoteAccess(service=service, address=request.remote or "", study=study, keys=keys)
        async with aclosing(ask(self._control, note)) as answers:
            async for _ in answers:
                pass
