"""`python -m tests.rig.power_cut base|run`, inside mounts.ALONE: make a disk with a site, or use it and cut its power."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from edge.demo.workstation import Workstation
from tests.rig.power_cut import mounts
from tests.rig.power_cut.notes import Notes
from tests.rig.power_cut.plant import make_base, on_disk
from tests.rig.power_cut.scenes import SCENES, Scene
from tests.rig.power_cut.workload import Workload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("base", "run"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--place", type=Path, help="a directory that is there, and empty")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scene", choices=SCENES, default="everything")
    parser.add_argument("--mutant", help="what edge is started with")
    parser.add_argument("--replay-mutant", help="what looks at the disks")
    given, choice = parser.parse_known_args()
    if given.what == "base":
        with mounts.memory() as memory:
            make_base(given.base, memory)
        return 0
    with mounts.memory() as memory:
        record(given.base, memory, given.mutant, SCENES[given.scene], given.seed)
        mutant = ["tests.rig.mutants", given.replay_mutant] if given.replay_mutant else []
        where = ["--base", str(given.base), "--memory", str(memory), "--place", str(given.place), "--seed", str(given.seed)]
        return subprocess.run(mounts.python(*mutant, "tests.rig.power_cut.replay", *where, *choice)).returncode


def record(base: Path, memory: Path, mutant: str | None, scene: Scene, seed: int) -> None:
    """Leave a tape and an archive in `memory`."""
    image = memory / "disk.img"
    shutil.copyfile(base / "base.img", image)
    with (
        mounts.taped(image, memory / "tape", memory / "fuse") as fuse,
        mounts.mounted(fuse / "disk", memory / "live") as disk,
        on_disk(disk, base, memory, mutant, fuse / "notes") as plant,
        Workstation() as workstation,
        closing(Notes(fuse / "notes")) as notes,
    ):
        try:
            scene(plant, Workload(plant, notes, workstation, seed), fuse / "fault")
        except BaseException:
            print(plant.last_words(), file=sys.stderr)
            raise


if __name__ == "__main__":
    sys.exit(main())
