"""A catalogue that is lost is made again, by a command while Outpost is stopped, and by a start alone; nothing is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.control.cache import Evict
from edge.control.status import GetStatus, Status
from edge.control.studies import Study
from edge.demo.instances import Sample, samples
from edge.demo.phantom import phantom
from edge.demo.tour import REAL
from tests.dumps import dump
from tests.scenarios.conftest import Clinic
from tests.scenarios.test_run import outpost


def known(row: Study) -> dict[str, Any]:
    """What a study is, but for what is progress."""
    return {
        name: getattr(row, name)
        for name in ("study", "patient", "attributes", "received_at", "series", "instances", "packs", "held", "away")
    }


def fill(clinic: Clinic) -> list[Sample]:
    """Studies that are held, one of them evicted."""
    sent = [*samples(REAL), *phantom(4, 64)]
    clinic.workstation.send(clinic.site.peer, sent, lambda _: None)
    list(clinic.site.ask(Evict(study=clinic.wait_held()[0].study)))
    return sent


def all_comes_back(clinic: Clinic, sent: list[Sample]) -> None:
    for study in {sample.study for sample in sent}:
        last = list(clinic.workstation.move(clinic.site.peer, study))[-1]
        assert (last.status, last.failed) == (0, 0)
    assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in sent}


def status(clinic: Clinic) -> Status:
    (found,) = clinic.site.ask(GetStatus())
    assert isinstance(found, Status)
    return found


def test_the_command_makes_it_again_while_outpost_is_stopped(clinic: Clinic) -> None:
    sent = fill(clinic)
    state = str(clinic.site.layout.state)
    refused = outpost("catalogue", "rebuild", "--state", state)
    assert refused.returncode == 3
    assert "Stop it first" in refused.stderr
    before = {row.study: known(row) for row in clinic.site.studies()}
    clinic.site.stop()
    rows = dump(clinic.site.layout.catalogue)
    done = outpost("catalogue", "rebuild", "--state", state, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of {len(before)} packs" in done.stderr
    assert f"{len(before)} packs with {len(sent)} instances" in done.stdout
    again = dump(clinic.site.layout.catalogue)
    assert again["instance"] == rows["instance"]
    assert again["holding"] == []
    clinic.site.start()
    clinic.wait_held()
    assert {row.study: known(row) for row in clinic.site.studies()} == before
    assert not status(clinic).notices
    all_comes_back(clinic, sent)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xa5" * 8192)]
)
def test_a_start_makes_it_again_by_itself_and_says_so(clinic: Clinic, spoil: Callable[[Path], object]) -> None:
    sent = fill(clinic)
    before = {row.study: known(row) for row in clinic.site.studies()}
    clinic.site.stop()
    spoil(clinic.site.layout.catalogue)
    clinic.site.start()
    clinic.wait_held()
    assert {row.study: known(row) for row in clinic.site.studies()} == before
    clinic.site.wait(lambda: len(status(clinic).notices) == 1, "the holdings are told")
    assert "was made again from" in status(clinic).notices[0]
    assert '"kind":"catalogue-rebuilt"' in "".join(path.read_text() for path in sorted(clinic.site.layout.audit.glob("*.jsonl")))
    all_comes_back(clinic, sent)
