"""What follows from how the archive was met: a finding for each step."""

from __future__ import annotations

from collections.abc import Iterator

from cloudsync.link.farclock import SET_CLOCK, WRONG_SECONDS, off
from cloudsync.link.meeting import Met
from cloudsync.link.unreached import EXPIRED, NOT_YET, OTHER_NAME
from edge.clock import utc
from edge.finding import Finding, Level

CERTIFICATE_DAYS = 14.0
CLOCK_WARN_SECONDS = 60.0
_DAY = 86_400.0


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
    elif met.clock_to_blame:
        sentence = f"The certificate of {met.host} is valid at the time that {met.host} has, and not at the time of this box."
        yield Finding("network.tls", "fault", sentence, _SET_CLOCK)
    elif met.verify_code == EXPIRED:
        ago = f" {(now - met.ends_at) / _DAY:.0f} days ago" if met.ends_at else ""
        cure = "Whoever runs that address has to renew it: the archive's owner, or of a proxy between. Look at the clock of this box too."
        yield Finding("network.tls", "fault", f"The certificate of {met.host} expired{ago}.", cure)
    elif met.verify_code == NOT_YET:
        begins = f" until {utc(met.begins_at)}" if met.begins_at else ""
        yield Finding("network.tls", "fault", f"The certificate of {met.host} is not valid yet{begins}.", _SET_CLOCK)
    elif met.verify_code in OTHER_NAME:
        cure = "Something else answers in the archive's place (a hotspot, a proxy), or archive.credential_file names the wrong host."
        yield Finding("network.tls", "fault", f"What answers as {met.host} shows the certificate of another name.", cure)
    elif met.verify_code:
        cure = (
            "Something between opens TLS (a proxy, a hotspot). Find out who it is; where it is meant, name a PEM file of its authority in "
            "archive.ca_file (or put that into /usr/local/share/ca-certificates and run `update-ca-certificates`), and start Outpost again."
        )
        sentence = f"The certificate of {met.host} is signed by nobody whom this box trusts ({met.said})."
        yield Finding("network.tls", "fault", sentence, cure)
    else:
        cure = "Sign in at the hotspot, or look at the proxy: something else than the archive answers on that port."
        yield Finding("network.tls", "fault", f"TLS with {met.host} does not come about ({met.said}).", cure)


_SET_CLOCK = f"Set the clock of this box; {SET_CLOCK}."


def clock(met: Met) -> Finding:
    """How far our clock is from the archive's."""
    check = "clock.archive"
    if met.date is None:
        return Finding(check, "unknown", "The archive did not say what time it has.")
    ahead = met.asked_at - met.date
    figures = {"seconds_ahead": round(ahead, 1)}
    if abs(ahead) < CLOCK_WARN_SECONDS:
        return Finding(check, "good", f"The clock of this box agrees with the archive's to {max(1, round(abs(ahead)))} s.", "", figures)
    level: Level = "fault" if abs(ahead) >= WRONG_SECONDS else "warning"
    said = off(ahead)
    return Finding(check, level, f"{said[:1].upper()}{said[1:]}.", _SET_CLOCK, figures)
