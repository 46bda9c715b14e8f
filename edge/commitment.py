"""Storage commitment: what we take responsibility for, item by item, and how the peer that asked is told (PS3.4 annex J)."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from edge.backoff import Backoff
from edge.clock import Clock
from edge.dimse import commitment as service
from edge.dimse import status
from edge.dimse.associate import Roles
from edge.dimse.classes import STORAGE_COMMITMENT
from edge.dimse.negotiation import propose
from edge.dimse.ports import CommitmentReport, CommitmentRequest, Reference
from edge.dimse.requestor import Requestor
from edge.errors import OutpostError, StoreFailed
from edge.model import UID, AETitle, Commitment, Peer
from edge.store.catalogue import Catalogue
from edge.store.commitments import CommitmentRows, Pending
from edge.store.site import SiteState

log = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""From the request to its first report: who releases the association at once is not told on it, who keeps it is."""
UNKNOWN_SECONDS = 600.0
"""For so long an instance that is not here may still be on its way: modalities ask before the last one is sent."""
REPORT_SECONDS = 7 * 86_400.0
"""For so long a report is tried again."""
_BACKOFF = Backoff(first_seconds=10.0, max_seconds=3600.0)
_LOOK_SECONDS = (1.0, 60.0)
_ATTENDED_SECONDS = 300.0
"""A report that was handed to an open association is looked at again after so long, should nothing be heard of it."""
_TROUBLE_SECONDS = 10.0
_AT_ONCE = 500
"""Instances that are looked up in one statement."""


@dataclass(frozen=True, slots=True)
class Known:
    """One variant of an instance, as the catalogue knows it."""

    sop_class: UID
    here: bool
    held: bool
    copied: bool
    """Every object of its pack is proven to be in the archive; the catalog need not name it yet."""
    rejected: bool = False
    """A person decided that its study is not to be used, or has to choose between it and another variant."""


def judge(sop_class: UID, known: Sequence[Known], aside: bool, peer: Peer, waited_seconds: float) -> int | None:
    """0 for an instance that is committed to, its Failure Reason (PS3.3 section C.14.1.1), or None while it is waited for.

    `aside`: something lies in quarantine under its SOP Instance UID.
    """
    of_class = [one for one in known if one.sop_class == sop_class]
    if known and not of_class:
        return status.CLASS_CONFLICT
    if (aside and not of_class) or any(one.rejected for one in of_class):
        return status.PROCESSING_FAILURE
    if not of_class or not all(one.here or one.held for one in of_class):
        return None if waited_seconds < UNKNOWN_SECONDS else status.NO_SUCH_INSTANCE
    if all(_satisfies(one, peer.commitment) for one in of_class):
        return status.SUCCESS
    if waited_seconds < peer.report_after_seconds:
        return None
    return status.SUCCESS if peer.commitment_falls_back else status.RESOURCE_LIMITATION


def _satisfies(one: Known, policy: Commitment) -> bool:
    match policy:
        case Commitment.LOCAL:
            return True
        case Commitment.TWO_COPIES:
            return one.held or (one.here and one.copied)
        case Commitment.ARCHIVED:
            return one.held


class CommitmentDesk:
    """Takes requests, decides them when it can, and reports them: on the association that asked if it is still open, else on one of ours.

    Between `start` and `stop` one thread looks at what is due, and one for each peer that is being called.
    """

    def __init__(
        self,
        site: SiteState,
        catalogue: Catalogue,
        requestor: Requestor,
        clock: Clock,
        fail_stop: Callable[[StoreFailed], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._rows = CommitmentRows(site)
        self._site = site
        self._catalogue = catalogue
        self._requestor = requestor
        self._clock = clock
        self._fail_stop = fail_stop
        self._jitter = jitter
        self._changed = threading.Condition()
        self._open: dict[int, _Attendance] = {}
        """The association that asked, by number of the request, while it is open."""
        self._present: defaultdict[AETitle, list[_Attendance]] = defaultdict(list)
        self._busy: set[AETitle] = set()
        """Peers that are being called."""
        self._stopping = False
        self._looked = 0
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more. What is being told to a peer is told again after the next start, unless it ends meanwhile."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    # What the service needs

    def attend(self, calling_ae: AETitle) -> _Attendance:
        attendance = _Attendance(self, calling_ae)
        with self._changed:
            self._present[calling_ae].append(attendance)
        if self._rows.hurry(calling_ae, self._clock.now() + SETTLE_SECONDS):
            self._look()
        return attendance

    def request(self, request: CommitmentRequest, attendance: object) -> None:
        now = self._clock.now()
        wanted = [(one.sop_class, one.sop_instance) for one in request.references]
        with self._guarded():
            commitment = self._rows.ask(
                request.transaction,
                request.calling_ae,
                request.called_ae,
                wanted,
                now,
                now + SETTLE_SECONDS,
                status.DUPLICATE_TRANSACTION,
            )
        if isinstance(attendance, _Attendance):
            with self._changed:
                self._open[commitment] = attendance
        self._look()

    def heard(self, calling_ae: AETitle, report: CommitmentReport) -> bool:
        failed = [(one.sop_class, one.sop_instance, reason) for one, reason in report.failed]
        with self._guarded():
            known = self._rows.answer(report.transaction, calling_ae, failed, self._clock.now())
        with self._changed:
            self._changed.notify_all()
        return known

    # What we ask of others

    def seek(self, transaction: UID, peer: AETitle, instances: int) -> None:
        """A request of ours is about to leave; its answer counts from now on."""
        self._rows.seek(transaction, peer, instances, self._clock.now())

    def answered(self, transaction: UID, seconds: float) -> list[tuple[UID, UID, int]] | None:
        """What failed of a request of ours; None when no answer came within the time."""
        until = self._clock.monotonic() + seconds
        with self._changed:
            while (failed := self._rows.answered(transaction)) is None and (left := until - self._clock.monotonic()) > 0:
                self._changed.wait(left)
        return failed

    # What a person should know

    def notices(self) -> list[str]:
        """A sentence for each peer that could not be told."""
        said = []
        for figures in self._rows.figures():
            if figures.given_up:
                said.append(f"{figures.given_up} storage commitment reports could not be given to {figures.peer} within 7 days.")
            if figures.unreported:
                said.append(f"{figures.unreported} storage commitment reports wait for {figures.peer}, which does not take them.")
        return said

    # How it goes on

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A disk that failed stops Outpost."""
        try:
            yield
        except StoreFailed as fault:
            self._fail_stop(fault)
            raise

    def _look(self) -> None:
        with self._changed:
            self._looked += 1
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                looked = self._looked
            try:
                pause = self.step()
            except StoreFailed as fault:
                self._fail_stop(fault)
                return
            except OutpostError as fault:
                log.warning("storage commitment: %s", fault)
                pause = _TROUBLE_SECONDS
            with self._changed:
                if self._looked == looked and not self._stopping:
                    self._changed.wait(pause)

    def step(self) -> float | None:
        """Look at what is due; how long nothing more will be, None for as long as nobody asks."""
        with self._changed:
            busy = set(self._busy)
        for pending in self._rows.due(self._clock.now(), busy):
            if pending.failed is None:
                self._decide(pending)
            else:
                self._tell(pending, busy)
        next_at = self._rows.next_at(busy)
        return None if next_at is None else max(0.0, next_at - self._clock.now())

    def _decide(self, pending: Pending) -> None:
        now = self._clock.now()
        # While it is not known what the archive has, nothing is unknown for good.
        waited = now - pending.asked_at if self._catalogue.figure("restating") is None else 0.0
        # A peer that was removed meanwhile is owed the decision that the default makes.
        peer = self._site.peer(pending.peer) or Peer(pending.peer)
        failed = []
        for begin in range(0, len(pending.wanted), _AT_ONCE):
            pairs = pending.wanted[begin : begin + _AT_ONCE]
            known, aside = self._known([uid for _, uid in pairs])
            for sop_class, uid in pairs:
                verdict = judge(sop_class, known[uid], uid in aside, peer, waited)
                if verdict is None:
                    least, most = _LOOK_SECONDS
                    self._rows.postpone(pending.commitment, now + min(most, max(least, waited / 10)))
                    return
                if verdict != status.SUCCESS:
                    failed.append((sop_class, uid, verdict))
        self._rows.decide(pending.commitment, failed, now)

    def _known(self, uids: list[UID]) -> tuple[defaultdict[UID, list[Known]], set[UID]]:
        """What the catalogue knows of these instances, and which of them are set aside."""
        known: defaultdict[UID, list[Known]] = defaultdict(list)
        wanted = json.dumps(uids)
        for uid, sop_class, here, held, copied, rejected in self._catalogue.rows("committable", uids=wanted):
            known[uid].append(Known(sop_class, bool(here), bool(held), bool(copied), bool(rejected)))
        return known, {uid for (uid,) in self._catalogue.rows("set_aside", uids=wanted)}

    def _tell(self, pending: Pending, busy: set[AETitle]) -> None:
        """Hand the report to an open association, or call the peer."""
        peer = self._site.destination(pending.peer)
        with self._changed:
            attendance = self._open.get(pending.commitment)
            if attendance is None and peer is None and self._present[pending.peer]:
                attendance = self._present[pending.peer][-1]
        if attendance is not None:
            self._rows.postpone(pending.commitment, self._clock.now() + _ATTENDED_SECONDS)
            if not attendance.offer(pending):
                self._rows.postpone(pending.commitment, self._clock.now())
        elif peer is None:
            self._missed(pending, "It is no peer with a host that could be called, and keeps no association open.")
        elif pending.peer not in busy:
            with self._changed:
                self._busy.add(pending.peer)
            busy.add(pending.peer)
            threading.Thread(target=self._call, args=(pending, peer), name=f"commitment-{peer.ae_title}", daemon=True).start()

    def _call(self, pending: Pending, peer: Peer) -> None:
        """Report on an association of our own, with the roles turned round (PS3.4 section J.3.3)."""
        roles = {STORAGE_COMMITMENT: Roles(scu=False, scp=True)}
        try:
            code, fault = None, ""
            try:
                with self._requestor.association(peer, pending.called, propose(service.CONTEXTS), roles) as association:
                    code = service.give(association, report_of(pending))
            except OutpostError as why:
                fault = str(why)
            # Whatever is not recorded, because Outpost ends or its disk fails, is told again.
            with self._changed, suppress(OutpostError):
                if self._stopping:
                    return
                if code is not None:
                    self.settle(pending, code)
                else:
                    with self._guarded():
                        self._missed(pending, fault)
        finally:
            with self._changed:
                self._busy.discard(peer.ae_title)
            self._look()

    def settle(self, pending: Pending, code: int) -> None:
        """What a peer answered to a report."""
        with self._guarded():
            if code == status.SUCCESS or status.is_warning(code):
                self._rows.end(pending.commitment, self._clock.now(), delivered=True)
            else:
                self._missed(pending, f"It answered with status {code:04X}.")

    def _missed(self, pending: Pending, fault: str) -> None:
        now = self._clock.now()
        log.warning("storage commitment report to %s: %s", pending.peer, fault)
        self._rows.report_failed(pending.commitment, fault, now + _BACKOFF.wait_seconds(pending.attempts + 1, self._jitter()))
        if now - (pending.decided_at or now) > REPORT_SECONDS:
            self._rows.end(pending.commitment, now, delivered=False)

    def left(self, attendance: _Attendance, unsettled: list[Pending]) -> None:
        """An association ended: what it was to be told is told otherwise, at once."""
        with self._changed:
            self._present[attendance.calling_ae].remove(attendance)
            if not self._present[attendance.calling_ae]:
                del self._present[attendance.calling_ae]
            for commitment in [number for number, other in self._open.items() if other is attendance]:
                del self._open[commitment]
        with suppress(OutpostError):  # then it is looked at a little later
            for pending in unsettled:
                self._rows.postpone(pending.commitment, self._clock.now())
        self._look()


class _Attendance:
    """An open association of a peer, and what it is to be told."""

    def __init__(self, desk: CommitmentDesk, calling_ae: AETitle) -> None:
        self.calling_ae = calling_ae
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self._desk = desk
        self._offered: deque[Pending] = deque()
        self._given: Pending | None = None
        self._closed = False
        self._lock = threading.Lock()

    def offer(self, pending: Pending) -> bool:
        """From the thread of the desk. False when the association has ended."""
        with self._lock:
            if not self._closed and all(other.commitment != pending.commitment for other in self._offered):
                self._offered.append(pending)
                os.eventfd_write(self.descriptor, 1)
            return not self._closed

    def take(self) -> CommitmentReport | None:
        with suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)
        with self._lock:
            self._given = self._offered.popleft() if self._offered else None
            return None if self._given is None else report_of(self._given)

    def settle(self, report: CommitmentReport, status: int) -> None:
        given, self._given = self._given, None
        if given is not None:
            self._desk.settle(given, status)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            unsettled = [*self._offered, *([self._given] if self._given else [])]
            self._offered.clear()
            os.close(self.descriptor)
        self._desk.left(self, unsettled)


def report_of(pending: Pending) -> CommitmentReport:
    """What a decided request is answered with."""
    failed = pending.failed or ()
    bad = {(sop_class, uid) for sop_class, uid, _ in failed}
    return CommitmentReport(
        transaction=pending.transaction,
        committed=tuple(Reference(*pair) for pair in pending.wanted if pair not in bad),
        failed=tuple((Reference(sop_class, uid), reason) for sop_class, uid, reason in failed),
        retrieve_ae=pending.called,
    )
