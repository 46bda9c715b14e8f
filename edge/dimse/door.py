"""The listener's thread: who connects waits here without a thread of its own until it says something, or is told why it cannot stay."""

from __future__ import annotations

import collections
import contextlib
import logging
import select
import selectors
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.audit import AssociationAborted, AssociationRefused, Audit
from edge.clock import Clock
from edge.dimse.negotiation import Rejection
from edge.dimse.pdu import Deadlines, reject_pdu
from edge.dimse.tls import Certificates

_log = logging.getLogger(__name__)
_MAX_LINGERING = 64
_AT_ONCE = 64
"""Connections that are taken before anything else is looked at again."""
_PAUSE_SECONDS = 0.1
CROWDED = "it had not asked for anything, and too many wait"
LATE = "it missed a deadline"
BROKEN = "it broke the DICOM protocol"
"""Reasons for the audit trail, which counts together what has the same one."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A connection that has said nothing yet. `until` is when its request has to be whole, on the monotonic clock."""

    connection: socket.socket
    address: str
    certificates: Certificates | None
    until: float


class Door:
    """Takes connections from the listeners until `stop` can be read. All of it runs in one thread."""

    def __init__(
        self,
        listeners: Mapping[int, tuple[socket.socket, Certificates | None]],
        stop: int,
        deadlines: Deadlines,
        most: int,
        refusal: Callable[[str, int], Rejection | None],
        begin: Callable[[Visitor], Rejection | None],
        audit: Audit,
        clock: Clock,
    ) -> None:
        """`most` may wait here; one more takes the place of who has waited longest.

        `refusal` says of an address, of which so many wait here, why one more is too many; `begin` serves who has said something.
        """
        self._listeners = listeners
        self._stop = stop
        self._deadlines = deadlines
        self._most = most
        self._refusal = refusal
        self._begin = begin
        self._audit = audit
        self._clock = clock
        self._waiting: dict[int, Visitor] = {}
        """By descriptor, who came first first."""
        self._from: collections.Counter[str] = collections.Counter()
        self._lingering: collections.deque[tuple[float, socket.socket]] = collections.deque()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        for descriptor in (*self._listeners, self._stop):
            self._selector.register(descriptor, selectors.EVENT_READ)
        with self._selector:
            while True:
                ready = [key.fd for key, _ in self._selector.select(self._patience())]
                if self._stop in ready:
                    break
                self._close_late()
                for descriptor in ready:
                    if descriptor in self._listeners:
                        self._take(*self._listeners[descriptor])
                    elif descriptor in self._waiting:
                        self._hear(self._forget(descriptor))
            for connection in (*(one.connection for one in self._waiting.values()), *(one for _, one in self._lingering)):
                connection.close()

    def _patience(self) -> float | None:
        """Seconds until somebody has to go."""
        ends = [visitor.until for visitor in self._waiting.values()][:1] + [until for until, _ in self._lingering][:1]
        return max(0.0, min(ends) - self._clock.monotonic()) if ends else None

    def _close_late(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and (first := next(iter(self._waiting.values()))).until <= now:
            _log.warning("connection from %s: it asked for nothing in time", first.address)
            self._audit.record(AssociationAborted(address=first.address, reason=LATE, calling=[], detail="It asked for nothing in time."))
            self._forget(first.connection.fileno()).connection.close()
        while self._lingering and (self._lingering[0][0] <= now or len(self._lingering) > _MAX_LINGERING):
            self._lingering.popleft()[1].close()

    def _take(self, listener: socket.socket, certificates: Certificates | None) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, (address, *_) = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as fault:
                # Out of descriptors or memory: the connection stays in the backlog until one ends; no spinning meanwhile.
                _log.warning("cannot accept: %s", fault)
                poll = select.poll()
                poll.register(self._stop, select.POLLIN)
                poll.poll(_PAUSE_SECONDS * 1000)
                return
            visitor = Visitor(connection, address, certificates, self._clock.monotonic() + self._deadlines.request_seconds)
            rejection = self._refusal(address, self._from[address])
            if rejection is not None:
                self._turn_away(visitor, rejection)
                continue
            if len(self._waiting) >= self._most:
                oldest = next(iter(self._waiting.values()))
                _log.warning("closed a connection from %s that had not asked for anything: too many wait", oldest.address)
                self._audit.record(AssociationRefused(address=oldest.address, reason=CROWDED, calling=[]))
                self._forget(oldest.connection.fileno()).connection.close()
            self._waiting[connection.fileno()] = visitor
            self._from[address] += 1
            self._selector.register(connection, selectors.EVENT_READ)

    def _forget(self, descriptor: int) -> Visitor:
        visitor = self._waiting.pop(descriptor)
        self._selector.unregister(descriptor)
        self._from[visitor.address] -= 1
        if not self._from[visitor.address]:
            del self._from[visitor.address]
        return visitor

    def _hear(self, visitor: Visitor) -> None:
        try:
            rejection = self._begin(visitor)
        except OSError as fault:
            _log.warning("connection from %s: %s", visitor.address, fault)
            self._audit.record(AssociationRefused(address=visitor.address, reason=f"it cannot be served: {fault.strerror}", calling=[]))
            visitor.connection.close()
            return
        if rejection is not None:
            self._turn_away(visitor, rejection)

    def _turn_away(self, visitor: Visitor, rejection: Rejection) -> None:
        """Say why, and linger a little, so that it can be read."""
        _log.warning("rejected a connection from %s: %s", visitor.address, rejection.sentence)
        self._audit.record(AssociationRefused(address=visitor.address, reason=rejection.sentence, calling=[]))
        connection = visitor.connection
        if visitor.certificates is not None:
            connection.close()  # the reason could only be said after a handshake, which nobody waits for here
            return
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(reject_pdu(rejection.result, rejection.source, rejection.reason))
            connection.shutdown(socket.SHUT_WR)
        self._lingering.append((self._clock.monotonic() + self._deadlines.close_seconds, connection))
