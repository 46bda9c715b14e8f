"""Copies of site state for the archive: a rebuilt box starts from the newest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge.asks import Asks
from edge.config import Layout
from edge.durable import disk_errors, write_whole
from edge.errors import StoreFull
from edge.journal import SiteState
from edge.model import Digest
from edge.store import site

log = logging.getLogger(__name__)

KEPT = 8
"""Copies that stay in the outbox: cloudsync may still be behind, and a newer one always follows."""
_LONGEST = 30
"""Pauses in which a person goes on deciding, until a copy is made all the same."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a copy is made. Each is an object in the archive for good."""

    quiet_seconds: float = 2.0
    """After a person's decision, so that several at once become one copy."""
    pause_seconds: float = 60.0
    """At least, between two copies."""
    errand_seconds: float | None = 3600.0
    """After which errands that came meanwhile are copied too; None for never."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that proves itself by its name."""

    data: bytes
    made_at: float
    """Seconds since the epoch."""


def newest(layout: Layout) -> Copy | None:
    """The newest copy in the outbox that is whole; None where there is none."""
    directory = layout.outbox / "site"
    found = sorted(directory.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        data = path.read_bytes()
        if site.digest(data) == path.name:
            return Copy(data, path.stat().st_mtime)
        log.error("the copy %s of the site state is damaged, and not used", path.name)
    return None


class SiteCopies:
    """Puts copies into the outbox and asks for them, as a task of the loop."""

    def __init__(self, layout: Layout, copy: Callable[[], bytes], asks: Asks, decided: asyncio.Event, pace: Pace = Pace()) -> None:
        """`copy` is that of the site state, for any thread; `decided` is set in the loop when a person has decided something."""
        self._layout = layout
        self._copy = copy
        self._asks = asks
        self._decided = decided
        self._pace = pace
        self._told: Digest | None = None

    async def copy_changes(self) -> None:
        """Ask for a sealed copy at start, whenever a person has finished deciding something, and hourly; for ever. A copy that is as the
        one before is not asked for.
        """
        pace = self._pace
        while True:
            for _ in range(_LONGEST):
                self._decided.clear()
                if not await self._decides_within(pace.quiet_seconds):
                    break
            self._decided.clear()
            try:
                await asyncio.to_thread(self._put)
            except StoreFull as fault:
                log.warning("site state is not copied yet: %s", fault)
                self._decided.set()
            await asyncio.sleep(pace.pause_seconds)
            await self._decides_within(pace.errand_seconds)

    def again(self) -> None:
        """The archive lost the newest copy: another one is asked for, even if it is the same. In the loop."""
        self._told = None
        self._decided.set()

    async def _decides_within(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._decided.wait()
        except TimeoutError:
            return False
        return True

    def _put(self) -> None:
        copy = self._copy()
        digest = site.digest(copy)
        if digest == self._told:
            return
        directory = self._layout.outbox / "site"
        with disk_errors():
            directory.mkdir(mode=0o750, exist_ok=True)
            write_whole(directory / digest, copy)
            copies = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in copies[:-KEPT]:
                old.unlink()
            self._asks.tell(SiteState(bytes=len(copy), digest=digest))
        self._told = digest
