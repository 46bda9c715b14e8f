"""Disk, encryption, database, wall and confinement of the box: facts as they are here, and findings of facts as they may be elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.config import Cache, Layout, Wall
from edge.doctor import confinement, database, disk, encryption, wall
from edge.doctor.disk import Disk
from edge.finding import Finding, exit_code
from tests.servers import need

GB = 1 << 30


def level(findings: list[Finding], check: str) -> str:
    assert all(finding.cure for finding in findings if finding.level in {"warning", "fault"})
    return next(finding.level for finding in findings if finding.check == check)


def test_a_disk_is_measured_by_a_file_that_is_gone_afterwards(tmp_path: Path) -> None:
    found = disk.measure(tmp_path, SystemClock(), 0)
    assert found.bytes_per_second is not None
    assert found.bytes_per_second > 0
    assert found.flush_ms is not None
    assert found.flush_ms > 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_into_the_reserve(tmp_path: Path) -> None:
    found = disk.measure(tmp_path, SystemClock(), 1 << 62)
    assert (found.bytes_per_second, found.flush_ms) == (None, None)
    findings = list(disk.look(found, Cache(reserve_bytes=1 << 62)))
    assert (level(findings, "disk.free"), level(findings, "disk.speed")) == ("fault", "unknown")
    assert exit_code(findings) == 2


@pytest.mark.parametrize(
    ("there", "check", "expected"),
    [
        (Disk(500 * GB, 300 * GB, 10**6, 400e6, 0.4), "disk.flush", "good"),
        (Disk(500 * GB, 300 * GB, 10**6, 400e6, 0.4), "disk.speed", "good"),
        (Disk(500 * GB, 300 * GB, 10**6, 400e6, 90.0), "disk.flush", "warning"),
        (Disk(500 * GB, 300 * GB, 10**6, 5e6, 0.4), "disk.speed", "warning"),
        (Disk(500 * GB, 1 * GB, 10**6, 400e6, 0.4), "disk.free", "fault"),
        (Disk(100 * GB, 90 * GB, 10**6, 400e6, 0.4), "disk.size", "warning"),
        (Disk(500 * GB, 300 * GB, 50, 400e6, 0.4), "disk.files", "fault"),
    ],
)
def test_a_disk_that_is_slow_full_or_small_is_named(there: Disk, check: str, expected: str) -> None:
    assert level(list(disk.look(there, Cache())), check) == expected


def test_encryption_is_seen_below_the_volumes_that_lie_on_it(tmp_path: Path) -> None:
    sys_, mounts = tmp_path / "sys", tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - overlay overlay rw\n")
    assert encryption.look(encryption.devices(tmp_path, sys_, mounts)).level == "unknown"
    # LVM on LUKS on a disk, as the kernel shows it.
    volume, crypt, plain = (sys_ / "devices" / name for name in ("dm-1", "dm-0", "sda3"))
    for device, uuid in ((volume, "LVM-abc"), (crypt, "CRYPT-LUKS2-abc-crypt"), (plain, "")):
        (device / "slaves").mkdir(parents=True)
        if uuid:
            (device / "dm").mkdir()
            (device / "dm/uuid").write_text(f"{uuid}\n")
    (volume / "slaves/dm-0").symlink_to(crypt)
    (crypt / "slaves/sda3").symlink_to(plain)
    assert list(encryption.names(volume)) == ["LVM-abc", "CRYPT-LUKS2-abc-crypt", ""]
    assert encryption.look(["LVM-abc", "CRYPT-LUKS2-abc-crypt", ""]).level == "good"
    assert encryption.look([""]).level == "warning"


@pytest.mark.parametrize(("version", "expected"), [((3, 36, 0), "fault"), ((3, 40, 1), "good"), ((3, 51, 3), "good")])
def test_a_sqlite_that_is_too_old_is_a_fault(version: tuple[int, int, int], expected: str) -> None:
    assert level([database.look(version)], "sqlite.version") == expected


def test_the_wall_stands_where_the_user_of_edge_cannot_read_the_keys(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.keys.mkdir(parents=True)
    assert level([wall.look(Wall(), layout)], "wall.keys") == "warning"
    users = Wall(edge_user="edge", cloudsync_user="cloudsync")
    assert level([wall.look(users, layout)], "wall.keys") == "fault"
    layout.keys.rmdir()
    assert level([wall.look(users, layout)], "wall.keys") == "good"


def test_a_process_that_is_not_shut_in_is_told_from_one_that_is(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can give up capabilities of the bounding set")
    for module in ("edge", "cloudsync"):
        (tmp_path / module).mkdir()
        (tmp_path / module / "__main__.py").write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    setpriv = [need("setpriv", "util-linux"), "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    commands = [
        [sys.executable, "-m", "cloudsync", "--state", str(tmp_path)],
        [*setpriv, sys.executable, "-m", "edge", "--state", str(tmp_path)],
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environment) for command in commands
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        edge, cloudsync = confinement.running(tmp_path)
        assert (edge.module, edge.no_new_privileges, edge.capabilities) == ("edge", True, 0)
        assert (cloudsync.module, cloudsync.user, cloudsync.no_new_privileges) == ("cloudsync", 0, False)
    finally:
        for process in processes:
            process.communicate(b"\n", timeout=20)
    findings = list(confinement.look([edge, cloudsync]))
    assert level(findings, "unit.edge-web") == "fault"
    assert "runs as root" in next(finding.sentence for finding in findings if finding.check == "unit.cloudsync")
    assert confinement.running(tmp_path) == []


def test_a_process_under_its_unit_is_shut_in() -> None:
    status = "Name:\tpython\nUid:\t998\t998\t998\t998\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    found = [confinement.parse(module, status) for module in confinement.MODULES]
    assert {finding.level for finding in confinement.look(found)} == {"good"}
