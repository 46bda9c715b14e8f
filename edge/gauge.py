"""The gauge of the disk: throws the ballast off and takes it on again, and says a day ahead when the disk will be full."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from edge.clock import Clock
from edge.config import Config, Layout
from edge.durable import write_whole
from edge.errors import StoreFull
from edge.status import duration, size
from edge.store.catalogue import Catalogue
from edge.store.room import Room
from edge.store.trend import EVERY_SECONDS, Sample, seconds_left, with_sample

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
ALARM_SECONDS = 86_400.0


class Gauge:
    """Watches one state directory. `watch` runs in the loop; `alarms` is for any thread."""

    def __init__(self, config: Config, layout: Layout, catalogue: Catalogue, room: Room, clock: Clock) -> None:
        self._reserve = config.cache.reserve_bytes
        self._path = layout.room
        self._catalogue = catalogue
        self._room = room
        self._clock = clock
        self._samples = _read(layout)

    async def watch(self) -> None:
        """For ever."""
        sampled_at = None
        while True:
            await asyncio.to_thread(self._look)
            if sampled_at is None or self._clock.monotonic() - sampled_at >= EVERY_SECONDS:
                sampled_at = self._clock.monotonic()
                await asyncio.to_thread(self._sample)
            await asyncio.sleep(LOOK_SECONDS)

    def alarms(self) -> list[str]:
        """What a person should do about the disk, in sentences."""
        try:
            self._room.demand()
        except StoreFull:
            return [
                "The disk is at its reserve, and nothing is received until there is room. Free space on it, or raise what may be evicted: "
                "see `outpost studies` for what is not in the archive yet."
            ]
        left = seconds_left(self._samples, self._reserve)
        if left is None or left > ALARM_SECONDS:
            return []
        return [
            f"At the pace of the last day the disk is full in {duration(left)}: {size(self._samples[-1].bytes)} are free or may be evicted."
            " Find out why the archive does not keep up, or make room."
        ]

    def _look(self) -> None:
        if self._room.scarce():
            self._room.give_way()
        else:
            self._room.take_ballast()

    def _sample(self) -> None:
        room = self._room.free() + int(self._catalogue.figure("evictable_bytes"))
        self._samples = with_sample(self._samples, Sample(self._clock.now(), room))
        try:
            write_whole(self._path, msgspec.json.encode(self._samples))
        except OSError as fault:  # the samples of a day are worth no stop
            log.warning("how the disk fills is not written down: %s", fault.strerror)


def _read(layout: Layout) -> list[Sample]:
    """What was written before a restart; nothing of it is needed."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(layout.room.read_bytes(), type=list[Sample])
    return []
