"""edge.intake in a process at its limits: an instance is refused for now, nothing of it stays, and Outpost goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.dimse.ports import Outcome
from edge.errors import Exhausted
from tests.dataset.datasets import dataset
from tests.limits import no_descriptors
from tests.test_intake import INSTANCE, Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.catalogue.close()


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize(
    ("data", "outcome"),
    [(dataset(instance=INSTANCE), Outcome.STORED), (b"nothing of the kind", Outcome.UNIDENTIFIED)],
    ids=["for a pack", "for quarantine"],
)
def test_an_instance_that_no_descriptor_is_left_for_is_refused_for_now(box: Box, left: int, data: bytes, outcome: Outcome) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with no_descriptors(but=left), pytest.raises(Exhausted):
        box.store(data)
    assert len(os.listdir("/proc/self/fd")) == before
    assert [*box.layout.open_packs.iterdir(), *box.layout.quarantine.iterdir()] == []
    assert box.stops == []
    assert box.store(data) is outcome
