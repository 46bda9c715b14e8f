"""The sending side of a C-MOVE: threads that store what a retrieval yields at the destination, while the mover is told how it goes."""

from __future__ import annotations

import collections
import logging
import os
import select
import threading
from collections.abc import Callable

from edge.dimse import status
from edge.dimse.courier import Courier, Parcel, Sender
from edge.dimse.faults import AssociationEnded, AssociationRejected, NoContext, NotSecured, PeerSilent, SourceFailed, Unreachable
from edge.dimse.ports import Lost, Ready, Retrieval
from edge.dimse.requestor import Requestor
from edge.dimse.suboperations import Tally
from edge.durable import read_errors
from edge.errors import Exhausted, OutpostError
from edge.model import AETitle, Located, Peer

_log = logging.getLogger(__name__)
_STEP_SECONDS = 0.5
_UNUSED_SECONDS = 10.0
_JOIN_SECONDS = 1.0
_MAX_BROKEN = 2
_MAX_TRIES = 2
_WORTH_ANOTHER = 8
"""Instances that make an association more worth its while."""


class Delivery:
    """Starts at construction. `done` becomes readable when the last sub-operation ended; then `close`.

    An association to the destination opens when an instance is ready, closes after 10 s without one, and opens again. Where the
    destination allows several, the others open when the first one stands. What an association that breaks did not answer is sent once more.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        destination: Peer,
        requestor: Requestor,
        calling_ae: AETitle,
        originator: tuple[AETitle, int] | None,
        priority: int | None,
        told: Callable[[Located, int], None] | None = None,
    ) -> None:
        """`originator` is who asked for a C-MOVE, and its Message ID; `told` hears the status of each sub-operation, one at a time, in a
        thread of the delivery. Raises Exhausted.
        """
        self._retrieval = retrieval
        self._clock = requestor.clock
        self._sender = Sender(requestor, destination, calling_ae, originator, priority, retrieval.syntaxes, retrieval.native)
        self._told = told
        self._tally = Tally((one.sop_instance for one in retrieval.located), retrieval.missing)
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        self._telling = threading.Lock()
        self._cancelled = threading.Event()
        self._stands = threading.Event()
        self._again: collections.deque[Parcel] = collections.deque()
        self._broken = 0
        self._closed = False
        self._fault: str | None = None
        count = max(1, min(destination.send_associations, len(retrieval.located) // _WORTH_ANOTHER))
        self._couriers = [Courier(self._sender) for _ in range(count)]
        self._working = count
        with read_errors():
            self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._threads = [
            threading.Thread(target=self._run, args=(place,), name=f"dimse-deliver-{destination.ae_title}-{place}", daemon=True)
            for place in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def tally(self) -> Tally:
        """The counts as they are now."""
        with self._lock:
            return self._tally.copy()

    @property
    def fault(self) -> str | None:
        """Why the destination could not be used, once that is known."""
        return self._fault

    def cancel(self) -> None:
        """Begin no other sub-operation."""
        self._cancelled.set()
        self._stands.set()

    def interrupt(self) -> None:
        """Break off the sub-operations that are under way; what is done already is released in order."""
        self.cancel()
        if self.tally().remaining:
            for courier in self._couriers:
                courier.interrupt()

    def is_done(self, seconds: float = 0.0) -> bool:
        """Whether the last sub-operation has ended; waits for it up to `seconds`."""
        poll = select.poll()
        poll.register(self.done, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def close(self) -> None:
        """After `cancel` or `interrupt`, or when it is done: give everything back. A thread that still tries to connect ends by itself."""
        self.cancel()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        with self._lock:
            self._closed = True
            os.close(self.done)

    # -- the threads

    def _run(self, place: int) -> None:
        courier = self._couriers[place]
        try:
            if place == 0 or self._joins(courier):
                self._deliver(courier)
        except OutpostError as fault:
            _log.warning("delivery to %s: %s", self._sender.destination.ae_title, fault)
            self._fail(courier, str(fault))
        except Exception:
            self._fail(courier, "Outpost has a fault there: its log says more. Please report it.")
            raise
        finally:
            courier.hang_up()
            self._leave()

    def _fail(self, courier: Courier, fault: str) -> None:
        for parcel in courier.drop():
            parcel.close()
        self._give_up(fault)

    def _leave(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working:
                return
            while self._again:  # somebody left just before it was put back
                parcel = self._again.popleft()
                parcel.close()
                self._tally.count(parcel.ready.located.sop_instance, status.PROCESSING_FAILURE)
            self._signal()

    def _joins(self, courier: Courier) -> bool:
        """Whether another association stands beside the first: the destination may allow fewer than its row says."""
        self._stands.wait()
        if self._cancelled.is_set() or not self._retrieval.remaining:
            return False
        try:
            courier.open(min(self._sender.syntaxes))
        except (Unreachable, AssociationRejected, NoContext, AssociationEnded, Exhausted) as fault:
            _log.info("one association fewer to %s: %s", self._sender.destination.ae_title, fault)
            return False
        return True

    def _deliver(self, courier: Courier) -> None:
        """Raises what ends it early: a destination that cannot be used, a retrieval that cannot go on."""
        used = self._clock.monotonic()
        while courier.is_waiting or not self._is_over():
            item = self._take(0.0 if courier.is_waiting else _STEP_SECONDS) if courier.has_room else None
            if isinstance(item, Lost):
                self._count(item.located, status.PROCESSING_FAILURE)
            elif item is not None or courier.is_waiting:
                if not self._attempt(courier, item):
                    return
                used = self._clock.monotonic()
            elif self._clock.monotonic() - used > _UNUSED_SECONDS:
                courier.hang_up()

    def _is_over(self) -> bool:
        return self._cancelled.is_set() or not (self._retrieval.remaining or self._again)

    def _take(self, seconds: float) -> Parcel | Lost | None:
        """What to send next; None when nothing is ready within the time, or nothing more is to be begun."""
        with self._taking:
            if self._is_over():
                return None
            item = self._retrieval.next(seconds) if self._retrieval.remaining else None
            if isinstance(item, Ready):
                try:
                    return Parcel.of(item)
                except Exhausted as fault:
                    return Lost(item.located, str(fault))
            return self._again.popleft() if item is None and self._again else item

    def _attempt(self, courier: Courier, parcel: Parcel | None) -> bool:
        """Send a parcel, or take an answer that is owed; False when this association is not to be had any more."""
        try:
            if parcel is None:
                self._settle(courier)
                return True
            located = parcel.ready.located
            pair = located.sop_class, located.transfer_syntax
            if not courier.has_context(pair):
                while courier.is_waiting:
                    self._settle(courier)
                courier.open(pair)
                self._stands.set()
            code = courier.send(parcel)
            if code is not None:
                parcel.close()
                self._count(located, code)
        except (Unreachable, AssociationRejected, NoContext, NotSecured, Exhausted) as fault:
            assert parcel is not None
            self._again.append(parcel)
            if self._working == 1:
                raise
            _log.info("one association fewer to %s: %s", self._sender.destination.ae_title, fault)
            return False
        except SourceFailed as fault:
            # Our own disk does not get better by another try; what went before on that association is no worse for it.
            assert parcel is not None
            _log.warning("delivery to %s: %s", self._sender.destination.ae_title, fault)
            self._again.extend(courier.drop())
            parcel.close()
            self._count(parcel.ready.located, status.PROCESSING_FAILURE)
        except AssociationEnded as fault:
            # What was sent last may be what the destination cannot bear.
            for one in [*courier.drop(), *([parcel] if parcel is not None else [])]:
                self._put_back(one, hopeless=isinstance(fault, PeerSilent))
            with self._lock:
                self._broken += 1
                if self._broken >= _MAX_BROKEN:
                    raise
            _log.warning("delivery to %s: %s", self._sender.destination.ae_title, fault)
        return True

    def _settle(self, courier: Courier) -> None:
        parcel, code = courier.settle()
        parcel.close()
        with self._lock:
            self._broken = 0
        self._count(parcel.ready.located, code)

    def _put_back(self, parcel: Parcel, *, hopeless: bool) -> None:
        if hopeless or parcel.tries + 1 >= _MAX_TRIES:
            parcel.close()
            self._count(parcel.ready.located, status.PROCESSING_FAILURE)
        else:
            self._again.append(parcel.again())

    def _give_up(self, fault: str) -> None:
        """Nothing more can be sent: everything that is left has failed, by name."""
        self._cancelled.set()
        self._stands.set()
        with self._taking:
            while self._again:
                self._again.popleft().close()
        with self._lock:
            self._fault = fault
            self._tally.fail_rest()
            self._signal()

    def _count(self, located: Located, code: int) -> None:
        if self._told is not None:
            with self._telling:
                self._told(located, code)
        with self._lock:
            self._tally.count(located.sop_instance, code)
            if not self._tally.remaining:
                self._signal()

    def _signal(self) -> None:
        """Under the lock."""
        if not self._closed:
            os.eventfd_write(self.done, 1)
