"""Faults and kills at chosen system calls of a process, by strace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import need

PYTHON = os.path.realpath(sys.executable)
"""strace follows the real binary better than a launcher that execs it."""
_INJECTED = re.compile(r"^\d+ +(\w+)\(.*\(INJECTED", re.MULTILINE)
_CALL = re.compile(r"^\d+ +(\w+)\(", re.MULTILINE)


def strace() -> str:
    """Its path; without it, or without the right to trace, the test is skipped, and fails where CI is set."""
    program = need("strace", "strace")
    if subprocess.run([program, "-qq", "-o", os.devnull, "true"], capture_output=True).returncode:
        without = pytest.fail if os.environ.get("CI") else pytest.skip
        without("this container may not trace")
    return program


@dataclass(slots=True)
class Injection:
    """What one injection came to; read it after the block."""

    trace: Path

    @property
    def hits(self) -> int:
        """How many calls were failed."""
        return len(_INJECTED.findall(self.trace.read_text(errors="replace")))

    @property
    def where(self) -> str:
        """The first line that was failed."""
        text = self.trace.read_text(errors="replace")
        return next((line for line in text.splitlines() if "(INJECTED" in line), "")


@contextmanager
def failing(process: int, syscall: str, error: str, when: int, trace: Path) -> Iterator[Injection]:
    """While the block runs, the `when`-th such call of each thread fails, of those that run and those that begin."""
    options = ["-f", "-o", str(trace), "-e", f"trace={syscall}", "-e", f"inject={syscall}:error={error}:when={when}", "-e", "signal=none"]
    tracer = subprocess.Popen([strace(), *options, "-y", "-p", str(process)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    assert b"attached" in first, first
    try:
        yield Injection(trace)
    finally:
        tracer.terminate()
        tracer.communicate()


def killed_at(process: int, syscall: str, when: int) -> subprocess.Popen[bytes]:
    """From now on the process is killed as it makes the `when`-th such call of one of its threads. The tracer is to be waited for."""
    options = ["-f", "-o", os.devnull, "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={when}"]
    tracer = subprocess.Popen([strace(), *options, "-p", str(process)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    assert b"attached" in first, first
    return tracer


def killing(syscall: str, when: int) -> list[str]:
    """What to put before a command so that it is killed as it makes the `when`-th such call of one of its threads."""
    return [strace(), "-f", "-qq", "-o", os.devnull, "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={when}"]


def calls(text: str) -> dict[str, int]:
    """How often each call was made, by a trace."""
    counts: dict[str, int] = {}
    for name in _CALL.findall(text):
        counts[name] = counts.get(name, 0) + 1
    return counts
