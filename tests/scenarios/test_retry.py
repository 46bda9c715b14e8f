"""What waits for a person goes on at a person's word, and reaches the archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudsync.seal import keys
from edge.control.queue import Dropped, DropStudy, ListQueue, Queued
from edge.control.status import GetStatus, Status
from edge.control.studies import ListStudies, Retried, RetryStudies, Study
from edge.demo.instances import samples
from edge.demo.tour import REAL
from tests.rig.processes import LooseSite
from tests.scenarios.conftest import Clinic


@pytest.fixture
def loose(tmp_path: Path) -> Iterator[Clinic]:
    """A clinic whose processes are started one by one; cloudsync does not run yet."""
    clinic = Clinic(tmp_path / "site", kind=LooseSite)
    clinic.workstation.__enter__()
    clinic.site.start_one("edge")
    clinic.site.wait(lambda: bool(list(clinic.site.ask(GetStatus()))), "edge answers")
    clinic.introduce(clinic.site)
    yield clinic
    clinic.close()


def status(clinic: Clinic) -> Status:
    (found,) = clinic.site.ask(GetStatus())
    assert isinstance(found, Status)
    return found


def row_of(clinic: Clinic, study: str) -> Study:
    (row,) = clinic.site.ask(ListStudies(study=study))
    assert isinstance(row, Study)
    return row


def send_one(clinic: Clinic) -> str:
    """Send a study, and wait until it lies in the outbox."""
    real = list(samples(REAL))
    study = min(sample.study for sample in real)
    clinic.workstation.send(clinic.site.peer, [sample for sample in real if sample.study == study], lambda _: None)
    clinic.site.wait(lambda: row_of(clinic, study).coded == 1, "the pack lies in the outbox")
    return study


def test_a_pack_that_was_spoiled_in_the_outbox_is_coded_anew_and_held(loose: Clinic) -> None:
    study = send_one(loose)
    (pack,) = (path.name for path in loose.site.layout.outbox.iterdir() if len(path.name) == 26)
    (loose.site.layout.outbox / pack / "000001").write_bytes(b"spoiled")
    loose.site.start_one("cloudsync")
    loose.site.wait(lambda: row_of(loose, study).stopped is not None, "the pack is stopped")
    assert "outpost queue" in status(loose).sentence
    assert status(loose).lamp == "red"
    (queued,) = loose.site.ask(ListQueue())
    assert isinstance(queued, Queued)
    assert (queued.study, queued.state) == (study, "stopped")
    assert "it is not what was asked to be shipped" in queued.why
    assert list(loose.site.ask(DropStudy(study=study, reason="It is a phantom"))) == [Dropped(study=study, packs=1)]
    assert status(loose).sentence.endswith("1 study stays here only, as somebody decided: `outpost queue` says why.")
    assert status(loose).lamp == "amber"
    assert list(loose.site.ask(RetryStudies(study=study))) == [Retried(pack=pack, study=study, coded_anew=True)]
    loose.wait_held()
    assert status(loose).lamp == "green"
    loose.evict()
    last = list(loose.workstation.move(loose.site.peer, study))[-1]
    assert (last.status, last.failed) == (0, 0)


def test_a_pack_whose_name_in_the_archive_is_taken_goes_on_under_another(loose: Clinic) -> None:
    study = send_one(loose)
    (pack,) = (path.name for path in loose.site.layout.outbox.iterdir() if len(path.name) == 26)
    taken = loose.archive / keys.load(loose.site.layout.keys).site_id / "p" / pack / "000001"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"of somebody else")
    loose.site.start_one("cloudsync")
    loose.site.wait(lambda: row_of(loose, study).stopped is not None, "the pack is stopped")
    assert list(loose.site.ask(RetryStudies())) == [Retried(pack=pack, study=study, coded_anew=False)]
    loose.wait_held()
    assert taken.read_bytes() == b"of somebody else"
    loose.evict()
    last = list(loose.workstation.move(loose.site.peer, study))[-1]
    assert (last.status, last.failed) == (0, 0)
