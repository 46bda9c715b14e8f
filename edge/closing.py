"""Packs whose study is quiet are closed: from then on their bytes never change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from edge.audit import Audit, Received
from edge.config import Cache
from edge.errors import Exhausted, StoreFull
from edge.model import PackId
from edge.store.catalogue import Catalogue
from edge.store.pack import OpenPack
from edge.store.packs import OpenPacks
from edge.store.room import Room

log = logging.getLogger(__name__)

_SOON_SECONDS = 0.05
_FULL_SECONDS = 2.0
"""Pause before a pack that a full disk did not let close is tried again."""


class Closing:
    """Closes packs, as a task of the loop."""

    def __init__(
        self, settings: Cache, packs: OpenPacks, catalogue: Catalogue, room: Room, audit: Audit, closed: Callable[[], None]
    ) -> None:
        """`closed` is called in the loop after each pack."""
        self._catalogue = catalogue
        self._audit = audit
        self._packs = packs
        self._room = room
        self._closed = closed
        self._put_off: set[PackId] = set()
        self._soonest = min(settings.quiet_seconds, settings.stat_quiet_seconds)

    async def close_quiet(self) -> None:
        """Close packs whose study is quiet, for ever. Raises StoreFailed when the disk fails."""
        while True:
            await self.close_due()
            # What is opened meanwhile is not due before that.
            until_due = min(self._packs.seconds_until_due(), self._soonest)
            await asyncio.sleep(max(until_due, _FULL_SECONDS if self._put_off else _SOON_SECONDS))

    async def close_due(self, everything: bool = False) -> None:
        """Close what is due now; with `everything`, every pack that is not being written."""
        for pack in self._packs.take_due(everything):
            try:
                await asyncio.to_thread(self._close, pack)
            except StoreFull as fault:  # until there is room it is served from cache/open
                if not isinstance(fault, Exhausted):
                    self._room.give_way()
                self._packs.put_off(pack)
                if pack.id not in self._put_off:
                    log.warning("pack %s is not closed yet: %s", pack.id, fault)
                self._put_off.add(pack.id)
            else:
                self._put_off.discard(pack.id)
                self._closed()

    def _close(self, pack: OpenPack) -> None:
        self._packs.close(pack)
        sources = self._catalogue.rows("sources_of_pack", pack.id)
        if sources:
            calling, instances = [source for source, _ in sources], sum(count for _, count in sources)
            self._audit.record(Received(study=pack.study, pack=pack.id, calling=calling, instances=instances))
