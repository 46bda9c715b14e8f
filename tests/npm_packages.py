"""What tests take from npm: a peer, and instances. Installed from the lock file of `tests/npm` when it is first wanted."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_NPM = Path(__file__).parent / "npm"


def installed(name: str) -> Path:
    """Where `name`, a path below node_modules, lies. Without npm the test skips, or fails where CI says that everything must run."""
    found = _NPM / "node_modules" / name
    if shutil.which("npm") is None or shutil.which("node") is None:
        _lacking("node and npm are not installed")
    with (_NPM / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may want it first
        if not found.exists():
            command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=_NPM, capture_output=True, text=True)
            if done.returncode != 0:
                _lacking(f"npm ci failed: {done.stderr.strip()[-300:]}")
    return found


def _lacking(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"npm packages are needed in CI: {reason}")
    pytest.skip(f"npm packages cannot be had: {reason}")
