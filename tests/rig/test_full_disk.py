"""A disk runs full of what is not held yet, and again by another program's doing: refused, never lost, and on again by itself (R1, R3)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.rig.full_disk import REFUSALS, Report
from tests.rig.power_cut import alone, mounts
from tests.servers import need

DISK_BYTES, FULL_DISK_BYTES = 24 << 20, 256 << 20


@pytest.fixture
def mountable() -> None:
    """Skips the test, or fails it in CI, where nobody may mount a disk of his own."""
    without = pytest.fail if os.environ.get("CI") else pytest.skip
    need("unshare", "util-linux")
    if os.geteuid() != 0:
        without("needs root to mount a small disk")
    mount = ("mount", "-t", "tmpfs", "tmpfs", str(mounts.MEMORY))
    if subprocess.run([*mounts.ALONE, *mount], capture_output=True, check=False).returncode:
        without("this container may not mount")


@pytest.mark.usefixtures("mountable")
def test_a_full_disk_refuses_and_evicts_and_goes_on_and_nothing_acknowledged_is_lost(
    tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = FULL_DISK_BYTES if full else DISK_BYTES
    alone.call("tests.rig.full_disk", str(disk), str(tmp_path / "report.json"))
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    with capsys.disabled():
        print(f"\na disk of {disk >> 20} MiB: {report.acknowledged} instances of {report.bytes >> 20} MiB acknowledged,")
        print(f"  {report.recalled} recalled, {len(report.missing)} missing; {report.evicted} packs evicted; KiB free when refused")
        print(f"  {report.free[0] >> 10}, when the ballast was given up {report.free[1] >> 10}; {len(report.ended)} processes ended")
    assert report.missing == []
    # cloudsync may: a ledger that cannot be written any more ends it, and it goes on after a new start.
    assert [line for line in report.ended if not line.startswith("cloudsync ")] == []
    assert report.refused == [REFUSALS, REFUSALS]
    assert min(report.evicted) > 0
    assert report.recalled > 0
    assert report.bytes > disk
