"""Cuts of the power at random places of a tape, each followed by a start and a look. Played again from its seed, it does the same.

`python -m tests.rig.power_cut.replay --seed N ...` looks at the tape that a run left; a mutant of the start looks with its own eyes
(tests.rig.mutants).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge.config import Layout
from tests.rig.power_cut import mounts
from tests.rig.power_cut.disk import FLUSH
from tests.rig.power_cut.revival import revive
from tests.rig.power_cut.shelf import Shelf
from tests.rig.power_cut.tape import Platter, Tape
from tests.rig.power_cut.verdict import Promised, judge


@dataclass(frozen=True, slots=True)
class Choice:
    """Where to cut, and what for."""

    seed: int
    cuts: int
    revivals: int = 0
    """So many of the cuts are followed by a start of the whole site."""
    phases: tuple[str, ...] = ()
    """Cut in these alone; empty = in all."""
    first: bool = False
    """End at the first failure."""


@dataclass(slots=True)
class Report:
    """What came of a replay."""

    cuts: dict[str, int] = field(default_factory=dict)
    """By phase."""
    revived: int = 0
    acknowledged: int = 0
    """Instances, before the last cut."""
    records: int = 0
    flushes: int = 0
    failures: list[str] = field(default_factory=list)

    @staticmethod
    def read(path: Path) -> Report:
        return Report(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


class Replay:
    """Of one tape, in a place of its own; the disks of failures are kept in another."""

    def __init__(self, tape: Tape, base: Path, archive: Path, place: Path, kept: Path) -> None:
        self._tape = tape
        self._platter = Platter(base, tape)
        self._shelf = Shelf(archive, objects(base.parent / "archive"))
        self._place = place
        self._kept = kept

    def run(self, choice: Choice) -> Report:
        chance = random.Random(choice.seed)
        cuts = places(self._tape, choice, chance)
        revived = set(chance.sample(range(len(cuts)), min(choice.revivals, len(cuts))))
        report = Report(records=len(self._tape.records), flushes=sum(one.kind == FLUSH for one in self._tape.records))
        for number, (cut, phase) in enumerate(cuts):
            promised = promised_before(self._tape, cut)
            report.cuts[phase] = report.cuts.get(phase, 0) + 1
            report.acknowledged = len(promised.stored)
            report.revived += number in revived
            faults = self._look(choice.seed, cut, promised, number in revived)
            if faults:
                kept = self._kept / f"cut-{choice.seed}-{cut}.img"
                kept.write_bytes(self._disk(choice.seed, cut))
                report.failures += (f"seed {choice.seed}, cut {cut} ({phase}), its disk is {kept}: {fault}" for fault in faults)
                if choice.first:
                    break
        return report

    def _disk(self, seed: int, cut: int) -> bytearray:
        """What survives depends on the seed and the place alone, whatever else is cut."""
        return self._platter.at(cut, random.Random(f"{seed} {cut}"))

    def _look(self, seed: int, cut: int, promised: Promised, whole: bool) -> list[str]:
        image, archive, put = self._place / "crash.img", self._place / "crash archive", set(self._tape.notes_before(cut, "put"))
        image.write_bytes(self._disk(seed, cut))
        try:
            with mounts.mounted(image, self._place / "crash") as disk:
                faults = judge(Layout(disk / "state"), promised, lambda pack: self._shelf.has(pack, put))
                if whole and not faults:
                    self._shelf.copy(archive, put)
                    faults = revive(disk / "state", archive, promised, self._place)
                    shutil.rmtree(archive)
                return faults
        except OSError as fault:
            return [f"the disk cannot be used: {fault}"]


def places(tape: Tape, choice: Choice, chance: random.Random) -> list[tuple[int, str]]:
    """Where to cut, with the phase, in order: as often in each phase, or wherever it can be cut."""
    phases = {name: found for name, found in tape.phases().items() if not choice.phases or name in choice.phases}
    share = -(-choice.cuts // len(phases))
    return sorted((cut, name) for name, found in phases.items() for cut in (found if len(found) < share else chance.sample(found, share)))


def objects(archive: Path) -> set[str]:
    return {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}


def promised_before(tape: Tape, cut: int) -> Promised:
    return Promised(
        stored={(study, uid, digest) for study, uid, digest in tape.notes_before(cut, "stored")},
        committed={(study, uid) for study, uids in tape.notes_before(cut, "committed") for uid in uids},
        asked=set(tape.notes_before(cut, "asked")),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--memory", type=Path, required=True)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--revivals", type=int, default=0)
    parser.add_argument("--phase", action="append", default=[])
    parser.add_argument("--first", action="store_true")
    given = parser.parse_args()
    replay = Replay(Tape(given.memory / "tape"), given.base / "base.img", given.memory / "archive", given.memory, given.place)
    replay.run(Choice(given.seed, given.cuts, given.revivals, tuple(given.phase), given.first)).write(given.place / "report.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
