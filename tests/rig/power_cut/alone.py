"""The power-cut rig as tests call it: in its own mounts and processes, all gone when a call has ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig.power_cut import mounts
from tests.rig.power_cut.replay import Report
from tests.servers import ROOT, need

RIG = "tests.rig.power_cut"
SECONDS = 3600


def base(place: Path) -> Path:
    """A directory with a disk on which a site was set up. Skips the test, or fails it in CI, where there can be no such disk."""
    for program, package in (("fusermount3", "fuse3"), ("mkfs.ext4", "e2fsprogs"), ("unshare", "util-linux")):
        need(program, package)
    if reason := mounts.hindrance():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    call(RIG, "base", "--base", str(place))
    return place


def cut(base: Path, place: Path, *arguments: str) -> Report:
    """A run and its replay; `arguments` are those of `python -m tests.rig.power_cut run`."""
    place.mkdir()
    call(RIG, "run", "--base", str(base), "--place", str(place), *arguments)
    return Report.read(place / "report.json")


def call(module: str, *arguments: str) -> None:
    """Run a module of the repository in mounts and processes of its own. AssertionError with its last words when it fails."""
    command = [*mounts.ALONE, *mounts.python(module, *arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, said[-6000:]
