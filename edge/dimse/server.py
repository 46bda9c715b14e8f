"""The listener: admission before allocation, one thread for each association, and an orderly end."""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import dataclass, field

from edge.audit import AssociationAborted, AssociationRefused, Audit
from edge.dimse.acceptor import Acceptor
from edge.dimse.admission import Knock, Seats
from edge.dimse.association import Association
from edge.dimse.door import BROKEN, CROWDED, LATE, Door, Visitor
from edge.dimse.faults import AssociationEnded, NotSecured, PeerSilent, ProtocolBroken
from edge.dimse.negotiation import BUSY, TOO_MANY_FROM_YOU, Rejection
from edge.dimse.pdu import Deadlines, Wire
from edge.dimse.ports import Commitments, Index, Intake, Peers, Retrieve
from edge.dimse.provider import Provider
from edge.dimse.requestor import Requestor
from edge.dimse.tls import Certificates
from edge.errors import OutpostError, Permanent
from edge.model import AETitle

_log = logging.getLogger(__name__)
_BACKLOG = 4096
"""As much as the system allows: who does not fit into it tries again only after a second."""
_WAITING_FOR_EACH = 4
"""So many connections may say nothing, and as many may not have asked yet, for each association that may be open."""


class CannotListen(Permanent):
    """A port cannot be listened on. The message says which, and why."""

    def __init__(self, port: int, why: str) -> None:
        super().__init__(f"Port {port} cannot be used ({why}).")
        self.port = port
        self.why = why


@dataclass(eq=False, slots=True)
class _Guest:
    """Who has said something: it waits until its request is accepted, and an association has a place of its own."""

    address: str
    association: Association
    certificates: Certificates | None
    """It has to agree on TLS with one of these first; None on the plain port."""
    until: float
    """When its request has to be whole, on the monotonic clock."""
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
    tls_port: int = 0
    """Where to listen with TLS too, if there are certificates; 0 lets the system choose."""


class Server:
    """Listens from `start` until `stop`, with certificates on two ports. `port` and `tls_port` are the real ones where 0 was asked for."""

    def __init__(
        self,
        listening: Listening,
        intake: Intake,
        index: Index,
        retrieve: Retrieve,
        peers: Peers,
        audit: Audit,
        requestor: Requestor,
        certificates: Certificates | None = None,
        commitments: Commitments | None = None,
    ) -> None:
        """`requestor` calls the destinations of C-MOVE; `certificates` are for those who call us. Raises CannotListen."""
        self._listening = listening
        self._clock = requestor.clock
        self._audit = audit
        self._seats = Seats(listening.max_associations)
        self._acceptor = Acceptor(listening.ae_titles, peers, audit, self._seats)
        self._provider = Provider(intake, index, retrieve, peers, requestor, listening.match_limit, audit, commitments)
        self._listeners: dict[int, tuple[socket.socket, Certificates | None]] = {}
        self.port = self._listen(listening.port, None)
        self.tls_port = self._listen(listening.tls_port, certificates) if certificates is not None else None
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._stopping = threading.Lock()
        self._open: dict[threading.Thread, _Guest] = {}
        self._most_waiting = _WAITING_FOR_EACH * listening.max_associations
        door = Door(self._listeners, self._stop, listening.deadlines, self._most_waiting, self._refusal, self._begin, audit, self._clock)
        self._thread = threading.Thread(target=door.run, name="dimse-listener")

    @property
    def associations(self) -> int:
        """How many are open, those included that have said something and not asked yet."""
        with self._lock:
            return len(self._open)

    def _listen(self, port: int, certificates: Certificates | None) -> int:
        host = self._listening.host
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG)
        except OSError as fault:
            for other, _ in self._listeners.values():
                other.close()
            raise CannotListen(port, fault.strerror or "unknown error") from fault
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener, certificates
        found: int = listener.getsockname()[1]
        return found

    def start(self) -> None:
        """Begin to accept. Connections that came since the construction are waiting."""
        self._thread.start()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept no more, abort what is idle, give the rest the grace to finish what it is doing, then cut it off. Idempotent."""
        with self._stopping:
            if self._listeners:
                self._end(grace_seconds)

    def _end(self, grace_seconds: float) -> None:
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        for listener, _ in self._listeners.values():
            listener.close()
        self._listeners.clear()
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

    def _refusal(self, address: str, waiting: int) -> Rejection | None:
        """Why one more from there is too many, of which so many have said nothing yet."""
        if self._seats.full:
            return BUSY
        with self._lock:
            here = sum(address == guest.address for guest in self._open.values())
        return TOO_MANY_FROM_YOU if here + waiting >= self._listening.max_associations_per_address else None

    def _begin(self, visitor: Visitor) -> Rejection | None:
        """Start a thread for who has said something.

        Those that have not asked yet take nobody's place: where too many of them talk, the one that has talked longest has to leave.
        """
        with self._lock:
            guests = self._open.values()
            waiting = [guest for guest in guests if guest.waits and not guest.told_to_leave]
            if len(guests) >= self._listening.max_associations + 2 * self._most_waiting:
                return BUSY
            wire = Wire(visitor.connection, self._listening.deadlines, self._clock)
            guest = _Guest(visitor.address, Association(wire, self._clock, (self._stop,)), visitor.certificates, visitor.until)
            thread = threading.Thread(target=self._serve, args=(guest,), name=f"dimse-{visitor.address}", daemon=True)
            self._open[thread] = guest
        if len(waiting) >= self._most_waiting:
            _log.warning("closed a connection from %s that had not asked for anything: too many wait", waiting[0].address)
            self._audit.record(AssociationRefused(address=waiting[0].address, reason=CROWDED, calling=[]))
            waiting[0].told_to_leave = True
            waiting[0].association.interrupt()
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._open[thread]
            return BUSY
        return None

    def _secure(self, guest: _Guest) -> str | None:
        """The subject of the guest's certificate, after the handshake that its port asks for; None on the plain port."""
        if guest.certificates is None:
            return None
        try:
            return guest.association.secure(guest.certificates.server(), guest.until - self._clock.monotonic())
        except NotSecured as fault:
            self._audit.record(AssociationRefused(address=guest.address, reason=str(fault), calling=[]))
            raise

    def _record_abort(self, guest: _Guest, fault: AssociationEnded) -> None:
        """Of an association that we ended; one that the peer ended refuses it nothing."""
        if isinstance(fault, ProtocolBroken | PeerSilent):
            calling, called = guest.association.calling_ae, guest.association.called_ae
            reason = LATE if isinstance(fault, PeerSilent) else BROKEN
            names: list[str] = [calling] if calling else []
            self._audit.record(AssociationAborted(address=guest.address, reason=reason, calling=names, called=called, detail=str(fault)))

    def _serve(self, guest: _Guest) -> None:
        association, address, caller = guest.association, guest.address, None
        try:
            knock = Knock(address, self._secure(guest))
            caller = self._acceptor.admit(association, knock, guest.until - self._clock.monotonic())
            if caller is not None:
                guest.waits = False
                self._provider.serve(association, caller)
        except AssociationEnded as fault:
            _log.warning("association with %s: %s", association.calling_ae or address, fault)
            self._record_abort(guest, fault)
        except OutpostError as fault:
            _log.error("association with %s was aborted: %s", association.calling_ae or address, fault)
        finally:
            association.close()
            if caller is not None:
                self._acceptor.dismiss(caller)
            with self._lock:
                del self._open[threading.current_thread()]
