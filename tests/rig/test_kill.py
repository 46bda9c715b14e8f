"""kill -9 of any process at any moment: nothing that was acknowledged is lost, and the work goes on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from edge.control.studies import ListStudies, Study
from edge.demo.instances import Sample, samples
from edge.demo.site import folder
from edge.demo.tour import REAL, Tour
from edge.model import UID
from tests.rig.processes import LooseSite

SEED = 20_261_124
KILLS = 50
SECONDS = 100.0
ROOTS = ("1.2.826.0.1.3680043.8", "1.3.6.1.4.1.5962.1")
"""Of the UIDs in the real studies."""


class Killer(threading.Thread):
    """Kills at random moments until it has killed often enough."""

    def __init__(self, site: LooseSite, kills: int, seconds: float, seed: int) -> None:
        super().__init__(name="killer")
        self._site = site
        self._kills = kills
        self._mean = seconds / kills
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        while self.killed.total() < self._kills and not self._ended.wait(self._random.uniform(0.05, 2 * self._mean - 0.05)):
            self.killed[self._site.kill(self._random)] += 1

    def stop(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def killing(site: LooseSite, kills: int, seconds: float, seed: int) -> Iterator[Killer]:
    killer = Killer(site, kills, seconds, seed)
    killer.start()
    try:
        yield killer
    finally:
        killer.stop()


def fresh(sample: Sample, number: int) -> Sample:
    """A real instance under UIDs of its own, of the same length."""
    dataset, change = sample.dataset, {"sop_instance": sample.sop_instance, "study": sample.study}
    for root in ROOTS:
        tail = f"{100 + number}.1"
        other = root[: -len(tail)] + tail
        dataset = dataset.replace(root.encode(), other.encode())
        change = {name: UID(uid.replace(root, other)) for name, uid in change.items()}
    return replace(sample, dataset=dataset, **change)


class Round(Tour):
    """One round of the demo's steps on sites that stay; its studies are new in each."""

    def begin(self, number: int, real: list[Sample]) -> None:
        self.samples = [fresh(sample, number) for sample in real]

    def go(self) -> None:
        for step in (self.send, self.see, self.code, self.hold, self.evict, self.look_nearline, self.recall):
            step()


def test_nothing_acknowledged_is_lost_whatever_process_is_killed_whenever(
    tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    kills, seconds = (1000, 3000.0) if full else (KILLS, SECONDS)
    tour = Round(tmp_path, Console(file=StringIO()), slices=0)
    tour.archive.mkdir()
    site = tour.clinic = LooseSite("Loose clinic", tmp_path / "clinic", folder(tour.archive))
    real = list(samples(REAL))
    everything: list[Sample] = []
    begun = time.monotonic()
    with tour.workstation:
        try:
            tour.set_up()
            tour.start()
            rounds = 0
            with killing(site, kills, seconds, SEED) as killer:
                while killer.is_alive() and time.monotonic() - begun < seconds + 20:
                    rounds += 1
                    tour.begin(rounds + 1, real)
                    everything += tour.samples
                    tour.go()
            tour.samples = everything
            tour.hold()
            tour.recall()
            site.stop()
            tour.rebuilt.rebuild(tour.kit)
            tour.rebuilt.start()
            tour.rebuilt.wait(lambda: tour.expected.keys() <= tour.found(tour.rebuilt).keys(), "the rebuilt site knows every study")
            tour.workstation.received.clear()
            tour.recall_and_compare(tour.rebuilt, list(tour.expected))
            left = [row for row in tour.rebuilt.ask(ListStudies()) if isinstance(row, Study) and row.stopped]
            assert not left
        finally:
            tour.stop()
    assert killer.killed.total() >= (kills if full else 40)
    with capsys.disabled():
        taken = time.monotonic() - begun
        print(
            f"\n{killer.killed.total()} kills {dict(killer.killed)} in {rounds} rounds, {len(everything)} instances, 0 lost, {taken:.0f} s"
        )
