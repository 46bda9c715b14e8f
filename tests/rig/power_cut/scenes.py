"""What is recorded: everything, or the part of it in which a fault would show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.errors import OutpostError
from tests.rig.power_cut.plant import Plant
from tests.rig.power_cut.workload import Workload

Scene = Callable[[Plant, Workload, Path], None]


def everything(plant: Plant, workload: Workload, fault: Path) -> None:
    plant.start()
    workload.greet()
    workload.round()
    workload.last()


def twice(plant: Plant, workload: Workload, fault: Path) -> None:
    """Everything, and again after a stop in order."""
    plant.start()
    workload.greet()
    workload.round()
    workload.round()
    workload.last()


def receive(plant: Plant, workload: Workload, fault: Path) -> None:
    """Edge alone."""
    plant.start_edge()
    workload.greet()
    workload.receive()
    workload.phase("stop")


def evict(plant: Plant, workload: Workload, fault: Path) -> None:
    """Before anything is held, and after."""
    plant.start()
    workload.greet()
    studies = workload.receive()
    workload.code_and_evict(studies)
    workload.ship(studies)
    workload.phase("evict")
    workload.evict(studies)
    workload.phase("stop")


def failing_write(plant: Plant, workload: Workload, fault: Path) -> None:
    """Edge alone, on a disk that fails to write one of the instances. Edge may end at that."""
    plant.start_edge()
    workload.greet()
    workload.phase("receive")
    workload.send(workload.study(4, 64))
    *before, doomed = workload.study(3, 64)
    middle = len(doomed.dataset) // 2
    fault.write_bytes(doomed.dataset[middle : middle + 24])
    try:
        workload.send([*before, doomed])
    except OutpostError:
        plant.wait(lambda: plant.ended("edge"), "edge has stopped")
    workload.phase("stop")


SCENES: dict[str, Scene] = {
    "everything": everything,
    "twice": twice,
    "receive": receive,
    "evict": evict,
    "failing write": failing_write,
}
