"""edge.code.confine, in a process of its own: it holds for as long as the process lives."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

TRIES = """
import socket, sys
from edge.code.confine import confine
lent = open(sys.argv[1], "w")
assert confine()
for attempt in (lambda: open(sys.argv[1]), lambda: open(sys.argv[1] + "2", "w")):
    try:
        attempt()
    except PermissionError:
        print("refused")
lent.write("lent")
"""


def test_a_confined_process_opens_nothing_and_keeps_what_it_has(tmp_path: Path) -> None:
    if ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("this kernel has no Landlock")
    path = tmp_path / "file"
    finished = subprocess.run([sys.executable, "-c", TRIES, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (finished.stdout, finished.stderr) == ("refused\nrefused\n", "")
    assert path.read_text() == "lent"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
