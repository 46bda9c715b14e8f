"""Ports, our certificate, peers and the firewall: each fault really there."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.config import Config, Dicom, Layout, Web
from edge.control import asking
from edge.control.peers import PeerRow, PutPeer
from edge.control.routes import RouteRow
from edge.doctor import certificate, firewall, peers, ports
from edge.finding import Finding, Opening
from tests.certificates import Authority
from tests.servers import Endpoint, edge_alone, free_port

HOST = "127.0.0.1"


def of(findings: object) -> dict[str, Finding]:
    found = {finding.check: finding for finding in findings}  # type: ignore[attr-defined]
    assert all(finding.cure for finding in found.values() if finding.level in {"warning", "fault"})
    return found


def settings(port: int, web: int) -> Config:
    return Config(dicom=Dicom(host=HOST, port=port), web=Web(port=web))


def test_a_port_that_is_free_taken_closed_or_served_is_told_apart() -> None:
    free, closed = free_port(), free_port()
    with socket.create_server((HOST, 0)) as there:
        taken = there.getsockname()[1]
        stopped = of(ports.look(ports.measure(settings(free, taken), False), False))
        runs = of(ports.look(ports.measure(settings(closed, taken), True), True))
    assert (stopped["port.dicom.port"].level, stopped["port.web.port"].level) == ("good", "fault")
    assert "taken by another program" in stopped["port.web.port"].sentence
    assert (runs["port.dicom.port"].level, runs["port.web.port"].level) == ("fault", "good")
    assert "nobody listens" in runs["port.dicom.port"].sentence


def test_an_address_that_the_box_does_not_have_is_named() -> None:
    (finding,) = ports.look([ports.Port("dicom.port", "192.0.2.1", 11112, False, errno.EADDRNOTAVAIL)], False)
    assert (finding.level, "Cannot assign requested address" in finding.sentence) == ("fault", True)


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(90, "good", "valid for 90 more days"), (10, "warning", "valid for 10 more days"), (-3, "fault", "has expired")],
)
def test_our_certificate_is_known_by_its_last_day(tmp_path: Path, days: int, level: str, says: str) -> None:
    authority = Authority(tmp_path)
    own, key = authority.issue("outpost", days=days)
    dicom = Dicom(certificate_file=str(own), key_file=str(key), client_ca_file=str(authority.certificate))
    (finding,) = of(certificate.look(dicom, SystemClock().now())).values()
    assert (finding.level, says in finding.sentence) == (level, True), finding


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (own, _), (_, foreign) = authority.issue("outpost"), authority.issue("other")
    for key in (foreign, tmp_path / "nowhere"):
        dicom = Dicom(certificate_file=str(own), key_file=str(key), require_client_certificate=False)
        (finding,) = of(certificate.look(dicom, 0.0)).values()
        assert (finding.level, str(key) in finding.sentence) == ("fault", True), finding
    assert of(certificate.look(Dicom(), 0.0)) == {}


def test_each_peer_that_is_called_is_called_and_one_that_is_away_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert peers.rows(layout.control) is None
    with edge_alone(tmp_path, peers=("CALLS_ONLY",), destinations=(Endpoint("AWAY", free_port()),)) as own:
        list(asking.ask(layout.control, PutPeer(ae_title="OUTPOST", host=HOST, port=own.port)))
        known = peers.rows(layout.control)
        assert known is not None
        found = of(peers.look(layout.control, known))
    assert {check: finding.level for check, finding in found.items()} == {"peer.AWAY": "warning", "peer.OUTPOST": "good"}


def test_the_firewall_is_told_each_host_port_and_direction() -> None:
    blank = dict.fromkeys(PeerRow.__struct_fields__, "")
    rows = (
        {"ae_title": "CT", "address": "10.0.0.8"},
        {"ae_title": "PACS", "address": "10.0.0.0/24", "host": "10.0.0.5", "port": 104},
    )
    known = [PeerRow(**(blank | row)) for row in rows]  # type: ignore[arg-type]
    route = dict.fromkeys(RouteRow.__struct_fields__, "") | {"name": "web", "url": "https://pacs.local/dicom-web"}
    config = Config(dicom=Dicom(tls_port=2762), web=Web(host="10.0.0.2"))
    ways = list(firewall.openings(config, known, [RouteRow(**route)]))  # type: ignore[arg-type]
    assert [(way.direction, way.host, way.port) for way in ways if way.port not in {53, 123}] == [
        ("in", "10.0.0.0/24", 11112),
        ("in", "10.0.0.8", 11112),
        ("in", "10.0.0.0/24", 2762),
        ("in", "10.0.0.8", 2762),
        ("in", "any", 8042),
        ("out", "10.0.0.5", 104),
        ("out", "pacs.local", 443),
    ]
    assert {way.port for way in firewall.openings(settings(11112, 8042), known, []) if way.direction == "in"} == set()
    assert all(isinstance(way, Opening) for way in ways)
