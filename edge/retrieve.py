"""Retrieve: cache to viewer. What the cache lacks is recalled, and flows out as it arrives."""

from __future__ import annotations

from contextlib import suppress

from edge.clock import Clock
from edge.config import Layout
from edge.errors import Refused, StoreFull, Transient
from edge.model import UID, Level, PackId, Query
from edge.reach import Reach
from edge.recall import RecallDesk
from edge.retrieval import PackRetrieval
from edge.store.catalogue import Catalogue

HEAD_SECONDS = 60.0
"""How long a request waits for one head that only the archive has."""


class Offline(Transient):
    """These studies are safe in the archive, but the link to it is down. Ask again when it is back."""


class Rejected(Refused):
    """A person decided that this study is not to be used: `outpost studies corrections` lists it."""


class HeadLate(Transient):
    """What this study consists of has not come from the archive yet. Ask again; it goes on meanwhile."""


class PackRetrieve:
    """Where instances come from, for C-MOVE and C-GET. Used by many threads at once."""

    def __init__(self, layout: Layout, catalogue: Catalogue, desk: RecallDesk, reach: Reach, clock: Clock) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._desk = desk
        self._reach = reach
        self._clock = clock

    def begin(self, query: Query, skipped: frozenset[UID] = frozenset()) -> PackRetrieval:
        """Raises Offline when instances are only in the archive and it cannot be reached, HeadLate when it does not say which they are;
        Rejected when a person decided that none of it is to be used.
        """
        reachable = self._reach.up()
        if reachable:
            self._learn_heads(query)
        located = [one for one in self._catalogue.locate(query) if one.sop_class not in skipped]
        if not reachable and any(not one.present for one in located):
            raise Offline
        if not located and self._catalogue.rejected(query):
            raise Rejected
        now = self._clock.now()
        with suppress(StoreFull):  # a full disk must not keep anybody from viewing
            self._catalogue.touch({one.pack for one in located}, now)
        whole = query.level in {Level.PATIENT, Level.STUDY}
        return PackRetrieval(self._layout, self._catalogue, self._desk, self._reach, located, whole)

    def want_study(self, study: UID) -> None:
        """Have every pack of a study recalled, those with hidden variants alone included. Returns at once."""
        for (pack,) in self._catalogue.rows("packs_away", study=study):
            self._desk.want(PackId(pack), None)

    def _learn_heads(self, query: Query) -> None:
        """Packs that a rebuilt box only heard of: their instances are known when their heads are here."""
        for answer in self._catalogue.find(Query(Level.STUDY, query.matching), link_up=True):
            study = answer["0020000D"]["Value"][0]
            headless = [PackId(pack) for (pack,) in self._catalogue.rows("headless", study=study)]
            for pack in headless:
                self._desk.want(pack, ())
            for pack in headless:
                self._await_head(pack)

    def _await_head(self, pack: PackId) -> None:
        until = self._clock.monotonic() + HEAD_SECONDS
        with self._desk.changed:
            while True:
                state = self._catalogue.pack(pack)
                if state is None or state.has_head:
                    return
                if reason := self._desk.failure(pack):
                    raise Transient(reason)
                if self._clock.monotonic() >= until:
                    raise HeadLate
                self._desk.changed.wait(1.0)
