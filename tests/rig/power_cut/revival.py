"""A whole site started on the disk that a power cut left: it serves what it had promised, and goes on."""

from __future__ import annotations

from pathlib import Path

from edge.control.cache import Evict
from edge.demo.workstation import Workstation
from edge.errors import OutpostError
from edge.model import UID
from tests.rig.power_cut.plant import Plant
from tests.rig.power_cut.verdict import Promised


def revive(state: Path, archive: Path, promised: Promised, place: Path) -> list[str]:
    """Start it, have everything moved out, wait until all is held, evict all, have everything moved out again: what was not right."""
    plant = Plant(state, archive)
    plant.log = place / "revival.log"
    plant.point_at(archive)
    studies = {study for study, _, _ in promised.stored}
    with Workstation() as workstation:
        try:
            plant.start()
            plant.introduce(workstation)
            faults = _missing(plant, workstation, promised, "after the start")
            plant.wait(lambda: all(row.held == row.packs for row in plant.studies() if row.study in studies), "everything is held")
            list(plant.ask(Evict()))
            return faults + _missing(plant, workstation, promised, "from the archive")
        except OutpostError as fault:
            return [f"the site does not go on: {fault} {plant.last_words()}"]
        finally:
            plant.stop()


def _missing(plant: Plant, workstation: Workstation, promised: Promised, when: str) -> list[str]:
    workstation.received.clear()
    for study in sorted({study for study, _, _ in promised.stored}):
        for _ in workstation.move(plant.peer, UID(study)):
            pass
    wanted: dict[str, set[str]] = {}
    for _, uid, digest in promised.stored:
        wanted.setdefault(uid, set()).add(digest)
    received = workstation.received
    return [f"LOST: instance {uid} does not come {when}" for uid, digests in wanted.items() if not received.get(UID(uid), set()) & digests]
