"""The keeper of the cache: evicts by the high-water mark, or at a person's word; never what is not held."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from edge.clock import Clock
from edge.config import Config, Layout
from edge.control.cache import Evict, Evicted, NoteUse, Stays
from edge.control.message import Message
from edge.errors import StoreFull, Unknown
from edge.model import UID, PackId
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store import eviction
from edge.store.catalogue import Catalogue
from edge.store.eviction import Evictable, Reason, Space
from edge.store.pins import Pins
from edge.store.room import Room

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""The least between two looks, however many are turned away for want of room."""
NOTED = 1000
"""Packs that one request may say were used."""


class Desk(eviction.Desk, Protocol):
    """Where packs are recalled."""

    def busy(self, pack: str) -> bool:
        """Whether a pack is being recalled."""
        ...


class Keeper:
    """Acts on what edge.store.eviction decides."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        pins: Pins,
        desk: Desk,
        room: Room,
        wanted: asyncio.Event,
        clock: Clock,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`wanted` is set whenever somebody was turned away for want of room."""
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._pins = pins
        self._desk = desk
        self._room = room
        self._wanted = wanted
        self._clock = clock
        self._look_seconds = look_seconds

    async def keep_below_mark(self) -> None:
        """Evict whenever the cache is over its high-water mark, or the disk nearly full, at once where somebody is turned away; for ever.
        What an eviction, or the retirement of a pack, left behind when it was killed goes first.
        """
        await asyncio.to_thread(eviction.clear, self._layout, self._catalogue, self._desk)
        if swept := await asyncio.to_thread(eviction.sweep, self._layout, self._catalogue, self._desk):
            log.info("%d files of evicted packs were left and are removed", swept)
        while True:
            self._wanted.clear()
            try:
                for one in await asyncio.to_thread(self.look):
                    log.info("evicted pack %s, %d bytes", one.pack, one.bytes)
            except StoreFull as fault:  # the catalogue had no room to write it down; the ballast is gone by now, or will go
                log.error("nothing is evicted: %s", fault)
            await asyncio.sleep(PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds - PAUSE_SECONDS):
                    await self._wanted.wait()

    def look(self) -> list[Evictable]:
        """Evict what has to go now. Reception waits for the ballast too: it is taken on again where that made room for it."""
        space = Space(int(self._catalogue.figure("cached_bytes")), shutil.disk_usage(self._layout.cache).free)
        now = self._clock.now()
        packs = (one for one in eviction.evictable(self._catalogue) if not self._desk.busy(one.pack))
        gone = list(self._evict(eviction.choose(packs, space, self._config.cache, self._pins.studies(now), now)))
        if gone:
            self._room.take_ballast()
        return gone

    def responders(self) -> Iterable[Responder]:
        return [at_once(Evict, PEOPLE, self._evict_asked), at_once(NoteUse, PEOPLE, self._note)]

    def _note(self, request: NoteUse, _asker: Asker) -> list[Message]:
        with suppress(StoreFull):  # a full disk must not keep anybody from viewing
            self._catalogue.touch(map(PackId, request.packs[:NOTED]), self._clock.now())
        return []

    def _evict_asked(self, request: Evict, _asker: Asker) -> Iterator[Evicted | Stays]:
        study = request.study
        rows = self._catalogue.rows("packs_here") if study is None else self._catalogue.rows("packs_of_study", study)
        if study is not None and not rows:
            raise Unknown(f"There is no study {study} here. `outpost studies` lists those that there are.")
        pinned = self._pins.studies(self._clock.now())
        chosen: list[Evictable] = []
        staying: list[tuple[Reason, str]] = []
        for pack, of, size, used_at, open_, held, here in rows:
            reason = eviction.hindrance(bool(open_), bool(held), bool(here), of in pinned, self._desk.busy(pack))
            if reason is None:
                chosen.append(Evictable(PackId(pack), UID(of), size, used_at))
            else:
                staying.append((reason, of))
        gone = chosen if request.dry_run else list(self._evict(chosen))
        yield from (Evicted(pack=one.pack, study=one.study, bytes=one.bytes) for one in gone)
        left = {one.pack for one in chosen} - {one.pack for one in gone}
        staying += [(Reason.RECALLED, one.study) for one in chosen if one.pack in left]
        for reason in Reason:
            if studies := {of for why, of in staying if why is reason}:
                yield Stays(reason=reason, studies=len(studies))

    def _evict(self, chosen: Iterable[Evictable]) -> Iterator[Evictable]:
        return eviction.evict(self._layout, self._catalogue, self._desk, chosen)
