"""What edge needs of the firewall: who calls in, and whom it calls on the LAN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from edge.config import Config
from edge.control.peers import PeerRow
from edge.control.routes import RouteRow
from edge.finding import Opening

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_NTP, _DNS = 123, 53


def openings(config: Config, peers: Sequence[PeerRow], routes: Sequence[RouteRow]) -> Iterator[Opening]:
    """As configured. What stays on this machine needs nothing of the firewall, and is left out."""
    for port, purpose in ((config.dicom.port, "DICOM"), (config.dicom.tls_port, "DICOM over TLS")):
        if port and config.dicom.host not in _LOOPBACK:
            for caller in sorted({peer.address or "any" for peer in peers}) or ["any"]:
                yield Opening("in", caller, port, "tcp", purpose)
    if config.web.port and config.web.host not in _LOOPBACK:
        yield Opening("in", "any", config.web.port, "tcp", "DICOMweb")
    for peer in peers:
        if peer.host and peer.host not in _LOOPBACK:
            yield Opening("out", peer.host, peer.port, "tcp", f"DICOM to {peer.ae_title}")
    for route in routes:
        place = urlsplit(route.url)
        if place.hostname and place.hostname not in _LOOPBACK:
            port = place.port or (443 if place.scheme == "https" else 80)
            yield Opening("out", place.hostname, port, "tcp", f"STOW-RS of route {route.name}")
    yield Opening("out", "any", _DNS, "udp", "names (or only to the clinic's name server)")
    yield Opening("out", "any", _DNS, "tcp", "names, where an answer is long")
    yield Opening("out", "any", _NTP, "udp", "the clock (or only to the clinic's time server)")
