"""What is planted in the outbox or the inbox is refused and reported, and nothing is read through it."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.code.manifest import PartEntry, read_head
from edge.control.status import GetStatus, Status
from edge.control.studies import Study
from edge.demo.instances import Sample, samples
from edge.demo.tour import REAL
from edge.dimse.scu import Progress
from edge.journal import Here
from edge.journalfiles import JournalWriter
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
    os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))


Plant = Callable[[Path, Path], None]


@pytest.fixture
def plants() -> list[Plant]:
    """Every kind of what is no file. Only root can make a device node: who is not, plants the other three, but not in CI."""
    if os.geteuid() == 0:
        return [symbolic_link, hard_link, fifo, device]
    if os.environ.get("CI"):
        pytest.fail("making a device node needs root")
    return [symbolic_link, hard_link, fifo]


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


def real_studies() -> list[list[Sample]]:
    """Seven studies, each with its instances."""
    found: dict[str, list[Sample]] = {}
    for sample in samples(REAL):
        found.setdefault(sample.study, []).append(sample)
    return [found[study] for study in sorted(found)]


def refusals(clinic: Clinic) -> list[str]:
    (status,) = clinic.site.ask(GetStatus())
    assert isinstance(status, Status)
    return status.refusals


def row_of(clinic: Clinic, study: str) -> Study:
    (row,) = (row for row in clinic.site.studies() if row.study == study)
    return row


def test_what_is_planted_in_the_outbox_is_refused_and_reported_and_the_others_go_on(loose: Clinic, plants: list[Plant]) -> None:
    secret = loose.place / "secret.key"
    secret.write_bytes(SECRET)
    other, *studies = real_studies()
    spoiled: dict[str, str] = {}
    for plant, study in zip(plants, studies, strict=False):
        loose.workstation.send(loose.site.peer, study, lambda _: None)
        loose.site.wait(lambda: row_of(loose, study[0].study).coded == 1, "the pack lies in the outbox")  # noqa: B023
        packs = {path.name for path in loose.site.layout.outbox.iterdir() if len(path.name) == 26}
        (spoiled[study[0].study],) = packs - set(spoiled.values())
        victim = loose.site.layout.outbox / spoiled[study[0].study] / "000001"
        victim.unlink()
        plant(victim, secret)
    loose.site.start_one("cloudsync")
    for study_uid, pack in spoiled.items():
        loose.site.wait(lambda: row_of(loose, study_uid).stopped is not None, "the pack is stopped")  # noqa: B023
        assert any(pack in refusal and "000001" in refusal for refusal in refusals(loose))
    loose.workstation.send(loose.site.peer, other, lambda _: None)
    loose.site.wait(lambda: row_of(loose, other[0].study).held == 1, "the other pack goes on")
    assert not any(row_of(loose, study_uid).held for study_uid in spoiled)
    everything = [path for root in (loose.archive, loose.site.layout.cloudsync) for path in root.rglob("*") if path.is_file()]
    assert everything
    assert not [path for path in everything if b"must not leave" in path.read_bytes()]


def test_what_is_planted_in_the_inbox_is_refused_and_reported_and_the_others_come_back(loose: Clinic, plants: list[Plant]) -> None:
    secret = loose.place / "secret.key"
    secret.write_bytes(SECRET)
    studies = real_studies()[: len(plants) + 1]
    loose.site.start_one("cloudsync")
    loose.workstation.send(loose.site.peer, [sample for study in studies for sample in study], lambda _: None)
    loose.wait_held()
    loose.evict()
    loose.site.stop_one("cloudsync")  # from here the test is what writes the inbox and the facts
    for plant, study in zip(plants, studies, strict=False):
        _recalls_nothing_through(loose, plant, study[0].study, secret)
    loose.site.start_one("cloudsync")
    for study in studies:
        last = list(loose.workstation.move(loose.site.peer, study[0].study))[-1]
        assert (last.status, last.failed) == (0, 0)
    assert not [path for path in loose.site.layout.edge.rglob("*") if path.is_file() and b"must not leave" in path.read_bytes()]


def _recalls_nothing_through(loose: Clinic, plant: Plant, study: str, secret: Path) -> None:
    pack, part = _first_part(loose, study)
    answers: list[Progress] = []
    viewer = threading.Thread(target=lambda: answers.extend(loose.workstation.move(loose.site.peer, study)))
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
    assert any(pack in refusal and "000001" in refusal for refusal in refusals(loose))
    (inbox / "000001").unlink()


def _first_part(clinic: Clinic, study: str) -> tuple[str, PartEntry]:
    for path in clinic.site.layout.heads.glob("*/*.tar.zst"):
        manifest = read_head(path.read_bytes()).manifest
        if manifest.study_uid == study:
            return manifest.pack, manifest.parts[0]
    raise AssertionError(f"no head of study {study}")


def _asked(clinic: Clinic, pack: str) -> bool:
    lines = b"".join(path.read_bytes() for path in clinic.site.layout.asks.glob("*.jsonl")).splitlines()
    return any(b'"recall"' in line and pack.encode() in line for line in lines)
