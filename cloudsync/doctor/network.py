"""The way to the archive, step by step: name, connection, TLS and certificate, and the clock on the other side."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cryptography import x509

from edge.clock import Clock, utc
from edge.finding import Finding, Level

SECONDS = 20.0
"""For each step."""
CERTIFICATE_DAYS = 14.0
CLOCK_WARN_SECONDS, CLOCK_FAULT_SECONDS = 60.0, 900.0
"""Azure takes a request whose time is 15 minutes off for a forgery."""
_DAY = 86_400.0
_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, {62, 64}
"""X509_V_ERR_* of OpenSSL."""


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


def meet(host: str, port: int, tls: bool, clock: Clock, trust: ssl.SSLContext | None = None) -> Met:
    """Go to a host, over the proxy that HTTPS_PROXY and NO_PROXY name, and ask it for nothing. Sends no credential. Blocking.

    `trust` are the authorities; those of the system unless given.
    """
    met = Met(host, port, tls, proxy_for(host, tls))
    context = trust or ssl.create_default_context()
    met = _attempt(met, context, clock)
    if met.verify_code in {_EXPIRED, _NOT_YET}:
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
    found = x509.load_der_x509_certificate(encoded)
    return replace(met, begins_at=found.not_valid_before_utc.timestamp(), ends_at=found.not_valid_after_utc.timestamp())


def _date(line: socket.socket, host: str) -> float | None:
    line.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    with contextlib.closing(http.client.HTTPResponse(line, method="HEAD")) as answer:
        answer.begin()
        try:
            return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        except ValueError:
            return None


def proxy_for(host: str, tls: bool) -> str:
    """host:port of the proxy that the environment names on the way to a host; empty for none."""
    found = getproxies().get("https" if tls else "http", "")
    return "" if not found or proxy_bypass(host) else urlsplit(found).netloc.rpartition("@")[2]


def look(met: Met) -> Iterator[Finding]:
    """What follows from it, step by step; steps after the one that failed are not spoken of."""
    through = f" through the proxy {met.proxy}" if met.proxy else ""
    asked = met.proxy.partition(":")[0] if met.proxy else met.host
    if met.step == "name":
        cure = "Look whether the box has a name server (`resolvectl status`) and the link is up; compare the name with the portal."
        yield Finding("network.name", "fault", f"The name {asked} is not found ({met.said}).", cure)
        return
    yield Finding("network.name", "good", f"The name {asked} is found.")
    if met.step in {"connect", "proxy"}:
        cure = (
            "Look at cable and modem; the firewall has to let out what `outpost doctor --firewall` lists."
            if met.step == "connect"
            else "Look at HTTPS_PROXY of cloudsync.service, and at the proxy: it has to let CONNECT through to that host."
        )
        yield Finding("network.connect", "fault", f"{met.host} port {met.port} cannot be reached{through} ({met.said}).", cure)
        return
    yield _connected(met, through)
    if met.tls:
        yield from _tls(met)
    if met.step == "http":
        cure = "Sign in at the hotspot, or look at the proxy: something between does not pass on what the archive says."
        yield Finding("network.http", "fault", f"{met.host} took the connection, and does not speak HTTP ({met.said}).", cure)
    yield clock(met)


def _connected(met: Met, through: str) -> Finding:
    milliseconds = met.connect_ms or 0.0
    sentence = f"{met.host} port {met.port} is reached{through} in {milliseconds:.0f} ms."
    return Finding("network.connect", "good", sentence, "", {"milliseconds": round(milliseconds, 1)})


def _tls(met: Met) -> Iterator[Finding]:
    now = met.asked_at
    if met.step != "tls":
        yield Finding("network.tls", "good", f"{met.host} shows a certificate that this box accepts ({met.protocol}).")
        days = ((met.ends_at or now) - now) / _DAY
        figures, sentence = {"days": round(days, 2)}, f"The certificate of {met.host} is valid for {days:.0f} more days."
        if days < CERTIFICATE_DAYS:
            cure = "Its owner renews it, usually by itself: run `outpost doctor` again in a few days. Of a proxy: have it renewed."
            yield Finding("network.certificate", "warning", sentence, cure, figures)
        else:
            yield Finding("network.certificate", "good", sentence, "", figures)
    elif _clock_to_blame(met):
        sentence = f"The certificate of {met.host} is valid at the time that {met.host} has, and not at the time of this box."
        yield Finding("network.tls", "fault", sentence, _SET_CLOCK)
    elif met.verify_code == _EXPIRED:
        ago = f" {(now - met.ends_at) / _DAY:.0f} days ago" if met.ends_at else ""
        cure = "Whoever runs that address has to renew it: the archive's owner, or of a proxy between. Look at the clock of this box too."
        yield Finding("network.tls", "fault", f"The certificate of {met.host} expired{ago}.", cure)
    elif met.verify_code == _NOT_YET:
        begins = f" until {utc(met.begins_at)}" if met.begins_at else ""
        yield Finding("network.tls", "fault", f"The certificate of {met.host} is not valid yet{begins}.", _SET_CLOCK)
    elif met.verify_code in _OTHER_NAME:
        cure = "Something else answers in the archive's place (a hotspot, a proxy), or archive.credential_file names the wrong host."
        yield Finding("network.tls", "fault", f"What answers as {met.host} shows the certificate of another name.", cure)
    elif met.verify_code:
        cure = (
            "Something between opens TLS (a proxy, a hotspot). Find out who it is; where it is meant, put its authority into the system's "
            "trust store (a .crt file in /usr/local/share/ca-certificates, then `update-ca-certificates`) and start Outpost again."
        )
        sentence = f"The certificate of {met.host} is signed by nobody whom this box trusts ({met.said})."
        yield Finding("network.tls", "fault", sentence, cure)
    else:
        cure = "Sign in at the hotspot, or look at the proxy: something else than the archive answers on that port."
        yield Finding("network.tls", "fault", f"TLS with {met.host} does not come about ({met.said}).", cure)


_SET_CLOCK = "Set the clock of this box, and let it be kept: `timedatectl set-ntp true`; the firewall has to let NTP out (UDP 123)."


def _clock_to_blame(met: Met) -> bool:
    dates = met.begins_at, met.ends_at, met.date
    begins, ends, there = dates
    return begins is not None and ends is not None and there is not None and begins <= there <= ends


def clock(met: Met) -> Finding:
    """How far our clock is from the archive's."""
    check = "clock.archive"
    if met.date is None:
        return Finding(check, "unknown", "The archive did not say what time it has.")
    ahead = met.asked_at - met.date
    figures, off = {"seconds_ahead": round(ahead, 1)}, abs(ahead)
    side = "ahead of" if ahead > 0 else "behind"
    if off < CLOCK_WARN_SECONDS:
        return Finding(check, "good", f"The clock of this box agrees with the archive's to {max(1, round(off))} s.", "", figures)
    size = f"{off / _DAY:.0f} days" if off >= 2 * _DAY else f"{off / 60:.0f} minutes"
    level: Level = "fault" if off >= CLOCK_FAULT_SECONDS else "warning"
    return Finding(check, level, f"The clock of this box is {size} {side} the archive's.", _SET_CLOCK, figures)
