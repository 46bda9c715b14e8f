"""The demo is the first test: every step of it proves itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
