"""A site on the disk, its processes started by whoever cuts the power; edge may be a mutant (tests.rig.mutants)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.control.peers import PutPeer
from edge.control.status import GetStatus
from edge.demo.site import SETTINGS, Site, folder
from edge.demo.workstation import Workstation
from edge.durable import write_whole
from edge.process import SUPERVISED
from tests.rig.power_cut import mounts
from tests.servers import ROOT, until

FASTER = {"quiet_seconds = 2": "quiet_seconds = 0.4", "poll_seconds = 0.5": "poll_seconds = 0.1"}
STOP_SECONDS = 30.0


class Plant(Site):
    """Edge and cloudsync of one state directory. `mutants` are names by process; `notes` are told what comes into the archive."""

    def __init__(self, state: Path, archive: Path, mutants: dict[str, str] | None = None, notes: Path | None = None) -> None:
        super().__init__("Plant", state, folder(archive))
        self.archive = archive
        self._modules = {"edge": ["edge"], "cloudsync": ["tests.rig.power_cut.archiving", str(notes)] if notes else ["cloudsync"]}
        for name, mutant in (mutants or {}).items():
            self._modules[name] = ["tests.rig.mutants", mutant, name]
        self.tracer: list[str] = []
        """Stands before the command of edge."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def is_up(self) -> bool:
        list(self.ask(GetStatus()))
        return True

    def start(self) -> None:
        self.start_edge()
        self.start_one("cloudsync")

    def start_edge(self) -> None:
        (self.layout.edge / "dicom.port").unlink(missing_ok=True)
        self.start_one("edge")
        self.wait(self.is_up, "edge is up")

    def start_one(self, name: str) -> None:
        command = mounts.python(*self._modules[name], "--state", str(self.layout.state))
        command = [*self.tracer, *command] if name == "edge" else command
        environment = {**os.environ, "PYTHONPATH": str(ROOT), SUPERVISED: str(os.getpid())}
        with self.log.open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def stop(self) -> None:
        for name in [*self._running]:
            process = self._running.pop(name)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ended(self, name: str) -> bool:
        return self._running[name].poll() is not None

    def last_words(self) -> str:
        return self._last_words()

    def introduce(self, workstation: Workstation) -> None:
        """Make the workstation a peer that may do everything."""
        rights = ["store", "find", "move", "get", "commit"]
        list(self.ask(PutPeer(ae_title=workstation.ae_title, host="127.0.0.1", port=workstation.port, rights=rights)))

    def point_at(self, archive: Path) -> None:
        """Its archive is here from now on."""
        text = re.sub(r"(?m)^path = .*$", lambda _: folder(archive).splitlines()[1], self.layout.config.read_text())
        write_whole(self.layout.config, text.encode())
        self.archive = archive

    def _settings(self) -> Path:
        path = super()._settings()
        text = path.read_text()
        for slow, fast in FASTER.items():
            assert slow in SETTINGS
            text = text.replace(slow, fast)
        path.write_text(text)
        return path


def make_base(place: Path, memory: Path) -> None:
    """`base.img` with a site that was set up, started and stopped once, and its `archive`, below `place`."""
    image, archive = place / "base.img", place / "archive"
    mounts.make(image)
    archive.mkdir()
    with mounts.mounted(image, memory / "disk") as disk:
        plant = Plant(disk / "state", archive)
        plant.log = place / "base.log"
        plant.set_up(place / "kit")
        (disk / "state.toml").unlink()
        plant.start()
        try:
            with Workstation() as workstation:
                plant.introduce(workstation)
            until(lambda: any(archive.glob("*/c/0/*")), "site state is in the archive")
        finally:
            plant.stop()


@contextmanager
def on_disk(disk: Path, base: Path, place: Path, mutant: str | None, notes: Path) -> Iterator[Plant]:
    """The site of a base on a mounted copy of its image, with a copy of its archive at `place`."""
    archive = place / "archive"
    shutil.copytree(base / "archive", archive)
    plant = Plant(disk / "state", archive, {"edge": mutant} if mutant else {}, notes)
    plant.log = place / "plant.log"
    plant.point_at(archive)
    try:
        yield plant
    finally:
        plant.stop()
