"""Intake: an instance becomes ours. Durable and described before it is acknowledged (docs/formats.md, "Identity")."""

from __future__ import annotations

import os
from collections.abc import Callable

from edge.clock import Clock
from edge.config import Config, Layout
from edge.dataset.attributes import HEAD_CAP, Description, describe, identify
from edge.dataset.walk import Malformed
from edge.dimse.ports import Arrival, Outcome, Reception
from edge.errors import StoreFailed, StoreFull
from edge.model import Digest, Identity, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Member, MemberWriter, OpenPack
from edge.store.packs import OpenPacks
from edge.store.quarantine import About, QuarantineWriter


class PackIntake:
    """The one way in, for C-STORE, STOW-RS and import. Used by many threads at once."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        packs: OpenPacks,
        clock: Clock,
        fail_stop: Callable[[StoreFailed], None],
    ) -> None:
        """`fail_stop` is called when the disk failed: nothing is acknowledged after that, and the process is to end."""
        self.config = config
        self.layout = layout
        self.catalogue = catalogue
        self.packs = packs
        self.clock = clock
        self.fail_stop = fail_stop
        self._failed = False

    def begin(self, arrival: Arrival) -> Reception:
        """Raises StoreFull before the reserve of the disk is touched, StoreFailed once a flush has failed."""
        if self._failed:
            raise StoreFailed
        room = os.statvfs(self.layout.cache)
        if room.f_bavail * room.f_frsize < self.config.cache.reserve_bytes:
            raise StoreFull
        return _Arriving(self, arrival)

    def urgency(self, arrival: Arrival) -> Urgency:
        """What is sent to the urgent AE title is urgent; the rest is of the class of the peer that sends it."""
        return Urgency.STAT if arrival.called_ae == self.config.site.stat_ae_title else arrival.peer.urgency

    def quarantine(self) -> QuarantineWriter:
        used = int(self.catalogue.figure("quarantined_bytes"))
        return QuarantineWriter(self.layout.quarantine, max(0, self.config.cache.quarantine_max_bytes - used))

    def stop(self, fault: StoreFailed) -> None:
        self._failed = True
        self.fail_stop(fault)


class _Arriving:
    """One instance between its first fragment and its commit.

    Fragments are held in memory until the dataset names its SOP class and its three UIDs (at most 1 MiB); from then on they go straight to
    the pack of its study, or to quarantine.
    """

    def __init__(self, intake: PackIntake, arrival: Arrival) -> None:
        self._intake = intake
        self._arrival = arrival
        self._head = bytearray()
        self._look_at = 0
        """How much of the head to wait for before it is looked at again: twice as much each time, however small the fragments."""
        self._identity: Identity | None = None
        self._description: Description | None = None
        self._known: list[Digest] = []
        """The variants of the instance that were catalogued when it began to arrive."""
        self._pack: OpenPack | None = None
        self._sink: MemberWriter | QuarantineWriter | None = None
        self._reason = ""
        self._outcome = Outcome.UNIDENTIFIED
        self._received_at = float(int(intake.clock.now()))
        """In whole seconds, as the pack keeps it."""

    def write(self, fragment: memoryview) -> None:
        try:
            if self._sink is not None:
                self._sink.write(fragment)
                return
            self._head += fragment
            if len(self._head) >= min(self._look_at, HEAD_CAP + 1):
                self._place()
        except StoreFailed as fault:
            self._intake.stop(fault)
            raise

    def commit(self) -> Outcome:
        try:
            if self._sink is None:
                self._place()
            if self._sink is None:
                self._set_aside("the dataset ends before it names SOP class, SOP instance, series and study")
            if isinstance(self._sink, QuarantineWriter):
                return self._keep_aside(self._sink)
            return self._admit()
        except StoreFailed as fault:
            self._intake.stop(fault)
            raise
        finally:
            self.abort()

    def abort(self) -> None:
        sink, self._sink = self._sink, None
        pack, self._pack = self._pack, None
        try:
            if sink is not None:
                sink.cut()
        except StoreFailed as fault:
            self._intake.stop(fault)
            raise
        finally:
            if pack is not None:
                self._intake.packs.give_back(pack)

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
                self._set_aside("the dataset does not identify itself within 1 MiB")
            return
        if (identity.sop_class, identity.sop_instance) != (self._arrival.sop_class, self._arrival.sop_instance):
            self._outcome = Outcome.CONTRADICTORY
            self._set_aside("command set and dataset disagree about SOP class or SOP instance")
            return
        self._pack = self._intake.packs.lend(identity.study, self._intake.urgency(self._arrival))
        self._sink = self._pack.append(identity, syntax, self._arrival.calling_ae, int(self._received_at))
        self._sink.write(head)
        self._identity, self._description = identity, description
        self._known = self._intake.catalogue.digests(identity)

    def _set_aside(self, reason: str) -> None:
        self._reason = reason
        self._sink = self._intake.quarantine()
        self._sink.write(bytes(self._head))

    def _keep_aside(self, sink: QuarantineWriter) -> Outcome:
        arrival = self._arrival
        about = About(self._reason, sink.size, arrival.transfer_syntax, arrival.sop_instance, arrival.calling_ae, self._received_at)
        self._intake.catalogue.quarantine(sink.commit(about), about)
        return self._outcome

    def _admit(self) -> Outcome:
        assert isinstance(self._sink, MemberWriter)
        assert self._pack is not None
        assert self._identity is not None
        digest = self._sink.digest
        if digest in self._known:
            return Outcome.DUPLICATE
        name = f"{self._identity.sop_instance}~{digest[:16]}.dcm" if self._known else f"{self._identity.sop_instance}.dcm"
        member = self._sink.commit(name)
        self._sink = None
        try:
            recorded = self._record(self._pack, self._identity, member)
        except BaseException:
            self._pack.take_back(member)
            raise
        if not recorded:  # another association has just stored the same instance
            self._pack.take_back(member)
            return Outcome.DUPLICATE
        return Outcome.VARIANT if self._known else Outcome.STORED

    def _record(self, pack: OpenPack, identity: Identity, member: Member) -> bool:
        syntax = self._arrival.transfer_syntax
        if self._description is not None and self._description.complete:
            description = self._description.of_length(member.dataset_length)
        else:
            head = os.pread(pack.descriptor, min(HEAD_CAP, member.dataset_length), member.dataset_offset)
            description = describe(head, syntax, member.dataset_length)
        admission = Admission(identity, description, syntax, pack.id, member, self._received_at, self._arrival.calling_ae)
        if pack.members == 1:
            return self._intake.catalogue.open_pack(pack.id, pack.urgency, admission)
        return self._intake.catalogue.admit(admission)
