"""A site whose processes the rig starts itself, so that it can kill any of them and start just that one again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from edge.demo.site import ROOT, WAIT_SECONDS, Site

MODULES = {"edge": "edge", "edge-web": "edge.web", "cloudsync": "cloudsync"}


class LooseSite(Site):
    """Started process by process; what dies is started again at once, alone."""

    def __init__(self, name: str, state: Path, archive: str) -> None:
        super().__init__(name, state, archive)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        for name in MODULES:
            self.start_one(name)
        self.wait(self.is_up, f"{self.name} is up")

    def stop(self) -> None:
        for name in ("edge-web", "edge", "cloudsync"):
            self.stop_one(name)

    def start_one(self, name: str) -> None:
        command = [sys.executable, "-m", MODULES[name], "--state", str(self.layout.state)]
        with self.log.open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def stop_one(self, name: str) -> None:
        """End a process in order; nothing happens when it does not run."""
        with self._lock:
            process = self._running.pop(name, None)
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait(WAIT_SECONDS)

    def kill(self, choose: random.Random) -> str:
        """SIGKILL a random process, a coding worker among them where one runs, and start that one again; its name."""
        with self._lock:
            workers = _children(self._running["edge"].pid)
            name = choose.choice([*MODULES, *(["coder"] if workers else [])])
            if name == "coder":
                try:
                    os.kill(choose.choice(workers), signal.SIGKILL)
                    return name
                except ProcessLookupError:
                    name = "edge"  # the worker's job was done meanwhile
            process = self._running[name]
            process.kill()
            process.wait()
            self.start_one(name)
            return name


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
