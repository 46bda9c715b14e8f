"""Going to a host step by step, without a credential: name, connection, proxy, TLS, and the time that it has."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cryptography import x509

from cloudsync.link.farclock import stamp_of
from cloudsync.link.unreached import EXPIRED, NOT_YET
from edge.clock import Clock

SECONDS = 20.0
"""For each step."""


@dataclass(frozen=True, slots=True)
class Met:
    """What was met on the way to a host, as far as it went."""

    host: str
    port: int
    tls: bool
    proxy: str = ""
    """host:port of the proxy between; empty for none."""
    step: str = "name"
    """The step that failed: name, connect, proxy, tls, http; empty when it went all the way."""
    said: str = ""
    """Why, in the operating system's or OpenSSL's words."""
    verify_code: int = 0
    """Why the certificate was refused: OpenSSL's number; 0 where it was not."""
    connect_ms: float | None = None
    protocol: str = ""
    begins_at: float | None = None
    ends_at: float | None = None
    """Of the certificate, in seconds since the epoch; of one that was refused too, where its dates were the reason."""
    date: float | None = None
    """The other side's clock, from the header Date, to the second."""
    asked_at: float = 0.0
    """Our own clock then."""

    @property
    def clock_to_blame(self) -> bool:
        """Whether the certificate is valid at the time that the other side has."""
        begins, ends, there = self.begins_at, self.ends_at, self.date
        return begins is not None and ends is not None and there is not None and begins <= there <= ends


def meet(host: str, port: int, tls: bool, clock: Clock, trust: ssl.SSLContext | None = None) -> Met:
    """Go to a host, over the proxy that HTTPS_PROXY and NO_PROXY name, and ask it for nothing. Sends no credential. Blocking.

    `trust` are the authorities; those of the system unless given.
    """
    met = Met(host, port, tls, proxy_for(host, tls))
    context = trust or ssl.create_default_context()
    met = _attempt(met, context, clock)
    if met.verify_code in {EXPIRED, NOT_YET}:
        # Its dates, and the clock of the other side, tell whether the certificate or our own clock is wrong. Nothing is trusted for it.
        careless = ssl.create_default_context()
        careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
        seen = _attempt(met, careless, clock)
        met = replace(met, begins_at=seen.begins_at, ends_at=seen.ends_at, date=seen.date, asked_at=seen.asked_at)
    return met


def _attempt(met: Met, context: ssl.SSLContext, clock: Clock) -> Met:
    """One try; `step` of what it returns is the one that failed."""
    first = urlsplit(f"//{met.proxy}") if met.proxy else None
    host, port = (first.hostname or "", first.port or 3128) if first else (met.host, met.port)
    step = "name"
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        step, began = "connect", clock.monotonic()
        with socket.create_connection((host, port), timeout=SECONDS) as plain:
            met = replace(met, connect_ms=(clock.monotonic() - began) * 1000)
            if met.proxy:
                step = "proxy"
                _tunnel(plain, met)
            step = "tls"
            line: socket.socket = context.wrap_socket(plain, server_hostname=met.host) if met.tls else plain
            with line:
                if isinstance(line, ssl.SSLSocket):
                    met = _certified(met, line)
                step = "http"
                return replace(met, step="", date=_date(line, met.host), asked_at=clock.now())
    except ssl.SSLCertVerificationError as fault:
        return replace(met, step=step, said=fault.verify_message, verify_code=fault.verify_code)
    except (OSError, http.client.HTTPException) as fault:
        reason = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
        return replace(met, step=step, said=str(reason).lower().replace("_", " ") if isinstance(fault, ssl.SSLError) else str(reason))


def _tunnel(plain: socket.socket, met: Met) -> None:
    place = f"{met.host}:{met.port}"
    plain.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(plain, method="CONNECT")
    answer.begin()
    if answer.status != 200:
        raise OSError(f"HTTP {answer.status}")


def _certified(met: Met, line: ssl.SSLSocket) -> Met:
    encoded = line.getpeercert(binary_form=True)
    met = replace(met, protocol=line.version() or "")
    if encoded is None:
        return met
    try:
        found = x509.load_der_x509_certificate(encoded)
        return replace(met, begins_at=found.not_valid_before_utc.timestamp(), ends_at=found.not_valid_after_utc.timestamp())
    except (ValueError, x509.InvalidVersion):  # OpenSSL takes certificates that are not quite as they should be
        return met


def _date(line: socket.socket, host: str) -> float | None:
    line.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    with contextlib.closing(http.client.HTTPResponse(line, method="HEAD")) as answer:
        answer.begin()
        return stamp_of(answer.headers.get("Date", ""))


def proxy_for(host: str, tls: bool) -> str:
    """host:port of the proxy that the environment names on the way to a host; empty for none."""
    found = getproxies().get("https" if tls else "http", "")
    return "" if not found or proxy_bypass(host) else urlsplit(found).netloc.rpartition("@")[2]
