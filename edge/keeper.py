"""The keeper of the cache: evicts by the high-water mark, or at a person's word; never what is not held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from edge.clock import Clock
from edge.config import Config, Layout
from edge.control.cache import Evict, Evicted
from edge.errors import StoreFull
from edge.recall import RecallDesk
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store import eviction
from edge.store.catalogue import Catalogue

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0


class Keeper:
    """Acts on what edge.store.eviction decides."""

    def __init__(self, config: Config, layout: Layout, catalogue: Catalogue, desk: RecallDesk, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._desk = desk
        self._clock = clock

    async def keep_below_mark(self) -> None:
        """Evict whenever the cache is over its high-water mark; for ever. What an eviction left behind when it was killed goes first."""
        if swept := await asyncio.to_thread(self._sweep):
            log.info("%d files of evicted packs were left and are removed", swept)
        while True:
            try:
                for one in await asyncio.to_thread(self._evict_chosen):
                    log.info("evicted pack %s, %d bytes", one.pack, one.bytes)
            except StoreFull as fault:  # the catalogue had no room to write it down; the ballast is gone by now, or will go
                log.error("nothing is evicted: %s", fault)
            await asyncio.sleep(LOOK_SECONDS)

    def responders(self) -> Iterable[Responder]:
        return [at_once(Evict, PEOPLE, self._answer)]

    def evict(self, study: str | None, dry_run: bool) -> list[eviction.Evictable]:
        """Evict the held packs of one study, or of all, whatever their age; with `dry_run` only say which."""
        chosen = [one for one in eviction.evictable(self._catalogue, self._desk.busy) if study in {None, one.study}]
        return chosen if dry_run else self._evict(chosen)

    def _answer(self, request: Evict, _asker: Asker) -> list[Evicted]:
        return [Evicted(pack=one.pack, study=one.study, bytes=one.bytes) for one in self.evict(request.study, request.dry_run)]

    def _sweep(self) -> int:
        return eviction.sweep(self._layout, self._catalogue)

    def _evict_chosen(self) -> list[eviction.Evictable]:
        cached = int(self._catalogue.figure("cached_bytes"))
        packs = eviction.evictable(self._catalogue, self._desk.busy)
        chosen = eviction.choose(packs, cached, self._config.cache, self._clock.now())
        return self._evict(chosen)

    def _evict(self, chosen: list[eviction.Evictable]) -> list[eviction.Evictable]:
        """Each goes at its turn, unless somebody wants it by then."""
        return list(eviction.evict(self._layout, self._catalogue, (one for one in chosen if not self._desk.busy(one.pack))))
