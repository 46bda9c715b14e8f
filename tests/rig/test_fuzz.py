"""Coverage-guided fuzzing of whatever reads foreign bytes: half a minute, and an hour with `./test rig --full`.

What it finds becomes a vector (tests/vectors), or a seed where it is of another kind.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.servers import ROOT

SECONDS, FULL_SECONDS = 28, 3600
"""Shared by all targets, besides the time that each takes to begin."""
WORKERS = os.cpu_count() or 1

Finished = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Future[Finished]]:
    """Every target in a process of its own, as many at a time as there are processors."""
    if importlib.util.find_spec("atheris") is None:
        reason = "atheris is not installed (there are wheels for CPython on Linux on x86-64 alone)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    place = tmp_path_factory.mktemp("fuzz")
    whole = FULL_SECONDS if request.config.getoption("--full", default=False) else SECONDS
    seconds = max(1, whole * WORKERS // len(TARGETS))
    with ThreadPoolExecutor(WORKERS) as pool:
        return {target: pool.submit(fuzz, target, place / target, seconds) for target in TARGETS}


def fuzz(target: str, place: Path, seconds: int) -> Finished:
    command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds)]
    command += ["--corpus", str(place / "corpus"), "--found", str(place / "found")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds + 60)


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_what_reads_it(target: str, runs: dict[str, Future[Finished]], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs[target].result()
    executed = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    with capsys.disabled():
        print(f"\n{target}: {executed[1] if executed else 'no'} inputs", end=" ")
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert executed
    assert int(executed[1]) >= len({*seeds(target)})
