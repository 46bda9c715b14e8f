"""Retrieve: cache to viewer. What the cache lacks is recalled, and flows out as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from edge.clock import Clock
from edge.config import Layout
from edge.dimse.ports import Natives
from edge.errors import Refused, StoreFull, Transient
from edge.model import UID, Level, Located, PackId, Query
from edge.reach import Reach
from edge.recall import RecallDesk
from edge.retrieval import PackRetrieval
from edge.store.catalogue import Catalogue
from edge.store.finder import Finder
from edge.store.studies import ISSUER, PATIENT_ID, is_dummy

HEAD_SECONDS = 60.0
"""How long a request waits for one head that only the archive has."""
_STEP_SECONDS = 0.5
_SOP_INSTANCE = "00080018"


class Offline(Transient):
    """These studies are safe in the archive, but the link to it is down. Ask again when it is back."""


class Rejected(Refused):
    """A person decided that this study is not to be used: `outpost studies corrections` lists it."""


class HeadLate(Transient):
    """What this study consists of has not come from the archive yet. Ask again; it goes on meanwhile."""


class NobodyOfOneID(Refused):
    """Devices send this Patient ID when they know none: it names nobody. Retrieve by study."""


class SeveralOfOneID(Refused):
    """Several people have this Patient ID. Retrieve by study, or name the Issuer of Patient ID (0010,0021) where that tells them apart."""


class PackRetrieve:
    """Where instances come from, for C-MOVE and C-GET. Used by many threads at once."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        finder: Finder,
        desk: RecallDesk,
        reach: Reach,
        clock: Clock,
        suspect: Callable[[PackId], None],
        natives: Natives,
    ) -> None:
        """`finder` reads beside the catalogue's writer: however much a request matches, reception goes on meanwhile. `suspect` is told of a
        pack whose bytes are not there or cannot be read; `natives` are for destinations that refuse a stored transfer syntax.
        """
        self._layout = layout
        self._catalogue = catalogue
        self._finder = finder
        self._desk = desk
        self._reach = reach
        self._clock = clock
        self._suspect = suspect
        self._natives = natives

    def begin(
        self, query: Query, skipped: frozenset[UID] = frozenset(), meanwhile: Callable[[int], None] = lambda known: None
    ) -> PackRetrieval:
        """Raises Offline when all of it is only in the archive and that cannot be reached, HeadLate when the archive does not say what it
        consists of; Rejected when a person decided that none of it is to be used; NobodyOfOneID or SeveralOfOneID when all studies
        of a patient are wanted and the Patient ID does not name one (docs/formats.md, "Identity").
        """
        if query.level is Level.PATIENT:
            self._demand_one_patient(query)
        reachable = self._reach.up()
        found = self._finder.instances(query)
        headless = self._headless(query, found)
        late: Transient | None = None if reachable else Offline()
        if headless and reachable and _names_more(query):
            late = self._learn_heads(headless, lambda: meanwhile(len(found) + sum(count for _, count in headless)))
            found = self._finder.instances(query)
            headless = self._headless(query, found)
        missing = _missing(query, found, headless)
        if missing and not found:
            raise late or HeadLate()
        located = [one for one in found if one.sop_class not in skipped]
        if not reachable and located and not any(one.present for one in located):
            raise Offline
        if not found and self._finder.any_rejected(query):
            raise Rejected
        now = self._clock.now()
        with suppress(StoreFull):  # a full disk must not keep anybody from viewing
            self._catalogue.touch({one.pack for one in located}, now)
        whole = query.level in {Level.PATIENT, Level.STUDY}
        return PackRetrieval(self._layout, self._catalogue, self._desk, self._reach, located, missing, whole, self._suspect, self._natives)

    def want_study(self, study: UID) -> None:
        """Have every pack of a study recalled, those with hidden variants alone included. Returns at once."""
        for (pack,) in self._catalogue.rows("packs_away", study=study):
            self._desk.want(PackId(pack), None)

    def _demand_one_patient(self, query: Query) -> None:
        patient_id = query.matching[PATIENT_ID]
        if is_dummy(patient_id):
            raise NobodyOfOneID
        if self._finder.people(patient_id, query.matching.get(ISSUER, "")) > 1:
            raise SeveralOfOneID

    def _headless(self, query: Query, found: list[Located]) -> list[tuple[PackId, int]]:
        """Packs in which there may be more of it, which only their heads can say, with how many of each are not known."""
        wanted = _instances_of(query)
        if wanted and wanted <= {one.sop_instance for one in found}:
            return []
        return self._finder.headless(query)

    def _learn_heads(self, headless: list[tuple[PackId, int]], meanwhile: Callable[[], None]) -> Transient | None:
        """Packs that a rebuilt box only heard of: their instances are known when their heads are here. Why some did not come, if so."""
        for pack, _ in headless:
            self._desk.want(pack, ())
        late: Transient | None = None
        for pack, _ in headless:
            late = self._await_head(pack, meanwhile) or late
        return late

    def _await_head(self, pack: PackId, meanwhile: Callable[[], None]) -> Transient | None:
        until = self._clock.monotonic() + HEAD_SECONDS
        while True:
            with self._desk.changed:
                state = self._catalogue.pack(pack)
                if state is None or state.has_head:
                    return None
                if reason := self._desk.failure(pack):
                    return Transient(reason)
                if self._clock.monotonic() >= until:
                    return HeadLate()
                self._desk.changed.wait(_STEP_SECONDS)
            meanwhile()


def _instances_of(query: Query) -> frozenset[str]:
    """The instances that are asked for by name; none where whole series, studies or patients are."""
    return frozenset(uid for uid in query.matching.get(_SOP_INSTANCE, "").split("\\") if uid)


def _names_more(query: Query) -> bool:
    """Whether more than instances is named: any of the packs may have those, and all heads come by themselves."""
    return any(text for tag, text in query.matching.items() if tag != _SOP_INSTANCE)


def _missing(query: Query, found: list[Located], headless: list[tuple[PackId, int]]) -> int:
    """How many instances there may be that only the archive can name."""
    if wanted := _instances_of(query):
        return len(wanted - {one.sop_instance for one in found}) if headless else 0
    return sum(count for _, count in headless)
