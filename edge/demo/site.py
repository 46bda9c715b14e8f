"""A throw-away site: set up, started and asked by the same commands that a person uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.config import Layout
from edge.control import asking
from edge.control.lines import Answer, NotRunning, Request
from edge.control.status import GetStatus
from edge.control.studies import ListStudies, Study
from edge.errors import Permanent
from edge.model import AETitle, Peer
from edge.process import SUPERVISED

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_SECONDS = 60.0

SETTINGS = """\
[site]
name = "{name}"

[dicom]
host = "127.0.0.1"
port = 0

[web]
port = 0

[cache]
quiet_seconds = 2
minimum_age_seconds = 0
reserve_bytes = 0
ballast_bytes = 0

[link]
poll_seconds = 0.5

[archive]
{archive}
"""


class StepFailed(Permanent):
    """A step of the demo did not come out as promised. The message names it; the log of the site says more."""


@dataclass(frozen=True, slots=True)
class Kit:
    directory: Path
    passphrase: str


def folder(path: Path) -> str:
    """The archive settings of a folder."""
    return f'kind = "folder"\npath = {json.dumps(str(path))}'


class Site:
    """One state directory with its processes under `outpost run`; the log lies beside it."""

    def __init__(self, name: str, state: Path, archive: str) -> None:
        """`archive` is what stands in the section of that name of outpost.toml (`folder` writes it for a directory)."""
        self.name = name
        self.layout = Layout(state)
        self._archive = archive
        self.log = state.parent / f"{state.name}.log"
        self._supervisor: subprocess.Popen[bytes] | None = None

    def set_up(self, kit_directory: Path) -> Kit:
        settings = self._settings()
        made = self._outpost(
            "setup", "--state", str(self.layout.state), "--config", str(settings), "--kit-out", str(kit_directory), "--json"
        )
        return Kit(kit_directory, json.loads(made)["passphrase"])

    def rebuild(self, kit: Kit) -> None:
        """Make this site from its archive and the kit alone."""
        words = self.layout.state.parent / "words"
        words.write_text(kit.passphrase)
        settings = self._settings()
        options = ("--config", str(settings), "--kit", str(kit.directory), "--passphrase-file", str(words))
        self._outpost("restore", "--whole", "--state", str(self.layout.state), *options)
        words.unlink()

    def start(self) -> None:
        """Start the processes and wait until edge answers."""
        for name in ("dicom.port", "web.port"):
            (self.layout.edge / name).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, str(ROOT / "outpost.py"), "run", "--state", str(self.layout.state)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), SUPERVISED: str(os.getpid())},
                start_new_session=True,
            )
        self.wait(self.is_up, f"{self.name} is up")

    def stop(self) -> None:
        """End the processes in order; idempotent."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.send_signal(signal.SIGTERM)
            try:
                self._supervisor.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
        self._supervisor = None

    @property
    def supervisor(self) -> int:
        """The process id of `outpost run`."""
        assert self._supervisor is not None
        return self._supervisor.pid

    @property
    def peer(self) -> Peer:
        """The site as others call it. The port is read again each time: a process that was started again may have another."""
        return Peer(AETitle("OUTPOST"), host="127.0.0.1", port=int((self.layout.edge / "dicom.port").read_text()))

    @property
    def web_port(self) -> int:
        return int((self.layout.edge / "web.port").read_text())

    def ask(self, request: Request) -> Iterator[Answer]:
        return asking.ask(self.layout.control, request)

    def studies(self) -> list[Study]:
        return [row for row in self.ask(ListStudies()) if isinstance(row, Study)]

    def is_up(self) -> bool:
        """Whether edge answers and edge-web has said its port. Raises NotRunning while edge is not there."""
        list(self.ask(GetStatus()))
        return (self.layout.edge / "web.port").exists()

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Until something holds, a site that is starting again included; StepFailed when it does not in time, or when the site ended."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except NotRunning:
                pass
            if time.monotonic() > deadline:
                raise StepFailed(f"After {seconds:.0f} s still not: {what}. {self._last_words()}")
            if self._supervisor is not None and self._supervisor.poll() is not None:
                raise StepFailed(f"{self.name} ended with {self._supervisor.returncode} before: {what}. {self._last_words()}")
            time.sleep(0.1)

    def _settings(self) -> Path:
        path = self.layout.state.parent / f"{self.layout.state.name}.toml"
        path.write_text(SETTINGS.format(name=self.name, archive=self._archive))
        return path

    def _outpost(self, *arguments: str) -> str:
        command = [sys.executable, str(ROOT / "outpost.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
        if done.returncode:
            raise StepFailed(f"`outpost {arguments[0]}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "The last lines of its log:\n" + "\n".join(lines[-12:])
