"""edge.routes: what no destination is to blame for ends no route."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.destinations import Told
from edge.dimse.ports import Retrieval
from tests.servers import until
from tests.test_routes import ALL, Fake, arrive, boxed


class Faulty(Fake):
    """Raises a fault at the first try."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.faults = [fault]

    def send(self, retrieval: Retrieval, outcome: Told) -> None:
        if self.faults:
            raise self.faults.pop()
        super().send(retrieval, outcome)


@pytest.mark.parametrize("fault", [OSError(24, "Too many open files"), MemoryError(), ValueError("a mistake of ours")], ids=repr)
def test_a_route_that_meets_a_fault_of_ours_is_shown_and_begins_anew(tmp_path: Path, fault: Exception) -> None:
    pacs = Faulty(fault)
    with boxed(tmp_path, {"all": pacs}) as ours:
        uid = arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: len(ours.routes.notices()) == 1, "it is shown")
        assert type(fault).__name__ in ours.routes.notices()[0]
        assert ours.routes.retry("all")
        until(ours.settled("all"), "it is sent")
        assert pacs.got == [uid]
        until(lambda: ours.routes.notices() == [], "nothing is shown any more")
