"""Bit-rot in a hundred cached packs of a running site: all found in one scrub, all healed from the archive; the only copy is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edge.control.cache import Evict, Evicted
from edge.control.scrub import GetScrub, Rot, Scrubbing, StartScrub
from edge.control.status import GetStatus, Status
from edge.demo.phantom import phantom
from edge.dimse import status
from edge.store.pack import scan
from tests.scenarios.conftest import Clinic, make_clinic

__all__ = ["make_clinic"]

PACKS = 100


def scrubbed(clinic: Clinic) -> Scrubbing:
    """The scrub that a person wants, when it has ended."""
    list(clinic.site.ask(StartScrub()))
    found: list[Scrubbing] = []

    def over() -> bool:
        found[:] = [row for row in clinic.site.ask(GetScrub()) if isinstance(row, Scrubbing)]
        return found[0].hurried and not found[0].under_way

    clinic.site.wait(over, "the scrub has ended")
    return found[0]


def rots(clinic: Clinic) -> list[Rot]:
    return [row for row in clinic.site.ask(GetScrub()) if isinstance(row, Rot)]


def flip(path: Path) -> None:
    """One bit of the pixels of the last instance of a pack."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        *_, last = scan(descriptor)
        offset = last.member.dataset_offset + last.member.dataset_length - 100
        os.pwrite(descriptor, bytes([os.pread(descriptor, 1, offset)[0] ^ 16]), offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cut_last(path: Path) -> None:
    """The file of a pack ends before the last instance does."""
    with path.open("r+b") as file:
        *_, last = scan(file.fileno())
        file.truncate(last.member.dataset_offset + 8)


def digests(clinic: Clinic) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in clinic.site.layout.cache.glob("??/*.tar")}


def test_rot_in_a_hundred_held_packs_is_found_in_one_scrub_and_healed_and_what_a_viewer_meets_at_once(
    make_clinic: Callable[..., Clinic],
) -> None:
    clinic = make_clinic()
    for run in range(PACKS):
        clinic.workstation.send(clinic.site.peer, list(phantom(2, size=32, run=run + 1)), lambda _: None)
    clinic.wait_held(240)
    before = digests(clinic)
    assert len(before) == PACKS
    for path in clinic.site.layout.cache.glob("??/*.tar"):
        flip(path)
    assert not before.items() & digests(clinic).items()
    found = scrubbed(clinic)
    assert (found.packs, found.rotten) == (PACKS, PACKS)
    clinic.site.wait(lambda: not rots(clinic), "all are repaired", 180)
    (told, *_) = clinic.site.ask(GetScrub())
    assert isinstance(told, Scrubbing)
    assert told.repaired == PACKS
    assert digests(clinic) == before
    heal_what_a_viewer_meets(clinic, before)


def heal_what_a_viewer_meets(clinic: Clinic, before: dict[str, str]) -> None:
    """The end of a pack is gone: what is left is sent, the rest is named as failed and healed at once, and the next retrieve is whole."""
    samples = list(phantom(2, size=32, run=1))
    study = samples[0].study
    (pack,) = {row.pack for row in clinic.site.ask(Evict(study=study, dry_run=True)) if isinstance(row, Evicted)}
    cut_last(clinic.site.layout.cached(pack))
    *_, first = clinic.workstation.move(clinic.site.peer, study)
    assert (first.status, first.completed, first.failed) == (status.SUBOPERATIONS_INCOMPLETE, 1, 1)
    clinic.site.wait(lambda: digests(clinic) == before and not rots(clinic), "the pack is healed")
    clinic.workstation.received.clear()
    *_, second = clinic.workstation.move(clinic.site.peer, study)
    assert (second.status, second.completed) == (status.SUCCESS, 2)
    assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in samples}


def test_rot_in_the_only_copy_is_an_alarm_and_nothing_is_deleted(make_clinic: Callable[..., Clinic]) -> None:
    clinic = make_clinic()
    (clinic.archive / ".outpost-archive").rename(clinic.archive / "unplugged")
    samples = list(phantom(2, size=32))
    clinic.workstation.send(clinic.site.peer, samples, lambda _: None)
    clinic.site.wait(lambda: all(row.coded == row.packs for row in clinic.site.studies()), "the pack is coded")
    (path,) = clinic.site.layout.cache.glob("??/*.tar")
    flip(path)
    rotten = path.read_bytes()
    assert scrubbed(clinic).rotten == 1
    assert path.read_bytes() == rotten
    assert [(row.study, row.held) for row in rots(clinic)] == [(samples[0].study, False)]
    (said,) = clinic.site.ask(GetStatus())
    assert isinstance(said, Status)
    assert said.lamp == "red"
    assert any(samples[0].study in alarm for alarm in said.alarms)
