"""The listener: admission before allocation, one thread for each association, and an orderly end."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import select
import selectors
import socket
import threading
from dataclasses import dataclass, field

from edge.audit import AssociationRefused, Audit
from edge.clock import Clock, SystemClock
from edge.dimse.acceptor import Acceptor
from edge.dimse.admission import Knock, Seats
from edge.dimse.association import Association
from edge.dimse.faults import AssociationEnded
from edge.dimse.negotiation import BUSY, TOO_MANY_FROM_YOU, Rejection
from edge.dimse.pdu import Deadlines, Wire, reject_pdu
from edge.dimse.ports import Commitments, Index, Intake, Peers, Retrieve
from edge.dimse.provider import Provider
from edge.dimse.requestor import Requestor
from edge.errors import OutpostError
from edge.model import AETitle

_log = logging.getLogger(__name__)
_BACKLOG = 4096
"""As much as the system allows: who does not fit into it tries again only after a second."""
_WAITING_FOR_EACH = 4
"""So many connections may wait for each association that may be open."""
_MAX_LINGERING = 64
_PAUSE_SECONDS = 0.1


@dataclass(eq=False, slots=True)
class _Guest:
    """A connection: it waits until its request is accepted, and an association has a place of its own."""

    address: str
    association: Association
    waits: bool = True
    told_to_leave: bool = False


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, under which AE titles, and how much at most."""

    host: str
    port: int
    ae_titles: frozenset[AETitle]
    max_associations: int = 64
    max_associations_per_address: int = 16
    match_limit: int = 10_000
    """C-FIND answers at most; more is refused with what was found so far."""
    deadlines: Deadlines = field(default_factory=Deadlines)


class Server:
    """Listens from `start` until `stop`. `port` is the real one where 0 was asked for."""

    def __init__(
        self,
        listening: Listening,
        intake: Intake,
        index: Index,
        retrieve: Retrieve,
        peers: Peers,
        audit: Audit,
        clock: Clock | None = None,
        commitments: Commitments | None = None,
    ) -> None:
        self._listening = listening
        self._clock = clock or SystemClock()
        requestor = Requestor(listening.deadlines, self._clock)
        self._audit = audit
        self._seats = Seats(listening.max_associations)
        self._acceptor = Acceptor(listening.ae_titles, peers, audit, self._seats)
        self._provider = Provider(intake, index, retrieve, peers, requestor, listening.match_limit, audit, commitments)
        family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
        self._listener = socket.create_server((listening.host, listening.port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._stopping = threading.Lock()
        self._open: dict[threading.Thread, _Guest] = {}
        self._thread = threading.Thread(target=self._accept, name="dimse-listener")

    @property
    def associations(self) -> int:
        """How many are open, those that have not asked yet included."""
        with self._lock:
            return len(self._open)

    def start(self) -> None:
        """Begin to accept. Connections that came since the construction are waiting."""
        self._thread.start()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept no more, abort what is idle, give the rest the grace to finish what it is doing, then cut it off. Idempotent."""
        with self._stopping:
            if self._listener.fileno() >= 0:
                self._end(grace_seconds)

    def _end(self, grace_seconds: float) -> None:
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        until = self._clock.monotonic() + grace_seconds
        for thread in self._threads():
            thread.join(max(0.0, until - self._clock.monotonic()))
        with self._lock:
            rest = dict(self._open)
        for guest in rest.values():
            guest.association.interrupt()
        for thread in rest:
            thread.join()
        os.close(self._stop)

    def _threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._open)

    def _accept(self) -> None:
        """Runs in the listener's thread. What is turned away lingers a little, so that it can read why."""
        lingering: collections.deque[tuple[float, socket.socket]] = collections.deque()
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while True:
                patience = lingering[0][0] - self._clock.monotonic() if lingering else None
                ready = {key.fd for key, _ in selector.select(patience)}
                while lingering and (lingering[0][0] <= self._clock.monotonic() or len(lingering) > _MAX_LINGERING):
                    lingering.popleft()[1].close()
                if self._stop in ready:
                    break
                if self._listener.fileno() in ready:
                    self._take(lingering)
        for _, connection in lingering:
            connection.close()

    def _take(self, lingering: collections.deque[tuple[float, socket.socket]]) -> None:
        try:
            connection, (address, *_) = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as fault:
            # Out of descriptors or memory: the connection stays in the backlog until an association ends; no spinning meanwhile.
            _log.warning("cannot accept: %s", fault)
            select.select([self._stop], [], [], _PAUSE_SECONDS)
            return
        try:
            rejection = self._admit(connection, address)
        except OSError as fault:
            _log.warning("connection from %s: %s", address, fault)
            connection.close()
            return
        if rejection is not None:
            _log.warning("rejected a connection from %s: %s", address, rejection.sentence)
            self._audit.record(AssociationRefused(address=address, reason=rejection.sentence, calling=[]))
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.send(reject_pdu(rejection.result, rejection.source, rejection.reason))
                connection.shutdown(socket.SHUT_WR)
            lingering.append((self._clock.monotonic() + self._listening.deadlines.close_seconds, connection))

    def _admit(self, connection: socket.socket, address: str) -> Rejection | None:
        """Start a thread for the connection if the caps allow it.

        Those that have not asked yet take nobody's place: where too many of them wait, the one that has waited longest has to leave.
        """
        if self._seats.full:
            return BUSY
        most_waiting = _WAITING_FOR_EACH * self._listening.max_associations
        with self._lock:
            guests = self._open.values()
            if sum(address == guest.address for guest in guests) >= self._listening.max_associations_per_address:
                return TOO_MANY_FROM_YOU
            waiting = [guest for guest in guests if guest.waits and not guest.told_to_leave]
            if len(guests) >= self._listening.max_associations + 2 * most_waiting:
                return BUSY
            wire = Wire(connection, self._listening.deadlines, self._clock)
            guest = _Guest(address, Association(wire, self._clock, (self._stop,)))
            thread = threading.Thread(target=self._serve, args=(guest,), name=f"dimse-{address}", daemon=True)
            self._open[thread] = guest
        if len(waiting) >= most_waiting:
            _log.warning("closed a connection from %s that had not asked for anything: too many wait", waiting[0].address)
            waiting[0].told_to_leave = True
            waiting[0].association.interrupt()
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._open[thread]
            return BUSY
        return None

    def _serve(self, guest: _Guest) -> None:
        association, address, caller = guest.association, guest.address, None
        try:
            caller = self._acceptor.admit(association, Knock(address), self._listening.deadlines.request_seconds)
            if caller is not None:
                guest.waits = False
                self._provider.serve(association, caller)
        except AssociationEnded as fault:
            _log.warning("association with %s: %s", association.calling_ae or address, fault)
        except OutpostError as fault:
            _log.error("association with %s was aborted: %s", association.calling_ae or address, fault)
        finally:
            association.close()
            if caller is not None:
                self._acceptor.dismiss(caller)
            with self._lock:
                del self._open[threading.current_thread()]
