"""`outpost doctor` as it is typed: both sides in processes of their own, one list, and exit codes that a script can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cloudsync.archive.folder import MARK
from cloudsync.setup import setup
from edge.clock import SystemClock
from edge.finding import Finding, exit_code
from tests.cloudsync.edge_side import settings
from tests.servers import ROOT, free_port


def doctor(state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "outpost.py"), "doctor", *options, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_site_that_does_not_run_is_looked_at_and_an_unplugged_archive_is_a_fault(tmp_path: Path) -> None:
    state, archive = tmp_path / "state", tmp_path / "archive"
    ports = f"dicom.port = {free_port()}\nweb.port = {free_port()}\ncache.reserve_bytes = 0\n"
    setup(state, ports + settings(archive), tmp_path / "kit", SystemClock())
    done = doctor(state, "--json")
    findings = {found["check"]: found for found in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1, done.stdout + done.stderr
    for check, level in (
        ("disk.flush", "good"),
        ("sqlite.version", "good"),
        ("port.dicom.port", "good"),
        ("peers", "warning"),
        ("kit.tested", "warning"),
        ("wall.keys", "warning"),
        ("archive.write", "good"),
        ("archive.overwrite", "warning"),
    ):
        assert findings[check]["level"] == level, findings[check]
    (archive / MARK).unlink()
    unplugged = doctor(state)
    assert unplugged.returncode == 2
    assert "plug the disk in or mount it" in unplugged.stdout


def test_the_ways_through_the_firewall_are_printed_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "credential").write_text("https://account.blob.core.windows.net/outpost?sp=rcl&sig=c2VjcmV0")
    (tmp_path / "credential").chmod(0o600)
    config = f'[archive]\nkind = "azure_blob"\ncredential_file = "{tmp_path}/credential"\n'
    (tmp_path / "state/outpost.toml").write_text(config)
    done = doctor(tmp_path / "state", "--firewall", "--json")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    ways = {(way["direction"], way["host"], way["port"]) for way in said if way["kind"] == "opening"}
    assert {("in", "any", 11112), ("out", "account.blob.core.windows.net", 443)} <= ways
    assert "c2VjcmV0" not in done.stdout + done.stderr


def test_a_directory_that_is_no_site_has_its_own_exit_code(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "outpost setup" in done.stderr


def test_the_exit_code_is_that_of_the_worst_finding() -> None:
    levels = (Finding("a", "good", "."), Finding("b", "unknown", "."), Finding("c", "warning", "."), Finding("d", "fault", "."))
    assert [exit_code(levels[:upto]) for upto in range(5)] == [0, 0, 0, 1, 2]
