"""Retrieve: cache to viewer. What the cache lacks is recalled, and flows out as it arrives."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from edge.clock import Clock
from edge.config import Layout
from edge.dimse.ports import Lost, Ready
from edge.errors import Refused, StoreFull, Transient
from edge.model import UID, Json, Level, Located, PackId, Query, recallable
from edge.recall import RecallDesk
from edge.store.catalogue import Catalogue
from edge.store.files import Gone, PackFiles
from edge.store.finder import Finder

log = logging.getLogger(__name__)

HEAD_SECONDS = 60.0
"""How long a request waits for one head that only the archive has."""


class Offline(Transient):
    """These studies are safe in the archive, but the link to it is down. Ask again when it is back."""


class Rejected(Refused):
    """A person decided that this study is not to be used: `outpost studies corrections` lists it."""


class HeadLate(Transient):
    """What this study consists of has not come from the archive yet. Ask again; it goes on meanwhile."""


class Link:
    """Whether the archive can be reached, as cloudsync last said."""

    def __init__(self, catalogue: Catalogue, offline_after_seconds: float, clock: Clock) -> None:
        self._catalogue = catalogue
        self._offline_after = offline_after_seconds
        self._clock = clock

    def up(self) -> bool:
        """False once it has been down for longer than `link.offline_after_seconds`."""
        rows = self._catalogue.rows("link")
        if not rows:
            return True
        state, since, *_ = rows[0]
        return recallable(state, self._clock.now() - since, self._offline_after)


class CatalogueIndex:
    """What is there, for C-FIND. Used by many threads at once."""

    def __init__(self, finder: Finder, link: Link) -> None:
        self._finder = finder
        self._link = link

    def find(self, query: Query) -> Iterator[Json]:
        yield from self._finder.find(query, self._link.up())


class PackRetrieve:
    """Where instances come from, for C-MOVE and C-GET. Used by many threads at once."""

    def __init__(self, layout: Layout, catalogue: Catalogue, desk: RecallDesk, link: Link, clock: Clock) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._desk = desk
        self._link = link
        self._clock = clock

    def begin(self, query: Query, skipped: frozenset[UID] = frozenset()) -> PackRetrieval:
        """Raises Offline when instances are only in the archive and it cannot be reached, HeadLate when it does not say which they are;
        Rejected when a person decided that none of it is to be used.
        """
        link_up = self._link.up()
        if link_up:
            self._learn_heads(query)
        located = [one for one in self._catalogue.locate(query) if one.sop_class not in skipped]
        if not link_up and any(not one.present for one in located):
            raise Offline
        if not located and self._catalogue.rejected(query):
            raise Rejected
        now = self._clock.now()
        with suppress(StoreFull):  # a full disk must not keep anybody from viewing
            self._catalogue.touch({one.pack for one in located}, now)
        whole = query.level in {Level.PATIENT, Level.STUDY}
        return PackRetrieval(self._layout, self._catalogue, self._desk, located, whole)

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


class PackRetrieval:
    """The instances of one request. What is here goes at once, in order; the rest as it is recalled."""

    def __init__(self, layout: Layout, catalogue: Catalogue, desk: RecallDesk, located: list[Located], whole_packs: bool) -> None:
        self._catalogue = catalogue
        self._desk = desk
        self.located: Sequence[Located] = tuple(located)
        self.total = len(located)
        self._pending = located
        self._files = PackFiles(layout)
        self.syntaxes: frozenset[tuple[UID, UID]] = frozenset((one.sop_class, one.transfer_syntax) for one in located)
        away: defaultdict[PackId, list[int]] = defaultdict(list)
        for one in located:
            if not one.present:
                away[one.pack].append(one.dataset_offset)
        self._here: dict[PackId, set[int]] = {
            pack: {one.dataset_offset for one in located if one.pack == pack and one.present} for pack in away
        }
        for pack, offsets in away.items():
            desk.want(pack, None if whole_packs else offsets)

    @property
    def remaining(self) -> int:
        return len(self._pending)

    def next(self, timeout_seconds: float) -> Ready | Lost | None:
        """The next instance in the order asked for, or one that is here earlier; None when none is ready within the time."""
        with self._desk.changed:
            found = self._take()
            if found is None and self._pending:
                self._desk.changed.wait(timeout_seconds)
                for pack in self._here:
                    self._here[pack] = {offset for (offset,) in self._catalogue.rows("instances_here", pack)}
                found = self._take()
        if not isinstance(found, Located):
            return found
        try:
            descriptor = self._files.open(found.pack)
        except Gone:
            return self._gone(found)
        return Ready(found, descriptor, found.dataset_offset, found.dataset_length)

    def close(self) -> None:
        self._files.close()
        self._pending = []

    def _take(self) -> Located | Lost | None:
        for place, one in enumerate(self._pending):
            if one.pack not in self._here or one.dataset_offset in self._here[one.pack]:
                return self._pending.pop(place)
        for place, one in enumerate(self._pending):
            if reason := self._desk.failure(one.pack):
                self._pending.pop(place)
                return Lost(one, reason)
        return None

    def _gone(self, found: Located) -> Lost | None:
        """A pack file that is not there was evicted since, and is recalled; or it is lost, which is said loudly."""
        state = self._catalogue.pack(found.pack)
        if state is None or state.here == "whole":
            log.error("pack %s is catalogued as here, but has no file", found.pack)
            return Lost(found, "Its pack file is missing from the cache.")
        self._pending.insert(0, found)
        self._here[found.pack] = set()
        self._desk.want(found.pack, [one.dataset_offset for one in self._pending if one.pack == found.pack])
        return None
