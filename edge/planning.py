"""The planning that a clinic does before it buys: figures of the last week, and what follows from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from edge.clock import Clock
from edge.config import Config, Layout
from edge.control.capacity import GetCapacity, Growing, Outlook
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.capacity import Measured, plan
from edge.store.catalogue import Catalogue

WEEK_DAYS = 7.0
_DAY_SECONDS = 86_400.0
_LATE_PACKS = 200
_HEAD_SHARE = 0.004
"""Bytes of a head for each byte received: 2 kB of an instance of 525 kB."""


class Planning:
    """Answers how long the disks last. Safe to use from several threads."""

    def __init__(self, config: Config, layout: Layout, catalogue: Catalogue, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [at_once(GetCapacity, PEOPLE, self._answer)]

    def _answer(self, _request: GetCapacity, _asker: Asker) -> Iterator[Outlook | Growing]:
        found = self.measure()
        planned = plan(found)
        yield Outlook(
            measured_days=found.days if planned.growth else 0.0,
            cache_bytes=found.cache_limit,
            cache_days=planned.cache_days,
            state_free_bytes=found.free,
            state_full_days=planned.state_full_days,
            backlog_bytes_per_day=planned.backlog_per_day,
            archive_free_bytes=found.archive_free,
            archive_full_days=planned.archive_full_days,
        )
        for one in planned.growth:
            yield Growing(
                modality=one.modality,
                bytes_per_day=one.per_day,
                ratio=one.ratio,
                basis=one.basis,
                sealed_bytes_per_year=one.sealed_per_year,
            )

    def measure(self) -> Measured:
        """As it is now."""
        rows, figure, settings = self._catalogue.rows, self._catalogue.figure, self._config.cache
        now = self._clock.now()
        first = figure("first_reception")
        days = max(1.0, min(WEEK_DAYS, (now - (now if first is None else first)) / _DAY_SECONDS))
        arrived = rows("arrived_since", since=now - days * _DAY_SECONDS)
        instances = sum(count for _, _, count in arrived)
        ((_, _, waiting, _, of_all, *_),) = rows("counts")
        per_instance = self._layout.catalogue.stat().st_size / of_all if of_all else 0.0
        link = rows("link")
        state = os.statvfs(self._layout.cache)
        archive = self._archive()
        return Measured(
            days=days,
            arrived={modality: size for modality, size, _ in arrived},
            sealed={modality: (size, sealed) for modality, size, sealed in rows("sealed_of_late", most=_LATE_PACKS)},
            cached=int(figure("cached_bytes")),
            cache_limit=settings.max_bytes * settings.high_water_percent // 100,
            free=state.f_bavail * state.f_frsize,
            reserve=settings.reserve_bytes,
            waiting=waiting,
            link_per_second=link[0][2] if link else 0.0,
            kept_per_day=(instances * per_instance + sum(size for _, size, _ in arrived) * _HEAD_SHARE) / days,
            archive_free=archive.f_bavail * archive.f_frsize if archive else None,
            archive_beside=archive is not None and archive.f_fsid == state.f_fsid,
        )

    def _archive(self) -> os.statvfs_result | None:
        """The disk of a folder archive, if edge's user can see it."""
        if self._config.archive.kind == "folder" and self._config.archive.path:
            with suppress(OSError):
                return os.statvfs(Path(self._config.archive.path))
        return None
