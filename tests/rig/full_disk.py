"""A clinic whose disk runs full twice: one run of tests.rig.test_full_disk.

`python -m tests.rig.full_disk DISK-BYTES REPORT`, inside tests.rig.power_cut.mounts.ALONE. The whole state directory lies on a tmpfs of
that size; the archive does not. The first time the archive cannot be reached, and nothing is held. The second time what is held is pinned,
and another program takes what Outpost keeps free, to the last byte.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from edge.control.cache import PinStudy, UnpinStudy
from edge.demo.instances import Sample
from edge.demo.phantom import phantom
from edge.demo.workstation import Memory
from edge.dimse import scu, status
from edge.dimse.association import Association
from edge.dimse.classes import VERIFICATION
from edge.dimse.negotiation import propose
from edge.dimse.requestor import Requestor
from edge.model import UID, Digest
from tests.rig.power_cut import mounts
from tests.scenarios.conftest import Clinic

SLICES, SIZE = 3, 384
REFUSALS = 5
"""How often an association is refused before something is done about the disk."""
PATIENCE_SECONDS = 120.0
_IMPLICIT_LE = UID("1.2.840.10008.1.2")


class Report(msgspec.Struct):
    """What came of it. The figures of a list are of the first time and of the second."""

    acknowledged: int
    bytes: int
    """Of the datasets that were acknowledged."""
    refused: list[int]
    free: list[int]
    """Bytes on the disk when instances were refused, and when the other program had taken them and the ballast was given up."""
    evicted: list[int]
    """Packs that the archive alone had when instances were taken again."""
    recalled: int
    """Instances that the archive alone had when all were asked for."""
    missing: list[str]
    ended: list[str]
    """What the supervisor said of processes that ended and were started again."""


class Run:
    """One clinic, and what it acknowledged."""

    def __init__(self, clinic: Clinic, disk_bytes: int) -> None:
        self._clinic = clinic
        self._disk_bytes = disk_bytes
        self._state = clinic.site.layout.state
        self._samples = (sample for run in range(1, 10_000) for sample in phantom(SLICES, SIZE, run))
        self._acknowledged: dict[UID, dict[UID, Digest]] = {}
        """By study and instance."""
        self._bytes = 0

    def run(self) -> Report:
        clinic, site = self._clinic, self._clinic.site
        refused: list[int] = []
        free: list[int] = []
        evicted: list[int] = []
        with self._association() as association:
            with self._unplugged():
                left = self._fill(association, refused)
                free.append(self._free())
            self._resume(association, left)
            while self._bytes < self._disk_bytes:
                self._resume(association, [next(self._samples)])
            evicted.append(self._evicted())
            while sum(row.raw_bytes for row in site.studies() if row.here) < self._disk_bytes // 3:  # more than reserve and ballast
                self._resume(association, [next(self._samples)])
            clinic.wait_held(PATIENCE_SECONDS)
            pinned = [row.study for row in site.studies() if row.here]
            for study in pinned:
                list(site.ask(PinStudy(study=study)))
            with self._unplugged():
                left = self._fill(association, refused)
                site.wait(self._take_all, "the ballast is given up")
                free.append(self._free())
                for study in pinned:
                    list(site.ask(UnpinStudy(study=study)))
                self._resume(association, left)
                evicted.append(self._evicted() - evicted[0])
        self._other.unlink()
        clinic.wait_held(PATIENCE_SECONDS)
        away = {row.study for row in site.studies() if not row.here}
        for study in self._acknowledged:
            site.wait(lambda study=study: self._comes_back(study), f"study {study} comes back", PATIENCE_SECONDS)
        self._check_catalogue()
        return Report(
            acknowledged=sum(map(len, self._acknowledged.values())),
            bytes=self._bytes,
            refused=refused,
            free=free,
            evicted=evicted,
            recalled=sum(len(self._acknowledged[UID(study)]) for study in away),
            missing=[uid for study in self._acknowledged for uid in self._missing(study)],
            ended=[line for line in site.log.read_text().splitlines() if "is started again" in line],
        )

    @contextmanager
    def _unplugged(self) -> Iterator[None]:
        """The archive cannot be reached."""
        mark, away = self._clinic.archive / ".outpost-archive", self._clinic.archive / "unplugged"
        mark.rename(away)
        yield
        away.rename(mark)

    @contextmanager
    def _association(self) -> Iterator[Association]:
        first = next(iter(phantom(1, SIZE)))
        contexts = propose([(first.sop_class, (first.transfer_syntax,)), (VERIFICATION, (_IMPLICIT_LE,))])
        with Requestor().association(self._clinic.site.peer, self._clinic.workstation.ae_title, contexts) as association:
            yield association

    def _fill(self, association: Association, refused: list[int]) -> list[Sample]:
        """Send until some are refused, all on one association, and find it in order then; those."""
        left: list[Sample] = []
        while len(left) < REFUSALS:
            sample = next(self._samples)
            if not self._store(association, sample):
                left.append(sample)
        assert scu.echo(association) == status.SUCCESS
        refused.append(len(left))
        return left

    def _resume(self, association: Association, left: list[Sample]) -> None:
        """On the association that was refused: each is sent until it is taken."""
        for sample in left:
            self._clinic.site.wait(lambda sample=sample: self._store(association, sample), "instances are taken again", PATIENCE_SECONDS)

    def _store(self, association: Association, sample: Sample) -> bool:
        """Whether it is acknowledged; if not, it is for want of room."""
        code = scu.store(association, sample.sop_class, sample.sop_instance, sample.transfer_syntax, Memory(sample.dataset))
        if code == status.SUCCESS:
            self._acknowledged.setdefault(sample.study, {})[sample.sop_instance] = sample.digest
            self._bytes += len(sample.dataset)
        else:
            assert code == status.OUT_OF_RESOURCES, f"{code:04X}"
        return code == status.SUCCESS

    @property
    def _other(self) -> Path:
        return self._state / "what another program writes"

    def _take_all(self) -> bool:
        """Another program takes every byte that is free, until the ballast is given up; whether it is."""
        free = self._free()
        if not self._clinic.site.layout.ballast.exists():  # nothing of it is in what was free before
            return True
        with self._other.open("ab") as file, suppress(OSError):  # somebody else was quicker
            if free:
                os.posix_fallocate(file.fileno(), file.tell(), free)
        return False

    def _free(self) -> int:
        found = os.statvfs(self._state)
        return found.f_bavail * found.f_frsize

    def _evicted(self) -> int:
        return sum(row.packs - row.here for row in self._clinic.site.studies())

    def _comes_back(self, study: UID) -> bool:
        """Have what is not back yet of a study moved to the workstation; whether all of it is."""
        if self._missing(study):
            list(self._clinic.workstation.move(self._clinic.site.peer, study))
        return not self._missing(study)

    def _missing(self, study: UID) -> list[UID]:
        received = self._clinic.workstation.received
        return [uid for uid, digest in self._acknowledged[study].items() if received.get(uid) != {digest}]

    def _check_catalogue(self) -> None:
        with closing(sqlite3.connect(f"file:{self._clinic.site.layout.catalogue}?mode=ro", uri=True)) as catalogue:
            assert catalogue.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def main() -> None:
    disk, report = int(sys.argv[1]), Path(sys.argv[2])
    with mounts.memory() as place, mounts.memory(place / "clinic", disk):
        clinic = Clinic(place)
        config = clinic.site.layout.config
        text = config.read_text()
        for key, value in (("quiet_seconds", 0.5), ("reserve_bytes", disk // 6), ("ballast_bytes", disk // 24)):
            text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        text = text.replace("[link]", "[link]\nbackoff_max_seconds = 1").replace("[dicom]", "[dicom]\nidle_seconds = 600")
        config.write_text(text)
        try:
            clinic.open()
            made = Run(clinic, disk).run()
        finally:
            clinic.close()
        report.write_bytes(msgspec.json.encode(made))


if __name__ == "__main__":
    main()
