"""Admission, audit and TLS of a whole edge, by its commands, with dcmtk as the device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from edge.config import Layout
from edge.demo.site import ROOT
from tests.certificates import Authority
from tests.rig.figures import listener
from tests.servers import Endpoint, edge_alone, free_port, need, until


def outpost(state: Path, *words: str, code: int = 0) -> str:
    """What a command says."""
    command = [sys.executable, str(ROOT / "outpost.py"), *words, "--state", str(state)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert finished.returncode == code, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def echo(endpoint: Endpoint, title: str, *options: str, port: int = 0) -> bool:
    command = [need("echoscu", "dcmtk"), "-aet", title, "-aec", endpoint.ae_title, *options, "127.0.0.1", str(port or endpoint.port)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_a_device_is_turned_away_listed_approved_changed_and_removed_without_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with edge_alone(state, peers=()) as endpoint:
        assert not echo(endpoint, "CT1")
        assert "CT1" in outpost(state, "peers", "unknown")
        assert "from 127.0.0.1: store" in outpost(state, "peers", "approve", "CT1", "--rights", "store")
        assert outpost(state, "peers", "unknown") == ""
        assert echo(endpoint, "CT1")
        outpost(state, "peers", "add", "CT1", "--address", "10.0.0.8", "--class", "stat")
        shown = outpost(state, "peers", "show", "CT1")
        assert ["urgency", "stat"] in [line.split() for line in shown.splitlines()]
        assert not echo(endpoint, "CT1")
        outpost(state, "peers", "rm", "CT1")
        told = outpost(state, "audit", "show")
        assert [line.split()[2] for line in told.splitlines()] == [
            "application",
            "association-refused",
            "peer-changed",
            "peer-changed",
            "association-refused",
            "peer-changed",
        ]
    noted = outpost(state, "audit", "verify").split()
    digest = noted[-1]
    assert "Lines 1 to 7 are unbroken." in outpost(state, "audit", "verify", "--number", "7", "--digest", digest)
    (path,) = Layout(state).audit.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    assert "was cut off or written anew" in outpost(state, "audit", "verify", "--number", "7", "--digest", digest, code=65)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert "line 2 has number 3" in outpost(state, "audit", "verify", code=65)


def test_tls_is_spoken_on_its_port_and_new_certificates_count_at_once(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_port()
    authority = Authority(tmp_path / "certificates")
    certificate, key = authority.issue("outpost", as_rsa=True)
    settings = f"tls_port = {port}\ncertificate_file = '{certificate}'\nkey_file = '{key}'\nclient_ca_file = '{authority.certificate}'\n"
    theirs, their_key = authority.issue("ct1", as_rsa=True)
    options = ("+tls", str(their_key), str(theirs), "+cf", str(authority.certificate))
    with edge_alone(state, peers=("CT1",), dicom=settings) as endpoint:
        outpost(state, "peers", "add", "CT1", "--tls-subject", "CN=ct1")
        assert echo(endpoint, "CT1", *options, port=port)
        assert not echo(endpoint, "CT1")
        authority.issue("outpost", as_rsa=True)
        assert echo(endpoint, "CT1", *options, port=port)
        log = state / "edge.log"
        assert "certificates were read again" in log.read_text()
        certificate.write_text("broken")
        os.kill(listener(Layout(state).control), signal.SIGHUP)
        until(lambda: "the certificates in force stay in force: dicom.certificate_file" in log.read_text(), "the fault is named")
        assert echo(endpoint, "CT1", *options, port=port)
