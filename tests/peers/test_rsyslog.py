"""Debian's rsyslog as the collector of the audit trail: over TLS it takes each message whole, in order."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from lxml import etree

from edge.clock import SystemClock
from edge.collector import Collector
from edge.config import Audit, Layout
from edge.failstop import FailStop
from edge.trail import Trail
from tests.audited import EVENTS, SOURCE, schema
from tests.certificates import Authority

SETTINGS = """
global(
    workDirectory="{directory}"
    defaultNetstreamDriver="gtls"
    defaultNetstreamDriverCAFile="{ca}"
    defaultNetstreamDriverCertFile="{certificate}"
    defaultNetstreamDriverKeyFile="{key}"
    maxMessageSize="64k"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="whole" type="string" string="%msgid% %msg%\\n")
action(type="omfile" file="{file}" template="whole")
"""


def test_each_event_reaches_rsyslog_as_a_valid_audit_message(tmp_path: Path) -> None:
    rsyslogd = shutil.which("rsyslogd", path=os.defpath + ":/usr/sbin")
    if rsyslogd is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("rsyslog is not installed")
    authority = Authority(tmp_path / "certificates")
    certificate, key = authority.issue("collector")
    received = tmp_path / "received"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = SETTINGS.format(directory=tmp_path, ca=authority.certificate, certificate=certificate, key=key, port=port, file=received)
    (tmp_path / "rsyslog.conf").write_text(settings)
    command = [rsyslogd, "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    layout, fail_stop = Layout(tmp_path / "state"), FailStop(lambda: None)
    layout.audit.mkdir(parents=True)
    ours, our_key = authority.issue("box")
    audit = Audit(
        collector_host="127.0.0.1",
        collector_port=port,
        ca_file=str(authority.certificate),
        certificate_file=str(ours),
        key_file=str(our_key),
    )
    collector = Collector(audit, layout, SOURCE, SystemClock(), fail_stop, jitter=lambda: -0.9)
    trail = Trail(layout.audit, SystemClock(), fail_stop, written=collector.wake)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        try:
            collector.start()
            for event in EVENTS.values():
                trail.record(event)
            until = time.monotonic() + 60
            while time.monotonic() < until and (not received.exists() or received.read_bytes().count(b"\n") < len(EVENTS)):
                time.sleep(0.05)
        finally:
            trail.close()
            collector.stop()
            server.terminate()
            said = server.communicate()[1].decode()
    lines = received.read_text(encoding="utf-8-sig").splitlines() if received.exists() else []
    assert len(lines) == len(EVENTS), said
    rules = schema()
    for line in lines:
        kind, _, text = line.partition(" ")
        assert kind == "DICOM+RFC3881"
        assert rules.validate(etree.fromstring(text.lstrip("\ufeff "))), line
