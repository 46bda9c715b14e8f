"""What is planted in the outbox or the inbox is refused and reported, and nothing is read through it."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.code.manifest import read_head
from edge.control.status import GetStatus, Status
from edge.control.studies import Study
from edge.demo.instances import Sample, samples
from edge.demo.tour import REAL
from edge.dimse.scu import Progress
from edge.journal import Here, JournalWriter
from tests.rig.processes import LooseSite
from tests.scenarios.conftest import Clinic

SECRET = b"the key that must not leave this machine " * 4000


def symbolic_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


def hard_link(place: Path, secret: Path) -> None:
    os.link(secret, place)


def fifo(place: Path, secret: Path) -> None:
    os.mkfifo(place)


def device(place: Path, secret: Path) -> None:
    if os.geteuid() != 0:
        reason = "making a device node needs root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))


PLANTS = [symbolic_link, hard_link, fifo, device]


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


def two_studies() -> tuple[list[Sample], list[Sample]]:
    real = list(samples(REAL))
    first, second = sorted({sample.study for sample in real})[:2]
    return [sample for sample in real if sample.study == first], [sample for sample in real if sample.study == second]


def refusals(clinic: Clinic) -> list[str]:
    (status,) = clinic.site.ask(GetStatus())
    assert isinstance(status, Status)
    return status.refusals


def row_of(clinic: Clinic, study: str) -> Study:
    (row,) = (row for row in clinic.site.studies() if row.study == study)
    return row


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_the_outbox_is_refused_and_reported_and_the_others_go_on(
    loose: Clinic, plant: Callable[[Path, Path], None]
) -> None:
    secret = loose.place / "secret.key"
    secret.write_bytes(SECRET)
    one, other = two_studies()
    loose.workstation.send(loose.site.peer, one, lambda _: None)
    loose.site.wait(lambda: row_of(loose, one[0].study).coded == 1, "the pack lies in the outbox")
    (pack,) = (path.name for path in loose.site.layout.outbox.iterdir() if len(path.name) == 26)
    victim = loose.site.layout.outbox / pack / "000001"
    victim.unlink()
    plant(victim, secret)
    loose.site.start_one("cloudsync")
    loose.site.wait(lambda: row_of(loose, one[0].study).stopped is not None, "the pack is stopped")
    assert any(pack in refusal and "000001" in refusal for refusal in refusals(loose))
    loose.workstation.send(loose.site.peer, other, lambda _: None)
    loose.site.wait(lambda: row_of(loose, other[0].study).held == 1, "the other pack goes on")
    assert not row_of(loose, one[0].study).held
    everything = [path for root in (loose.archive, loose.site.layout.cloudsync) for path in root.rglob("*") if path.is_file()]
    assert everything
    assert not [path for path in everything if b"must not leave" in path.read_bytes()]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_the_inbox_is_refused_and_reported_and_the_others_come_back(
    loose: Clinic, plant: Callable[[Path, Path], None]
) -> None:
    secret = loose.place / "secret.key"
    secret.write_bytes(SECRET)
    one, other = two_studies()
    loose.site.start_one("cloudsync")
    loose.workstation.send(loose.site.peer, [*one, *other], lambda _: None)
    loose.wait_held()
    loose.evict()
    loose.site.stop_one("cloudsync")  # from here the test is what writes the inbox and the facts
    pack, part = _first_part(loose, one[0].study)
    answers: list[Progress] = []
    viewer = threading.Thread(target=lambda: answers.extend(loose.workstation.move(loose.site.peer, one[0].study)))
    viewer.start()
    loose.site.wait(lambda: _asked(loose, pack), "edge asks for the part")
    inbox = loose.site.layout.inbox / pack
    inbox.mkdir()
    plant(inbox / "000001", secret)
    facts = JournalWriter(loose.site.layout.facts)
    facts.append(Here(pack=pack, number=1, bytes=part.bytes, digest=part.digest))
    facts.close()
    viewer.join(30)
    assert not viewer.is_alive()
    assert answers[-1].status or answers[-1].failed
    assert not loose.workstation.received
    assert any("000001" in refusal for refusal in refusals(loose))
    (inbox / "000001").unlink()
    loose.site.start_one("cloudsync")
    for study in (one[0].study, other[0].study):
        last = list(loose.workstation.move(loose.site.peer, study))[-1]
        assert (last.status, last.failed) == (0, 0)
    assert not [path for path in loose.site.layout.edge.rglob("*") if path.is_file() and b"must not leave" in path.read_bytes()]


def _first_part(clinic: Clinic, study: str) -> tuple[str, object]:
    for path in clinic.site.layout.heads.glob("*/*.tar.zst"):
        manifest = read_head(path.read_bytes()).manifest
        if manifest.study_uid == study:
            return manifest.pack, manifest.parts[0]
    raise AssertionError(f"no head of study {study}")


def _asked(clinic: Clinic, pack: str) -> bool:
    lines = b"".join(path.read_bytes() for path in clinic.site.layout.asks.glob("*.jsonl")).splitlines()
    return any(b'"recall"' in line and pack.encode() in line for line in lines)
