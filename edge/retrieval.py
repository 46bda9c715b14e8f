"""One request for instances: what is here flows out at once, the rest as it is recalled."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from edge.config import Layout
from edge.dimse.ports import Lost, Making, Natives, Ready
from edge.errors import Corrupt, Exhausted
from edge.model import UID, Located, PackId
from edge.reach import Reach
from edge.recall import RecallDesk
from edge.store.catalogue import Catalogue
from edge.store.files import Gone, PackFiles

log = logging.getLogger(__name__)


class PackRetrieval:
    """The instances of one request. What is here goes at once, in order; the rest as it is recalled."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        desk: RecallDesk,
        reach: Reach,
        located: list[Located],
        missing: int,
        whole_packs: bool,
        suspect: Callable[[PackId], None],
        natives: Natives,
    ) -> None:
        """`missing` is how many instances there are besides that only the archive could name, and did not; `suspect` is told of a pack
        whose bytes are not there or cannot be read.
        """
        self._catalogue = catalogue
        self._desk = desk
        self._reach = reach
        self._suspect = suspect
        self._natives = natives
        self.located: Sequence[Located] = tuple(located)
        self.missing = missing
        self.total = len(located)
        self._pending = located
        self._cut_off = False
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
                found = self._wait(timeout_seconds)
        if not isinstance(found, Located):
            return found
        try:
            return self._opened(found)
        except Gone:
            return self._gone(found)
        except (Corrupt, Exhausted) as fault:
            log.error("pack %s: %s", found.pack, fault)
            return Lost(found, str(fault))

    def native(self, ready: Ready) -> Making:
        """Raises StoreFull, and Exhausted."""
        return self._natives.begin(ready)

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

    def _opened(self, found: Located) -> Ready | None:
        """What was here may have been evicted since, and recalled to another file, which has holes where instances are still to come.

        So the file that is open has the instance only if it still is the pack's after the catalogue said that the instance is here.
        """
        while True:
            descriptor = self._files.open(found.pack)
            if not self._is_here(found):
                self._files.drop(found.pack)
                self._want_again(found)
                return None
            if self._files.is_current(found.pack):
                return Ready(found, descriptor, found.dataset_offset, found.dataset_length, partial(self._suspect, found.pack))
            self._files.drop(found.pack)

    def _is_here(self, one: Located) -> bool:
        return self._catalogue.rows("is_here", uid=one.sop_instance, pack=one.pack, offset=one.dataset_offset) == [(1,)]

    def _want_again(self, found: Located) -> None:
        """It waits with the others of its pack that are not here any more."""
        self._pending.insert(0, found)
        here = self._here[found.pack] = {offset for (offset,) in self._catalogue.rows("instances_here", found.pack)}
        wanted = [one.dataset_offset for one in self._pending if one.pack == found.pack]
        self._desk.want(found.pack, [offset for offset in wanted if offset not in here])

    def _wait(self, timeout_seconds: float) -> Located | Lost | None:
        """What came within the time. Once the archive counts as out of reach, nothing that is not here is waited for any longer."""
        self._cut_off = self._cut_off or not self._reach.up()
        if not self._cut_off:
            self._desk.changed.wait(timeout_seconds)
            for pack in self._here:
                self._here[pack] = {offset for (offset,) in self._catalogue.rows("instances_here", pack)}
            if (found := self._take()) is not None or self._reach.up():
                return found
            self._cut_off = True
        return Lost(self._pending.pop(0), "The archive cannot be reached any more.")

    def _gone(self, found: Located) -> Lost | None:
        """A pack file that is not there was evicted since; or it is missing, which is said loudly. What the archive has is recalled."""
        state = self._catalogue.pack(found.pack)
        if state is None or state.here == "whole":
            log.error("pack %s is catalogued as here, but has no file", found.pack)
            if state is None or not state.held:
                return Lost(found, "Its pack file is missing from the cache.")
            self._catalogue.evict(found.pack)
        self._want_again(found)
        return None
