"""The studies as people ask for them: listed, and brought back from the archive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from edge import status
from edge.config import Cache
from edge.control.studies import Away, ListAway, ListStudies, Recalled, RecallStudy, Study
from edge.dimse.ports import Lost, Ready
from edge.errors import Refused, Unknown
from edge.model import UID, Level, Query
from edge.reach import Reach
from edge.responder import PEOPLE, Asker, Responder, at_once, streamed
from edge.retrieve import PackRetrieve
from edge.store.catalogue import Catalogue

WAIT_SECONDS = 2.0
WAITERS = 64
"""Requests that wait for recalls at once; more take turns."""


class Studies:
    """Answers what is asked about studies."""

    def __init__(self, settings: Cache, catalogue: Catalogue, retrieve: PackRetrieve, reach: Reach) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._retrieve = retrieve
        self._reach = reach
        # Threads of their own: who waits for a recall must not take those that read the facts it comes with.
        self._waiters = ThreadPoolExecutor(WAITERS, "recall request")

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(ListStudies, PEOPLE, self._list),
            at_once(ListAway, PEOPLE, self._away),
            streamed(RecallStudy, PEOPLE, self._recall),
        ]

    def close(self) -> None:
        """Nobody waits any longer. Idempotent."""
        self._waiters.shutdown(wait=False, cancel_futures=True)

    def _list(self, request: ListStudies, _asker: Asker) -> list[Study]:
        link_up = self._reach.up()
        return [status.study(row, link_up) for row in self._catalogue.rows("studies_in_packs", study=request.study, most=request.most)]

    def _away(self, request: ListAway, _asker: Asker) -> Iterator[Away]:
        room = self._settings.max_bytes * self._settings.low_water_percent // 100 - int(self._catalogue.figure("cached_bytes"))
        asked = {"modality": request.modality, "since": request.since, "most": request.most}
        for study, size in self._catalogue.rows("studies_away", **asked):
            room -= size
            yield Away(study=study, bytes=size, fits=room >= 0)

    async def _recall(self, request: RecallStudy, _asker: Asker) -> AsyncGenerator[Recalled, None]:
        matching = {"0020000D": request.study}
        level = Level.STUDY
        for tag, uid, deeper in (("0020000E", request.series, Level.SERIES), ("00080018", request.instance, Level.IMAGE)):
            if uid is not None:
                matching[tag], level = uid, deeper
        loop = asyncio.get_running_loop()
        retrieval = await loop.run_in_executor(self._waiters, self._retrieve.begin, Query(level, matching))
        if level is Level.STUDY:
            self._retrieve.want_study(UID(request.study))
        try:
            if not retrieval.total:
                raise Unknown("There is no such study, series or instance here.")
            here, lost = 0, ""
            while retrieval.remaining:
                match await loop.run_in_executor(self._waiters, retrieval.next, WAIT_SECONDS):
                    case Ready():
                        here += 1
                    case Lost(reason=reason):
                        lost = reason
                # Said also when nothing came: who has gone is found out by it.
                yield Recalled(here=here, total=retrieval.total)
            if lost or retrieval.missing:
                raise Refused(lost or "Of some of it the archive has not said yet what it is. Ask again.")
        finally:
            retrieval.close()
