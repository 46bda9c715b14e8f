"""What tests take from Debian's packages without installing them: instances. Unpacked when it is first wanted; apt proves what it loads."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PLACE = Path(__file__).parent / "debian"


def unpacked(package: str) -> Path:
    """Where the files of a package lie. Where it cannot be had the test skips, or fails where CI says that everything must run."""
    _PLACE.mkdir(exist_ok=True)
    found = _PLACE / package
    with (_PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may want it first
        if not found.exists():
            _unpack(package, found)
    return found


def _unpack(package: str, target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        _lacking(package, "this is no Debian")
    new = target.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    done = subprocess.run(["apt-get", "-qq", "download", package], cwd=new, capture_output=True, text=True)
    archives = list(new.glob("*.deb"))
    if done.returncode != 0 or len(archives) != 1:
        _lacking(package, f"apt-get download failed: {done.stderr.strip()[-300:]}")
    subprocess.run(["dpkg-deb", "-x", archives[0].name, "."], cwd=new, check=True)
    archives[0].unlink()
    new.rename(target)


def _lacking(package: str, reason: str) -> None:
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Debian's {package} cannot be had: {reason}")
