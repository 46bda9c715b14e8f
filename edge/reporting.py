"""How Outpost is, for whoever asks and for the service manager."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable

from edge import drilled, status
from edge.clock import Clock
from edge.config import Config, Layout
from edge.control.status import GetStatus, Status
from edge.notify import notify
from edge.reach import Reach
from edge.refusals import Refusals
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.packs import OpenPacks

STATUS_SECONDS = 10.0


class Reporting:
    """Answers how Outpost is. Safe to use from several threads."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        packs: OpenPacks,
        reach: Reach,
        notices: Iterable[Callable[[], list[str]]],
        alarms: Iterable[Callable[[], list[str]]],
        refusals: Refusals,
        clock: Clock,
        hold: Callable[[], str] = lambda: "",
    ) -> None:
        """`notices` tell what other application entities do not take, or what else is to be known, `alarms` what a person must see to,
        `hold` why not everything is shipped.
        """
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._packs = packs
        self._reach = reach
        self._notices = tuple(notices)
        self._alarms = tuple(alarms)
        self._refusals = refusals
        self._clock = clock
        self._hold = hold

    def responders(self) -> Iterable[Responder]:
        return [at_once(GetStatus, PEOPLE, self._answer)]

    async def tell_manager(self) -> None:
        """Keep the one sentence as systemd's status line; for ever."""
        while True:
            found = await asyncio.to_thread(self.status)
            notify(f"STATUS={found.sentence}")
            await asyncio.sleep(STATUS_SECONDS)

    def _answer(self, _request: GetStatus, _asker: Asker) -> list[Status]:
        return [self.status()]

    def status(self) -> Status:
        """As it is now."""
        ((studies, waiting, waiting_bytes, oldest, instances, last_held, stopped, dropped),) = self._catalogue.rows("counts")
        conflicts = len(self._catalogue.rows("conflicts"))
        now, receiving = self._clock.now(), len(self._packs.studies)
        link = status.link(self._reach.link(), self._reach.silent_since(), now)
        alarms = [alarm for tell in self._alarms for alarm in tell()]
        figures = status.Figures(
            studies, waiting, waiting_bytes, last_held, stopped, link, receiving, conflicts, self._hold(), len(alarms), dropped
        )
        return Status(
            sentence=status.sentence(figures, now),
            lamp=status.lamp(figures),
            site=self._config.site.name,
            ae_title=self._config.site.ae_title,
            studies=studies,
            instances=instances,
            waiting_studies=waiting,
            waiting_bytes=waiting_bytes,
            oldest_waiting_at=oldest,
            last_held_at=last_held,
            stopped=stopped,
            dropped=dropped,
            receiving=receiving,
            link_state=link.state,
            link_since=link.since,
            link_sentence=link.sentence,
            goodput_bytes_per_second=link.goodput_bytes_per_second,
            catalog_sequence=link.sequence,
            cache_bytes=int(self._catalogue.figure("cached_bytes")),
            cache_max_bytes=self._config.cache.max_bytes,
            free_bytes=shutil.disk_usage(self._layout.cache).free,
            quarantined=len(self._catalogue.rows("quarantined")),
            conflicts=conflicts,
            shared_ids=len(self._catalogue.rows("people_apart")),
            refusals=self._refusals.all(),
            drilled_at=drill.at if (drill := drilled.last(self._layout)) else None,
            notices=[notice for tell in self._notices for notice in tell()],
            alarms=alarms,
        )
