"""Copies of site state for the archive: a rebuilt box starts from the newest."""

from __future__ import annotations

import asyncio
import logging

from edge.asks import Asks
from edge.config import Layout
from edge.durable import disk_errors, write_whole
from edge.errors import StoreFull
from edge.journal import SiteState
from edge.store import site

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
PAUSE_SECONDS = 60.0
"""At least so long between two copies; each is an object in the archive for good."""
KEPT = 8
"""Copies that stay in the outbox: cloudsync may still be behind, and a newer one always follows."""


class SiteCopies:
    """Puts copies into the outbox and asks for them, as a task of the loop."""

    def __init__(self, layout: Layout, state: site.SiteState, asks: Asks) -> None:
        self._layout = layout
        self._state = state
        self._asks = asks

    async def copy_changes(self) -> None:
        """Ask for a sealed copy of site state whenever it has changed and a person has finished changing it; for ever."""
        told = -1
        while True:
            seen = self._state.changes
            await asyncio.sleep(QUIET_SECONDS)
            if seen != told and seen == self._state.changes:
                try:
                    await asyncio.to_thread(self._copy)
                    told = seen
                except StoreFull as fault:
                    log.warning("site state is not copied yet: %s", fault)
                await asyncio.sleep(PAUSE_SECONDS)

    def _copy(self) -> None:
        copy = self._state.copy()
        digest = site.digest(copy)
        directory = self._layout.outbox / "site"
        with disk_errors():
            directory.mkdir(mode=0o750, exist_ok=True)
            write_whole(directory / digest, copy)
            copies = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in copies[:-KEPT]:
                old.unlink()
            self._asks.tell(SiteState(bytes=len(copy), digest=digest))
