"""Which packs were retrieved from, and which could not be read, told to edge: it evicts what was used least recently, and heals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

from edge.clock import Clock
from edge.control.cache import NoteUse
from edge.control.scrub import Suspect
from edge.errors import OutpostError
from edge.model import PackId
from edge.web.asking import ask

log = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0
"""What is used within this is told together."""
AGAIN_SECONDS = 60.0
"""A pack that is used for longer is told of so often: hours and days count for eviction."""
MOST = 1000
"""Packs in one request."""


class Uses:
    """Used in one event loop. What edge cannot be told now is told later; what it was not told when the process ends is no loss."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """`path` is edge's socket."""
        self._path = path
        self._clock = clock
        self.pending: set[PackId] = set()
        """What edge has yet to hear."""
        self.suspects: set[PackId] = set()
        """Those whose bytes were not there, or could not be read."""
        self._again: dict[PackId, float] = {}
        self._some = asyncio.Event()

    def note(self, packs: Iterable[PackId]) -> None:
        """Instances of these packs are being retrieved. Costs nothing."""
        now = self._clock.monotonic()
        self.pending |= {pack for pack in packs if now >= self._again.get(pack, now)}
        if self.pending:
            self._some.set()

    def suspect(self, pack: PackId) -> None:
        """Bytes of a pack were not there, or could not be read."""
        self.suspects.add(pack)
        self._some.set()

    async def tell(self) -> None:
        """Tell edge, for ever."""
        while True:
            await self._some.wait()
            await self.tell_once()
            await asyncio.sleep(PAUSE_SECONDS)

    async def tell_once(self) -> None:
        """Tell edge what is pending, if it hears."""
        batch, suspects = sorted(self.pending)[:MOST], sorted(self.suspects)[:MOST]
        try:
            if suspects:
                await self._say(Suspect(packs=suspects))
                self.suspects.difference_update(suspects)
            if batch:
                await self._say(NoteUse(packs=list(batch)))
        except OutpostError as fault:
            log.info("edge does not hear what was used: %s", type(fault).__name__)
        else:
            self.told(batch)

    async def _say(self, request: NoteUse | Suspect) -> None:
        async with aclosing(ask(self._path, request)) as answers:
            async for _ in answers:
                pass

    def told(self, packs: Iterable[PackId]) -> None:
        """Edge has heard of these."""
        now = self._clock.monotonic()
        self.pending.difference_update(packs)
        self._again = {pack: until for pack, until in self._again.items() if until > now} | dict.fromkeys(packs, now + AGAIN_SECONDS)
        if not self.pending and not self.suspects:
            self._some.clear()
