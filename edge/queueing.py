"""What is on its way to the archive, for people: how far each study is, why it is no further, and what is not to go at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from edge import audit
from edge.audit import Audit
from edge.config import Layout
from edge.control.queue import Dropped, DropStudy, ListQueue, Queued
from edge.errors import Refused, Unknown
from edge.journal import Allowance
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue

_STATES = ("stopped", "receiving", "coding", "shipping", "listing", "dropped")


class Row(NamedTuple):
    """A row of the named query `queue`: a pack that is not in the archive."""

    study: str
    urgency: str
    received_at: float
    closed: int
    coded: int
    confirmed: int
    objects: int
    bytes: int
    stopped: str | None
    dropped: str | None

    @property
    def state(self) -> str:
        if self.stopped is not None:
            return "stopped" if self.dropped is None else "dropped"
        if not self.closed:
            return "receiving"
        if not self.coded:
            return "coding"
        return "listing" if self.objects and self.confirmed >= self.objects else "shipping"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What keeps all of them, or all but the urgent ones."""

    link: str = ""
    """Why the archive takes nothing, as a sentence; empty while it does."""
    hold: str = ""
    """Why not everything may go, as a sentence."""
    spares_stat: bool = False
    """What holds the others does not hold STAT."""


def queued(rows: Iterable[Row], hindrance: Hindrance) -> list[Queued]:
    """Studies in the order in which they go, of packs in any order."""
    found = []
    for study, group in groupby(sorted(rows, key=lambda row: row.study), key=lambda row: row.study):
        packs = sorted(group, key=lambda row: (_STATES.index(row.state), row.received_at))
        coded = [row for row in packs if row.coded]
        found.append(
            Queued(
                study=study,
                urgency=min((row.urgency for row in packs), key=_rank),
                state=packs[0].state,
                why=_why(packs[0], hindrance),
                packs=len(packs),
                coded=len(coded),
                confirmed=sum(row.confirmed for row in coded),
                objects=sum(row.objects for row in coded),
                bytes=sum(row.bytes for row in packs),
                received_at=min(row.received_at for row in packs),
            )
        )
    return sorted(found, key=lambda one: (_rank(one.urgency), one.received_at, one.study))


def _why(row: Row, hindrance: Hindrance) -> str:
    match row.state:
        case "stopped":
            return _sentence(row.stopped or "")
        case "dropped":
            return f"It stays here only, as somebody decided: {_sentence(row.dropped or '')}"
        case "receiving":
            return "Instances of it were received a moment ago: it is not closed yet."
        case "coding":
            return "It waits to be compressed."
    if hindrance.link:
        return hindrance.link
    if hindrance.hold and not (hindrance.spares_stat and row.urgency == "stat"):
        return hindrance.hold
    if row.state == "listing":
        return "All of it is in the archive, whose catalog is about to name it."
    return "It is being shipped." if row.confirmed else "Its turn comes next, or after others."


def _rank(urgency: str) -> int:
    return ("stat", "routine", "background").index(urgency)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


class Queueing:
    """Answers what is asked about the queue. Safe to use from several threads."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        trail: Audit,
        hindered: Callable[[], str],
        told: Callable[[], tuple[Allowance | None, str]],
    ) -> None:
        """`hindered` says why the archive takes nothing, `told` what cloudsync said of what may go, with its sentence."""
        self._layout = layout
        self._catalogue = catalogue
        self._audit = trail
        self._hindered = hindered
        self._told = told

    def responders(self) -> Iterable[Responder]:
        return [at_once(ListQueue, PEOPLE, self._list), at_once(DropStudy, PEOPLE, self._drop)]

    def _list(self, _request: ListQueue, _asker: Asker) -> Sequence[Queued]:
        told, hold = self._told()
        hindrance = Hindrance(self._hindered(), hold, told is not None and told.hold == "reserve")
        return queued((Row(*row) for row in self._catalogue.rows("queue")), hindrance)

    def _drop(self, request: DropStudy, asker: Asker) -> list[Dropped]:
        """Only what waits for a person: what is under way is not taken from the archive's lane."""
        if not request.reason.strip():
            raise Refused("A reason is needed: whoever looks for the study in the archive one day will ask for it.")
        with self._catalogue.change():
            stopped = [pack for pack, _, _ in self._catalogue.rows("stopped_packs", study=request.study)]
            packs = [pack for pack in stopped if self._catalogue.rows("drop_pack", request.reason, pack)]
        if not packs:
            if not self._catalogue.rows("study_row", request.study):
                raise Unknown(f"There is no study {request.study} here. `outpost queue` lists what is on its way.")
            raise Refused(f"Nothing of study {request.study} waits for a person. Only what the archive cannot take may be dropped.")
        self._audit.record(audit.Decided(user=asker.user, study=request.study, change=f"not archived: {request.reason}", fields=[]))
        for pack in packs:
            shutil.rmtree(self._layout.outbox / pack, ignore_errors=True)
        return [Dropped(study=request.study, packs=len(packs))]
