"""The audit trail on its way to the hospital's collector: DICOM Audit Messages by syslog over TLS (RFC 5425, PS3.15 section A.6).

The trail is the spool: what the collector has not got lies there, however long it is away, and nothing is dropped.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable

import msgspec

from edge import trail
from edge.auditmessage import Source, framed, message
from edge.backoff import Backoff
from edge.clock import Clock
from edge.config import Audit, Layout
from edge.durable import disk_errors, write_whole
from edge.errors import ConfigError, OutpostError, StoreFull, Transient
from edge.failstop import FailStop
from edge.status import ago
from edge.trail import Line

log = logging.getLogger(__name__)

TOGETHER = 100
"""Lines that are sent before it is noted that they were."""
PATIENCE_SECONDS = 30.0
"""A collector that takes nothing for so long is left, and called again."""
ENDING_SECONDS = 2.0
"""The end waits so long for what is under way."""
_LOOK_SECONDS = 0.02
_AGAIN = Backoff(1.0, 300.0)
_QUIET_SECONDS = 3600.0
"""A collector that is away for longer is worth a notice."""


class CollectorGone(Transient):
    """The collector of the audit trail ended the connection, or takes nothing. What it has not got is sent when it is back."""


class _Sent(msgspec.Struct, frozen=True):
    number: int


def _trusting(settings: Audit) -> ssl.SSLContext:
    """How the collector is called. Raises ConfigError for certificates that cannot be used."""
    try:
        made = ssl.create_default_context(cafile=settings.ca_file or None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.certificate_file:
            made.load_cert_chain(settings.certificate_file, settings.key_file, password=_no_passphrase)
    except (OSError, ValueError) as fault:  # an ssl.SSLError is an OSError
        cure = "Use PEM files that edge's user can read, and a key without a passphrase."
        raise ConfigError("audit.ca_file, certificate_file or key_file", f"cannot be used ({fault})", cure) from fault
    return made


class Collector:
    """Sends in a thread of its own, from `start` to `stop`; `wake` and `notices` are for any thread. Where the settings name no collector,
    it does nothing.

    A line counts as sent when the kernel of the collector's machine has confirmed its bytes and the connection still stands: syslog has
    no other receipt. After a break what was not confirmed is sent once more, so a message can come twice.
    """

    def __init__(
        self,
        settings: Audit,
        layout: Layout,
        source: Source,
        clock: Clock,
        fail_stop: FailStop,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises ConfigError."""
        self._jitter = jitter
        self._settings = settings
        self._context = _trusting(settings) if settings.collector_host else None
        self._layout = layout
        self._source = source
        self._clock = clock
        self._fail_stop = fail_stop
        self._number = self._sent()
        self._written, self._ending = threading.Event(), threading.Event()
        self._reached_at: float | None = None
        self._fault, self._begun_at = "", clock.now()
        self._thread = threading.Thread(target=self._run, name="audit collector", daemon=True)

    def start(self) -> None:
        """Begin to send what was not sent before."""
        if self._context is not None:
            self._thread.start()

    def stop(self) -> None:
        """End, at once where the collector does not answer; what is not confirmed is sent after the next start. Idempotent."""
        self._ending.set()
        self._written.set()
        if self._thread.is_alive():
            self._thread.join(ENDING_SECONDS)

    def wake(self) -> None:
        """The trail has grown."""
        self._written.set()

    def notices(self) -> list[str]:
        """A sentence when the collector has been away for more than an hour."""
        since = self._begun_at if self._reached_at is None else self._reached_at
        if not self._fault or self._clock.now() - since < _QUIET_SECONDS:
            return []
        reached = f"was last reached {ago(self._reached_at, self._clock.now())}" if self._reached_at else "was not reached since the start"
        return [f"The collector of the audit trail {reached} ({self._fault}). The trail is kept here and sent when it is back."]

    def _run(self) -> None:
        assert self._context is not None
        failures = 0
        while not self._ending.is_set():
            try:
                with self._connected(self._context) as connection:
                    self._send_all(connection)
            except (OSError, CollectorGone) as fault:
                failures = failures + 1 if self._fault else 1
                if str(fault) != self._fault:
                    log.warning("the audit trail is not sent on now: %s", fault)
                self._fault = str(fault)
                self._ending.wait(_AGAIN.wait_seconds(failures, self._jitter()))

    def _connected(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        host, port = self._settings.collector_host, self._settings.collector_port
        plain = socket.create_connection((host, port), PATIENCE_SECONDS)
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _send_all(self, connection: ssl.SSLSocket) -> None:
        """Until the end. Raises OSError or CollectorGone when the collector has gone."""
        batch: list[Line] = []
        for line in trail.follow(self._layout.audit, self._number):
            if line is not None:
                batch.append(line)
            if batch and (line is None or len(batch) == TOGETHER):
                self._send(connection, batch)
                batch = []
            if self._ending.is_set():
                return
            if line is None:
                self._written.wait()
                self._written.clear()

    def _send(self, connection: ssl.SSLSocket, batch: list[Line]) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        for line in batch:
            connection.sendall(framed(message(line, self._source), line.at, self._source, os.getpid()))
        self._confirm(connection)
        self._reached_at, self._fault = self._clock.now(), ""
        self._note(batch[-1].number)

    def _confirm(self, connection: ssl.SSLSocket) -> None:
        """Wait until the other side's kernel has all, and see that the connection stands. No event tells of either."""
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]:
            if self._clock.monotonic() > until:
                raise CollectorGone
            time.sleep(_LOOK_SECONDS)
        connection.setblocking(False)
        try:
            ended = not connection.recv(1 << 10)
        except (ssl.SSLWantReadError, BlockingIOError):
            ended = False
        if ended:
            raise CollectorGone

    def _note(self, number: int) -> None:
        self._number = number
        try:
            with disk_errors():
                write_whole(self._layout.audit_sent, msgspec.json.encode(_Sent(number)))
        except StoreFull:
            log.info("that lines of the audit trail were sent is not noted on the full disk: they are sent again after a restart")
        except OutpostError as fault:
            self._fail_stop(fault)  # type: ignore[arg-type]

    def _sent(self) -> int:
        """The number of the last line that was sent; zero when none was, or the note of it is damaged: then all are sent again."""
        try:
            return msgspec.json.decode(self._layout.audit_sent.read_bytes(), type=_Sent).number
        except FileNotFoundError:
            return 0
        except msgspec.DecodeError:
            log.warning("which lines of the audit trail were sent cannot be read: all are sent again")
            return 0


def _no_passphrase() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase")
