"""File systems on images, each gone again at the end of its block; and a place where none of it outlives the process that made it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ROOT, until

ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""In its own mounts and processes: when the first of them ends, however it ends, all others and all mounts are gone, and with them the loop
devices."""
MEMORY = Path("/mnt")
"""In those mounts alone. A short name: those of Unix sockets are at most 107 bytes long."""
IMAGE_BYTES = 96 << 20


def hindrance() -> str | None:
    """Why there can be no such disk here, although its programs are there; None when there can."""
    if os.geteuid() != 0:
        return "only root may mount"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    if importlib.util.find_spec("mfusepy") is None:
        return "mfusepy is not installed"
    if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
        return "there are no loop devices"
    return None


def python(*arguments: str) -> list[str]:
    """A command that runs a module of the repository."""
    return [sys.executable, "-m", *arguments]


def make(image: Path) -> None:
    """An empty ext4 with the defaults of a real one, but for what it would still write by itself after it is mounted."""
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", str(image))


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """An image through a loop device, which goes with the mount. Raises OSError when it cannot be mounted."""
    at.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", "loop,noatime", str(image), str(at))
    try:
        yield at
    finally:
        _unmount(at)


@contextmanager
def memory(at: Path = MEMORY, most_bytes: int = 0) -> Iterator[Path]:
    """A place that costs no disk, and where `most_bytes` is set is full with so many; only inside ALONE."""
    at.mkdir(exist_ok=True)
    options = ["-o", f"size={most_bytes}"] if most_bytes else []
    _run("mount", "-t", "tmpfs", *options, "tmpfs", str(at))
    try:
        yield at
    finally:
        _unmount(at)


@contextmanager
def taped(image: Path, tape: Path, place: Path) -> Iterator[Path]:
    """The directory with the files of tests.rig.power_cut.disk."""
    place.mkdir(exist_ok=True)
    command = python("tests.rig.power_cut.disk", str(image), str(tape), str(place))
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        until(lambda: (place / "disk").exists() or process.poll() is not None, "the disk is there")
        assert process.poll() is None, "the disk did not come up"
        yield place
    finally:
        _unmount(place)
        process.wait(20)


def _unmount(at: Path) -> None:
    """Whoever has just ended may still hold it for a moment."""
    until(lambda: subprocess.run(["umount", str(at)], capture_output=True, check=False).returncode == 0, f"{at} is unmounted")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
