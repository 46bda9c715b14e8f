"""Intake: an instance becomes ours. Durable and described before it is acknowledged (docs/formats.md, "Identity")."""

from __future__ import annotations

import threading

from edge.clock import Clock
from edge.config import Config, Layout
from edge.dataset.attributes import HEAD_CAP, Description, describe, identify
from edge.dataset.look import look
from edge.dataset.walk import Malformed
from edge.dimse.ports import Arrival, Outcome, Reception
from edge.errors import StoreFailed
from edge.failstop import FailStop
from edge.model import Identity, Urgency
from edge.store.catalogue import Catalogue
from edge.store.commit import Arriving, Commit
from edge.store.packs import OpenPacks
from edge.store.quarantine import About, Allowance, QuarantineWriter
from edge.store.room import Room

SET_BACK_SECONDS = 86_400.0
_PIECE = 1 << 18
_CONTRADICTION = "command set and dataset disagree about SOP class or SOP instance"


class PackIntake:
    """The one way in, for C-STORE, STOW-RS and import. Used by many threads at once."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        packs: OpenPacks,
        room: Room,
        clock: Clock,
        fail_stop: FailStop,
    ) -> None:
        self.config = config
        self.layout = layout
        self.catalogue = catalogue
        self.packs = packs
        self.room = room
        self.clock = clock
        self.fail_stop = fail_stop
        cache = config.cache
        self._allowance = Allowance(
            cache.quarantine_max_bytes, cache.quarantine_peer_max_bytes, lambda: dict(catalogue.rows("quarantined_bytes"))
        )

        self._newest = float(catalogue.figure("newest_reception") or 0.0)
        self._stamping = threading.Lock()
        self.looking = threading.Lock()
        """Held by who looks at a dataset whose UIDs come late: that takes memory and time, for one at a time."""

    def begin(self, arrival: Arrival) -> Reception:
        """Raises StoreFull before the reserve of the disk is touched, StoreFailed once a flush has failed."""
        self.fail_stop.check()
        self.room.demand()
        return _Reception(self, arrival)

    def received_at(self) -> float:
        """Now, in whole seconds since the epoch, as the pack keeps it. What is received later is never of an earlier time (variants are
        told apart by it) unless the clock was set back by more than SET_BACK_SECONDS: then the times before were wrong.
        """
        with self._stamping:
            now = float(int(self.clock.now()))
            self._newest = self._newest if now < self._newest <= now + SET_BACK_SECONDS else now
            return self._newest

    def urgency(self, arrival: Arrival) -> Urgency:
        """What is sent to the urgent AE title is urgent; the rest is of the class of the peer that sends it."""
        return Urgency.STAT if arrival.called_ae == self.config.site.stat_ae_title else arrival.peer.urgency

    def quarantine(self, source_ae: str) -> QuarantineWriter:
        return QuarantineWriter(self.layout.quarantine, self._allowance, source_ae)

    def alarms(self) -> list[str]:
        """What a person must see to before what cannot be filed is refused."""
        return self._allowance.alarms()


class _Reception:
    """One instance between its first fragment and its commit.

    Fragments are held in memory until the dataset names its SOP class and its three UIDs (at most 1 MiB); from then on they go straight to
    the pack of its study, or to quarantine. What has not named them by then is written to a file of quarantine, looked at when it is whole,
    and goes from there to its pack.
    """

    def __init__(self, intake: PackIntake, arrival: Arrival) -> None:
        self._intake = intake
        self._arrival = arrival
        self._head = bytearray()
        self._look_at = 0
        """How much of the head to wait for before it is looked at again: twice as much each time, however small the fragments."""
        self._sink: Commit | QuarantineWriter | None = None
        self._reason = ""
        self._outcome = Outcome.UNIDENTIFIED
        self._late = False
        """It may yet identify itself, further in."""
        self._received_at = intake.received_at()

    def write(self, fragment: memoryview) -> None:
        try:
            if self._sink is not None:
                self._sink.write(fragment)
                return
            self._head += fragment
            if len(self._head) >= min(self._look_at, HEAD_CAP + 1):
                self._place()
        except StoreFailed as fault:
            self._intake.fail_stop(fault)
            raise

    def commit(self) -> Outcome:
        try:
            if self._sink is None:
                self._place()
            if self._sink is None:
                self._set_aside("the dataset ends before it names SOP class, SOP instance, series and study")
            if self._late and isinstance(self._sink, QuarantineWriter):
                self._place_late(self._sink)
            assert self._sink is not None
            outcome = self._keep_aside(self._sink) if isinstance(self._sink, QuarantineWriter) else Outcome(self._sink.commit().value)
            self._intake.fail_stop.check()
            return outcome
        except StoreFailed as fault:
            self._intake.fail_stop(fault)
            raise
        finally:
            self.abort()

    def abort(self) -> None:
        sink, self._sink = self._sink, None
        try:
            if isinstance(sink, QuarantineWriter):
                sink.cut()
            elif sink is not None:
                sink.end()
        except StoreFailed as fault:
            self._intake.fail_stop(fault)
            raise

    def _place(self) -> None:
        head, syntax = bytes(self._head), self._arrival.transfer_syntax
        # The peer is still sending: what is done now need not be done between the last byte and the answer.
        description = describe(head, syntax, None)
        try:
            identity = description.identity or identify(head, syntax)
        except Malformed as fault:
            self._set_aside(str(fault))
            return
        if identity is None:
            self._look_at = 2 * len(head)
            if len(head) > HEAD_CAP:
                self._late = True
                self._set_aside("the dataset does not identify itself")
            return
        if self._contradicts(identity):
            self._outcome = Outcome.CONTRADICTORY
            self._set_aside(_CONTRADICTION)
            return
        self._sink = self._filed(identity, description)
        self._sink.write(head)

    def _place_late(self, aside: QuarantineWriter) -> None:
        """What is set aside because long values come before its UIDs can be looked at now that it is whole, and filed after all."""
        source, syntax = aside.source(), self._arrival.transfer_syntax
        if source is None:
            return
        try:
            with self._intake.looking:
                head, identity = look(source, syntax)
        except Malformed as fault:
            self._reason = str(fault)
            return
        if identity is None:
            return
        if self._contradicts(identity):
            self._outcome, self._reason = Outcome.CONTRADICTORY, _CONTRADICTION
            return
        filed = self._filed(identity, describe(head, syntax, source.length))
        self._sink = filed
        try:
            for position in range(0, source.length, _PIECE):
                filed.write(source.read(position, _PIECE))
        finally:
            aside.cut()

    def _contradicts(self, identity: Identity) -> bool:
        return (identity.sop_class, identity.sop_instance) != (self._arrival.sop_class, self._arrival.sop_instance)

    def _filed(self, identity: Identity, description: Description) -> Commit:
        intake, arrival = self._intake, self._arrival
        arriving = Arriving(identity, description, arrival.transfer_syntax, arrival.calling_ae, self._received_at, intake.urgency(arrival))
        return Commit(intake.packs, intake.catalogue, intake.room, arriving)

    def _set_aside(self, reason: str) -> None:
        self._reason = reason
        self._sink = self._intake.quarantine(self._arrival.calling_ae)
        self._sink.write(bytes(self._head))

    def _keep_aside(self, sink: QuarantineWriter) -> Outcome:
        arrival = self._arrival
        about = About(self._reason, sink.size, arrival.transfer_syntax, arrival.sop_instance, arrival.calling_ae, self._received_at)
        self._intake.catalogue.quarantine(sink.commit(about), about)
        return self._outcome
