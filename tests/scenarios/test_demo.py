"""The demo is the first test: every step of it proves itself."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import until

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_goes_the_whole_way_and_ends_with_a_table(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "outpost.py"), "demo", "--once", "--keep", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == 12
    assert "every digest equal" in done.stdout


def test_the_demo_sends_a_directory_of_ones_own_and_names_one_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "outpost.py"), "demo", "--once", "--data", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    assert "--data" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_the_demo_is_ended_none_of_its_processes_stays(tmp_path: Path, number: signal.Signals) -> None:
    place = tmp_path / "demo"
    command = [sys.executable, str(ROOT / "outpost.py"), "demo", "--keep", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "processes started" in line:
                break
        assert _processes(place)
        demo.send_signal(number)
        demo.stdout.read()
    until(lambda: not _processes(place), "every process of the demo has ended")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, str(ROOT / "outpost.py"), "demo", "--once", "--keep", str(tmp_path / "file" / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    assert "--keep" in done.stdout


def _processes(place: Path) -> list[str]:
    """Command lines of the processes that work below a directory, the demo itself apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if "demo" not in words and any(str(place) in word for word in words):
                found.append(" ".join(words))
    return found
