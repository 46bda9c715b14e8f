"""Pins as people set them: in force at once, and audited."""

from __future__ import annotations

from collections.abc import Iterable

from edge import audit
from edge.audit import Audit
from edge.clock import Clock, utc
from edge.control.cache import ListPins, Pinned, PinStudy, UnpinStudy
from edge.control.message import Message
from edge.errors import Refused, Unknown
from edge.model import UID
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.pins import Pin, Pins


class Pinning:
    """Answers what is asked about pins. Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, pins: Pins, trail: Audit, clock: Clock) -> None:
        self._catalogue = catalogue
        self._pins = pins
        self._audit = trail
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [at_once(PinStudy, PEOPLE, self._pin), at_once(UnpinStudy, PEOPLE, self._unpin), at_once(ListPins, PEOPLE, self._list)]

    def _pin(self, request: PinStudy, asker: Asker) -> list[Pinned]:
        now = self._clock.now()
        if not self._catalogue.rows("packs_of_study", request.study):
            raise Unknown(f"There is no study {request.study} here. `outpost studies` lists those that there are.")
        if request.until is not None and request.until <= now:
            raise Refused(f"{utc(request.until)} is over already.")
        pin = Pin(UID(request.study), request.until, now)
        self._pins.put(pin)
        self._record(asker.user, request.study, "pinned")
        return [self._row(pin)]

    def _unpin(self, request: UnpinStudy, asker: Asker) -> list[Message]:
        if not self._pins.remove(request.study):
            raise Refused(f"Study {request.study} is not pinned. `outpost studies pins` lists those that are.")
        self._record(asker.user, request.study, "unpinned")
        return []

    def _list(self, _request: ListPins, _asker: Asker) -> list[Pinned]:
        return [self._row(pin) for pin in self._pins.standing(self._clock.now())]

    def _row(self, pin: Pin) -> Pinned:
        packs = [self._catalogue.pack(row[0]) for row in self._catalogue.rows("packs_of_study", pin.study)]
        whole = sum(state is not None and state.here == "whole" for state in packs)
        return Pinned(study=pin.study, until=pin.until, pinned_at=pin.pinned_at, here=whole, packs=len(packs))

    def _record(self, user: int, study: str, change: str) -> None:
        self._audit.record(audit.Decided(user=user, study=study, change=change, fields=[]))
