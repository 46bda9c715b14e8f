"""A part that somebody removed from the archive: `outpost verify` names its study, ships it once more, and a rebuild has every byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge.control.verify import GetVerify, Hurt
from edge.demo.instances import samples
from edge.demo.site import Site, folder
from edge.demo.tour import REAL
from tests.scenarios.conftest import Clinic

ROOT = Path(__file__).parents[2]


def outpost_verify(clinic: Clinic) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "outpost.py"), "verify", "--read-data", "100", "--state", str(clinic.site.layout.state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_a_removed_part_is_named_with_its_study_and_shipped_once_more(clinic: Clinic, tmp_path: Path) -> None:
    real = list(samples(REAL))[:3]
    clinic.workstation.send(clinic.site.peer, real, lambda _: None)
    clinic.wait_held()
    whole = outpost_verify(clinic)
    assert (whole.returncode, "all of it is as it should be" in whole.stdout) == (0, True), whole.stdout + whole.stderr
    lost = next(iter(sorted(clinic.archive.glob("*/p/*/000001"))))
    lost.unlink()
    found = outpost_verify(clinic)
    assert found.returncode == 65, found.stdout + found.stderr
    assert f"{lost.relative_to(clinic.archive)} is missing. The cache holds it whole: it is shipped once more" in found.stdout
    assert sum(f"study {study}" in found.stdout for study in {sample.study for sample in real}) == 1
    clinic.site.wait(lambda: not any(isinstance(row, Hurt) for row in clinic.site.ask(GetVerify())), "the pack is held anew")
    assert outpost_verify(clinic).returncode == 0
    clinic.evict()
    clinic.site.stop()
    rebuilt = Site("Rebuilt", tmp_path / "rebuilt", folder(clinic.archive))
    try:
        rebuilt.rebuild(clinic.kit)
        rebuilt.start()
        clinic.introduce(rebuilt)
        rebuilt.wait(lambda: {row.study for row in rebuilt.studies()} == {sample.study for sample in real}, "all studies are known")
        clinic.workstation.received.clear()
        for study in {sample.study for sample in real}:
            last = list(clinic.workstation.move(rebuilt.peer, study))[-1]
            assert (last.status, last.failed) == (0, 0)
        assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in real}
    finally:
        rebuilt.stop()
