"""What the kernel says of a process."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one process, now; memory in bytes, processor time in clock ticks."""

    resident: int
    peak: int
    threads: int
    descriptors: int
    ticks: int


def listener(path: Path) -> int:
    """The id of the process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        pid: int = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        return pid


def figures(pid: int) -> Figures:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Figures(
        resident=_bytes(status["VmRSS"]),
        peak=_bytes(status["VmHWM"]),
        threads=int(status["Threads"]),
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        ticks=int(times[11]) + int(times[12]),
    )


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def forget_peak(pid: int) -> None:
    """The peak of memory counts from now on (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) << 10
