"""EIO and ENOSPC at each system call of the commit path in turn: no false success, no corrupt catalogue, service back by itself."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.config import Layout
from edge.control import asking
from edge.control.peers import PutPeer
from tests.dataset.datasets import dataset
from tests.dimse.raw import RawPeer
from tests.rig.injection import failing, strace
from tests.servers import ROOT, answers, until

ERRORS = ("EIO", "ENOSPC")
SYSCALLS = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "write", "mkdir", "unlink")
"""Those of a pack, of the catalogue and its log, and of closing: whatever reception does to the disk until a pack is closed."""
SAMPLE = (1, 3)
"""Which calls of each kind fail in the short run; in the long one, every one until none is left."""
INSTANCES = 3
CLOSING_SECONDS = 1.0
BACK_SECONDS = 30.0
FAILED = {70, 75}
"""How edge may end: a failed disk, or a full one that a background task met."""
SETTINGS = """\
[dicom]
host = "127.0.0.1"
port = 0
[cache]
reserve_bytes = 0
ballast_bytes = 0
quiet_seconds = 0.2
stat_quiet_seconds = 0.2
outbox_max_bytes = 1
"""


@dataclass(slots=True)
class Kept:
    """An edge process that is started again whenever it ends, as `outpost run` and systemd do."""

    layout: Layout
    exits: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _ending: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start it, and let the rig's sender in."""
        self._thread = threading.Thread(target=self._keep, name="supervisor")
        self._thread.start()
        until(lambda: answers(self.layout.control), "edge answers requests")
        list(asking.ask(self.layout.control, PutPeer(ae_title="TEST")))

    def stop(self) -> None:
        self._ending = True
        if self.process is not None:
            self.process.terminate()
        if self._thread is not None:
            self._thread.join()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        return int((self.layout.edge / "dicom.port").read_text())

    def _keep(self) -> None:
        command = [sys.executable, "-m", "edge", "--state", str(self.layout.state)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.layout.state / "edge.log").open("ab") as log:
            while not self._ending:
                for left in ("dicom.port", "control"):
                    (self.layout.edge / left).unlink(missing_ok=True)
                self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
                self.exits.append(self.process.wait())


@dataclass(slots=True)
class Sweep:
    """What was sent and what was said, over all points."""

    kept: Kept
    place: Path
    study: int = 0
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    points: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """What the faults came to."""
    slowest: float = 0.0

    def point(self, syscall: str, error: str, when: int) -> bool:
        """One fault; whether there was a call to fail."""
        wanted = self.instances()
        exits = len(self.kept.exits)
        with failing(self.kept.pid, syscall, error, when, self.place / "trace") as injection:
            statuses = self.send(wanted)
            self.quiet(exits)
        for instance, status in statuses.items():
            if status == 0:
                self.acknowledged[instance] = wanted[instance]
        self.back(wanted)
        hit, failed_stop = injection.hits > 0, len(self.kept.exits) > exits
        assert self.missing() == [], (syscall, error, when, injection.where)
        if hit:
            where = f"{error} at {syscall} {when}: {injection.where}"
            self.points[f"{error} at {syscall}"] += 1
            self.counts[
                f"{error}, fail-stop" if failed_stop else f"{error}, refused" if any(statuses.values()) else f"{error}, passed"
            ] += 1
            assert all(code in FAILED for code in self.kept.exits[exits:]), (where, self.kept.exits[exits:])
            if not failed_stop:
                assert None not in statuses.values(), f"{where}: the association was not kept"
                assert set(statuses.values()) <= {0, 0xA700}, (where, statuses)
        return hit

    def back(self, left: dict[str, bytes]) -> None:
        """Send what was not acknowledged until it is: the service is back by itself."""
        begin = time.monotonic()

        def stored() -> bool:
            statuses = self.send(
                {instance: data for instance, data in left.items() if instance not in self.acknowledged} or self.instances()
            )
            self.acknowledged |= {instance: left[instance] for instance, status in statuses.items() if status == 0 and instance in left}
            return set(statuses.values()) == {0}

        until(stored, "instances are stored again", BACK_SECONDS)
        self.slowest = max(self.slowest, time.monotonic() - begin)

    def instances(self) -> dict[str, bytes]:
        """A study that is new."""
        self.study += 1
        study = f"1.2.7.{self.study}"
        uids = [f"{study}.1.{number}" for number in range(1, INSTANCES + 1)]
        return {uid: dataset(study=study, series=f"{study}.1", instance=uid, pixels=os.urandom(30_000)) for uid in uids}

    def send(self, wanted: dict[str, bytes]) -> dict[str, int | None]:
        """The status of each instance over one association; None where it ended before."""
        statuses: dict[str, int | None] = dict.fromkeys(wanted)
        if not wanted:
            return statuses
        with suppress(OSError, AssertionError, ValueError), RawPeer(self.kept.port) as peer:
            peer.associate()
            for instance, data in wanted.items():
                statuses[instance] = peer.store(instance, data)
            peer.release()
        return statuses

    def quiet(self, exits: int) -> None:
        """Until the study is closed, or edge ended, or a full disk keeps it open."""
        deadline = time.monotonic() + CLOSING_SECONDS
        while time.monotonic() < deadline and len(self.kept.exits) == exits and any(self.kept.layout.open_packs.iterdir()):
            time.sleep(0.02)

    def missing(self) -> list[str]:
        """Acknowledged instances that do not lie, bit for bit, where the catalogue says; the catalogue is sound."""
        layout = self.kept.layout
        with closing(sqlite3.connect(f"file:{layout.catalogue}?mode=ro", uri=True)) as catalogue:
            assert catalogue.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            rows = catalogue.execute("SELECT uid, pack, dataset_offset, dataset_length FROM instance WHERE here = 1").fetchall()
        where = {uid: (pack, offset, length) for uid, pack, offset, length in rows}
        return [uid for uid, data in self.acknowledged.items() if uid not in where or not _holds(layout, *where[uid], data)]


def _holds(layout: Layout, pack: str, offset: int, length: int, data: bytes) -> bool:
    for path in (layout.open_packs / f"{pack}.tar", layout.cached(pack)):
        with suppress(FileNotFoundError), path.open("rb") as file:
            return hashlib.sha256(os.pread(file.fileno(), length, offset)).digest() == hashlib.sha256(data).digest()
    return False


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    strace()
    layout = Layout(tmp_path / "state")
    for directory in (layout.edge, layout.cloudsync):
        directory.mkdir(parents=True)
    layout.config.write_text(SETTINGS)
    kept = Kept(layout)
    try:
        kept.start()
        made = Sweep(kept, tmp_path)
        made.back(made.instances())
        yield made
    finally:
        kept.stop()


def test_no_fault_of_the_disk_makes_a_false_success(sweep: Sweep, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    for error in ERRORS:
        for syscall in SYSCALLS:
            for when in range(1, 10_000) if full else SAMPLE:
                if not sweep.point(syscall, error, when):
                    break
    with capsys.disabled():
        taken = time.monotonic() - begin
        print(f"\n{sweep.points.total()} faults of the disk: {dict(sweep.points)}; {dict(sweep.counts)}")
        print(f"{len(sweep.acknowledged)} instances acknowledged, 0 missing; back after {sweep.slowest:.1f} s at most; {taken:.0f} s")
