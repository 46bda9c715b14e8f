"""The way to the archive: each fault is really there, and is named with its cure."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from cloudsync.doctor import network
from cloudsync.link import meeting
from cloudsync.link.meeting import Met, meet
from edge.clock import SystemClock
from edge.finding import Finding
from tests.certificates import Authority
from tests.servers import free_port

DAY = 86_400.0
CLOCK = SystemClock()


@contextlib.contextmanager
def serving(certificate: tuple[Path, Path] | None, answer: bytes) -> Iterator[int]:
    """The port of a server that takes every connection and answers every request like this; with TLS where it has a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if context and certificate:
        context.load_cert_chain(*certificate)

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # whoever does not accept the certificate hangs up
                line = context.wrap_socket(self.request, server_side=True) if context else self.request
                with line:
                    line.recv(4096)
                    line.sendall(answer)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def dated(stamp: float | None = None) -> bytes:
    date = "" if stamp is None else f"Date: {formatdate(stamp, usegmt=True)}\r\n"
    return f"HTTP/1.1 400 Bad Request\r\n{date}Content-Length: 0\r\n\r\n".encode()


def found(met: Met) -> dict[str, Finding]:
    findings = {finding.check: finding for finding in network.look(met)}
    assert all(finding.cure for finding in findings.values() if finding.level in {"warning", "fault"})
    return findings


def bad(met: Met) -> dict[str, str]:
    return {check: finding.sentence for check, finding in found(met).items() if finding.level in {"warning", "fault"}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


def test_a_way_that_is_free_has_a_finding_for_each_step_and_nothing_to_do(authority: Authority) -> None:
    with serving(authority.issue("archive", days=90), dated(CLOCK.now())) as port:
        findings = found(meet("127.0.0.1", port, True, CLOCK, trusting(authority)))
    assert {check: finding.level for check, finding in findings.items()} == dict.fromkeys(
        ("network.name", "network.connect", "network.tls", "network.certificate", "clock.archive"), "good"
    )
    assert 89 < findings["network.certificate"].figures["days"] <= 90


def test_a_name_that_nobody_knows_is_named() -> None:
    assert "The name archive.invalid is not found" in bad(meet("archive.invalid", 443, True, CLOCK))["network.name"]


def test_a_closed_port_is_named() -> None:
    port = free_port()
    assert bad(meet("127.0.0.1", port, True, CLOCK)) == {
        "network.connect": f"127.0.0.1 port {port} cannot be reached (Connection refused)."
    }


def test_a_proxy_that_refuses_us_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(None, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as port:
        monkeypatch.setenv("https_proxy", f"http://user:secret@127.0.0.1:{port}")
        sentence = bad(meet("archive.example", 443, True, CLOCK))["network.connect"]
    assert sentence == f"archive.example port 443 cannot be reached through the proxy 127.0.0.1:{port} (HTTP 407)."


def test_an_expired_certificate_is_named_with_its_age(authority: Authority) -> None:
    with serving(authority.issue("old", days=-3), dated(CLOCK.now())) as port:
        sentences = bad(meet("127.0.0.1", port, True, CLOCK, trusting(authority)))
    assert sentences == {"network.tls": "The certificate of 127.0.0.1 expired 3 days ago."}


def test_where_the_archive_thinks_its_certificate_valid_it_is_our_clock(authority: Authority) -> None:
    with serving(authority.issue("old", days=-3), dated(CLOCK.now() - 3.5 * DAY)) as port:
        findings = found(meet("127.0.0.1", port, True, CLOCK, trusting(authority)))
    assert findings["network.tls"].sentence.startswith("The certificate of 127.0.0.1 is valid at the time that 127.0.0.1 has")
    assert "timedatectl" in findings["network.tls"].cure
    assert findings["clock.archive"].level == "fault"


def test_the_certificate_of_another_host_is_named(authority: Authority) -> None:
    with serving(authority.issue("other", host="10.0.0.1"), dated()) as port:
        sentences = bad(meet("127.0.0.1", port, True, CLOCK, trusting(authority)))
    assert sentences == {"network.tls": "What answers as 127.0.0.1 shows the certificate of another name."}


def test_a_certificate_that_nobody_we_trust_has_signed_is_named_with_the_way_to_trust_it(authority: Authority) -> None:
    with serving(authority.issue("proxy"), dated()) as port:
        findings = found(meet("127.0.0.1", port, True, CLOCK))
    assert "is signed by nobody whom this box trusts" in findings["network.tls"].sentence
    assert "update-ca-certificates" in findings["network.tls"].cure


def test_a_certificate_that_ends_soon_is_a_warning(authority: Authority) -> None:
    with serving(authority.issue("soon", days=5), dated(CLOCK.now())) as port:
        findings = found(meet("127.0.0.1", port, True, CLOCK, trusting(authority)))
    assert findings["network.certificate"].level == "warning"


def test_a_hotspot_that_speaks_no_tls_is_named() -> None:
    with serving(None, dated()) as port:
        assert "does not come about" in bad(meet("127.0.0.1", port, True, CLOCK))["network.tls"]


def test_what_does_not_speak_http_is_named() -> None:
    with serving(None, b"220 mail.example ESMTP\r\n") as port:
        assert "does not speak HTTP" in bad(meet("127.0.0.1", port, False, CLOCK))["network.http"]


@pytest.mark.parametrize(
    ("ahead", "level", "says"),
    [
        (0.0, "good", "agrees with the archive's to 1 s"),
        (-300.0, "warning", "is 5 minutes behind the archive's"),
        (400 * DAY, "fault", "is 400 days ahead of the archive's"),
    ],
)
def test_the_clock_is_held_against_the_archives(ahead: float, level: str, says: str) -> None:
    there = Met("archive.example", 443, False, step="", date=1_700_000_000.0, asked_at=1_700_000_000.0 + ahead)
    finding = network.clock(there)
    assert (finding.level, says in finding.sentence) == (level, True), finding
    assert network.clock(replace(there, date=None)).level == "unknown"


def test_a_clock_that_is_wrong_is_seen_over_the_wire() -> None:
    with serving(None, dated(CLOCK.now() - 400 * DAY)) as port:
        assert bad(meet("127.0.0.1", port, False, CLOCK)) == {"clock.archive": "The clock of this box is 400 days ahead of the archive's."}


def test_nobody_who_answers_at_all_is_waited_for_no_longer_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "network.tls" in bad(meet("127.0.0.1", silent.getsockname()[1], True, CLOCK))
