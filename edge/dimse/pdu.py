"""PDUs over a transport connection (PS3.8 section 9.3): read into one reusable buffer, written gathered, both under deadlines."""

from __future__ import annotations

import contextlib
import enum
import mmap
import select
import socket
import ssl
import struct
from dataclasses import dataclass

from edge.clock import Clock
from edge.dimse.faults import InvalidPdu, NotSecured, PeerGone, PeerSilent
from edge.dimse.tls import sentence, subject
from edge.durable import read_errors
from edge.transport import cut

HEADER = struct.Struct(">BxL")
PDV = struct.Struct(">LBB")
COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 annex E.2)."""

MAX_ASSOCIATE_BYTES = 256 << 10
_SMALLEST_BUFFER = 16 << 10
_RECEIVE_BUFFER = 512 << 10
_TIMEVAL = struct.Struct("@ll")


class Kind(enum.IntEnum):
    """PDU types."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


RELEASE_RQ = b"\x05\0\0\0\0\4\0\0\0\0"
RELEASE_RP = b"\x06\0\0\0\0\4\0\0\0\0"


def abort_pdu(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 table 9-26): source 0 is the service user, 2 the provider."""
    return bytes((Kind.ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason))


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21): result 1 is permanent, 2 transient."""
    return bytes((Kind.ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, result, source, reason))


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a peer may take; all in seconds, but the last."""

    request_seconds: float = 10.0
    """From the transport connection to a whole A-ASSOCIATE-RQ; also for connecting, and for the answer to our own request for an
    association or its release.
    """
    pdu_seconds: float = 30.0
    """Between bytes inside a message, for a whole command set, and for the peer to take what is sent."""
    idle_seconds: float = 60.0
    """Between messages, while no operation is pending."""
    answer_seconds: float = 120.0
    """For the answer to a request of ours: the peer may have to flush a large instance to a slow disk first."""
    close_seconds: float = 2.0
    """For the peer to close, after the last PDU (ARTIM, PS3.8 section 9.1.5), whatever it still sends."""
    bytes_per_second: int = 1024
    """The least rate inside a message, after `pdu_seconds`."""


class Wait(enum.Enum):
    """Why `Wire.wait` returned."""

    BYTES = "bytes, or the end of the connection, are there to be read"
    WOKEN = "one of the wakers can be read"
    NOTHING = "time is up"


class Wire:
    """One transport connection, plain or TLS. Used by one thread; only `interrupt` may come from another.

    Raises PeerGone and PeerSilent; whoever gets one of them must not use the wire for anything but `close`.
    """

    def __init__(self, connection: socket.socket, deadlines: Deadlines, clock: Clock) -> None:
        self.deadlines = deadlines
        self._socket = connection
        self._clock = clock
        self._interrupted = False
        self._view = memoryview(bytearray(_SMALLEST_BUFFER))
        self._start = self._end = 0
        self._max_data_bytes = 0
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._limit()

    def secure(self, context: ssl.SSLContext, within_seconds: float, host: str | None = None) -> str:
        """Go on with TLS, as the one who was called, or as the one who calls `host`; the subject of the peer's certificate.

        Nothing was read or sent yet. Raises NotSecured too.
        """
        try:
            # Two steps, so that whoever interrupts meets the one socket or the other.
            self._socket = context.wrap_socket(self._socket, server_side=host is None, do_handshake_on_connect=False, server_hostname=host)
            if self._interrupted:
                raise PeerGone
            self._socket.settimeout(max(0.001, within_seconds))
            self._socket.do_handshake()
        except TimeoutError:
            raise PeerSilent("The peer did not finish the TLS handshake in time. Look at the peer and the network.") from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as fault:
            raise PeerGone from fault
        except ssl.SSLError as fault:
            raise NotSecured(f"TLS could not be agreed on with the peer: {sentence(fault)}.") from fault
        except OSError as fault:
            raise PeerGone from fault
        self._limit()
        return subject(self._socket)

    def open(self, max_data_bytes: int) -> None:
        """From now on take P-DATA of at most this length: the association is accepted, so it gets its buffer. Raises Exhausted."""
        self._max_data_bytes = max_data_bytes
        self._limit()
        size = max(_RECEIVE_BUFFER, 2 * (max_data_bytes + HEADER.size))
        held = bytes(self._view[self._start : self._end])
        # A mapping goes back to the system with its last view; the allocator's arenas might keep it.
        with read_errors():
            self._replace(mmap.mmap(-1, size), held)

    def wait(self, seconds: float, *wakers: int) -> Wait:
        """Wait for the peer's next byte, or for one of the descriptors to become readable, which counts first."""
        buffered = self._end > self._start
        if buffered and not wakers:
            return Wait.BYTES
        found = self._poll(0 if buffered else seconds, *wakers)
        return Wait.BYTES if buffered and found is Wait.NOTHING else found

    def receive(self, within_seconds: float | None = None) -> tuple[Kind, memoryview]:
        """The next PDU and its body, which is valid until the next call.

        `within_seconds` bounds the whole PDU; without it `pdu_seconds` bounds each silence and the least rate the rest.
        The length is judged before the body is read. Raises InvalidPdu too.
        """
        deadline = None if within_seconds is None else self._clock.monotonic() + within_seconds
        self._fill(HEADER.size, deadline)
        number, length = HEADER.unpack_from(self._view, self._start)
        try:
            kind = Kind(number)
        except ValueError:
            raise InvalidPdu(InvalidPdu.UNRECOGNIZED, f"PDU type {number}") from None
        if kind is Kind.P_DATA:
            sound = 0 < length <= self._max_data_bytes
            if not self._max_data_bytes:
                raise InvalidPdu(InvalidPdu.UNEXPECTED, "P-DATA before an association")
        elif kind in {Kind.ASSOCIATE_RQ, Kind.ASSOCIATE_AC}:
            sound = 68 <= length <= MAX_ASSOCIATE_BYTES
        else:
            sound = length == 4
        if not sound:
            raise InvalidPdu(InvalidPdu.INVALID_PARAMETER, f"a {kind.name} PDU of {length} bytes")
        self._fill(HEADER.size + length, deadline)
        begin = self._start + HEADER.size
        self._start = begin + length
        return kind, self._view[begin : self._start]

    def discard(self) -> None:
        """Read and forget until the peer closes, at most `close_seconds`: closing over unread bytes would destroy what was sent last."""
        until = self._clock.monotonic() + self.deadlines.close_seconds
        while (rest := until - self._clock.monotonic()) > 0:
            self._start = self._end = 0
            if self.wait(rest) is not Wait.BYTES:
                break
            self._read()
        raise PeerSilent

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send all the pieces, gathered in one call where the transport can. The peer has to take them at the least rate."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._send_rest((b"".join(pieces),), 0)
                return
            sent = self._socket.sendmsg(pieces)
            if sent < sum(map(len, pieces)):
                self._send_rest(pieces, sent)
        except (BlockingIOError, TimeoutError):
            raise PeerSilent from None
        except OSError as fault:
            raise PeerGone from fault

    def interrupt(self) -> None:
        """From another thread: end every wait on this wire now, with PeerGone. Idempotent."""
        self._interrupted = True
        cut(self._socket)

    def part(self, last: bytes) -> None:
        """Say the last thing, if the peer takes it at once, and that nothing follows. It may be gone or deaf: that is no fault any more."""
        with contextlib.suppress(OSError):
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.settimeout(0.1)
                self._socket.sendall(last)
                self._take_leave()
            else:
                self._socket.send(last, socket.MSG_DONTWAIT)
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give back connection and buffer. Idempotent."""
        self._take_leave()
        self._socket.close()
        self._replace(bytearray(), b"")

    def _fill(self, need: int, deadline: float | None) -> None:
        """Have `need` bytes from `_start` on."""
        if self._end - self._start >= need:
            return
        if self._start == self._end:
            self._start = self._end = 0
        began = 0.0
        while True:
            self._make_room(need)
            if deadline is not None:
                rest = deadline - self._clock.monotonic()
                if self._poll(rest) is Wait.NOTHING:
                    raise PeerSilent
                self._limit(rest)
            self._read()
            if self._end - self._start >= need:
                return
            now = self._clock.monotonic()
            began = began or now
            if now > began + self.deadlines.pdu_seconds + need / self.deadlines.bytes_per_second:
                raise PeerSilent("The peer sends more slowly than it may. Look at the network between.")

    def _limit(self, seconds: float | None = None) -> None:
        """How long the next read or write may wait: `pdu_seconds`, or less where TLS may have only a piece of a record."""
        limit = self.deadlines.pdu_seconds
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(limit if seconds is None else max(0.001, min(seconds, limit)))
        elif seconds is None:
            # The kernel's own timers: a Python time-out would cost a poll before each read.
            self._socket.settimeout(None)
            timer = _TIMEVAL.pack(int(limit), int(limit % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timer)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timer)

    def _take_leave(self) -> None:
        """Under TLS say that nothing follows, so that it is no truncation; the peer's answer to that is not waited for."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.fileno() >= 0:
            with contextlib.suppress(OSError, ValueError):
                self._socket.settimeout(0)
                self._socket.unwrap()

    def _poll(self, seconds: float, *wakers: int) -> Wait:
        """As `wait`, for bytes beyond those that are buffered here."""
        decrypted = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        for waker in wakers:
            poll.register(waker, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(0 if decrypted else max(0, seconds) * 1000)}
        if not ready.isdisjoint(wakers):
            return Wait.WOKEN
        return Wait.BYTES if ready or decrypted else Wait.NOTHING

    def _make_room(self, need: int) -> None:
        """Make space behind `_end`. Before acceptance the buffer grows only as bytes really arrive."""
        if self._start + need > len(self._view) and self._start:
            held = self._end - self._start
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held
        if self._end == len(self._view):
            self._replace(bytearray(min(need, 2 * len(self._view))), bytes(self._view[self._start : self._end]))

    def _read(self) -> None:
        try:
            count = self._socket.recv_into(self._view[self._end :])
            if not count:
                raise PeerGone
            self._end += count
            # Acknowledge now: a peer with Nagle's algorithm on holds the end of its message back until it is acknowledged.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (BlockingIOError, TimeoutError):
            raise PeerSilent from None
        except OSError as fault:
            raise PeerGone from fault

    def _send_rest(self, pieces: tuple[bytes | memoryview, ...], sent: int) -> None:
        """A slow peer took only some: go on as long as it takes the rest at the least rate."""
        began, taken = self._clock.monotonic(), 0
        for piece in pieces:
            rest = memoryview(piece)[sent:] if sent < len(piece) else None
            sent = max(0, sent - len(piece))
            while rest:
                count = self._socket.send(rest)
                rest, taken = rest[count:], taken + count
                if self._clock.monotonic() > began + self.deadlines.pdu_seconds + taken / self.deadlines.bytes_per_second:
                    raise PeerSilent("The peer takes data more slowly than it may. Look at the network between.")

    def _replace(self, room: bytearray | mmap.mmap, held: bytes) -> None:
        self._view = memoryview(room)
        self._view[: len(held)] = held
        self._start, self._end = 0, len(held)
