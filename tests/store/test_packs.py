"""edge.store.packs: lent to one writer, closed when the study is quiet or the pack is full."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.model import UID, Urgency
from edge.store.packs import OpenPacks
from tests.store.boxes import Box, instance, sha256

STUDY = UID("1.2.3")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.stop()


def test_one_writer_after_the_other_appends_to_one_pack(box: Box) -> None:
    first = box.receive(instance(1))
    second = box.receive(instance(2))
    assert first is second
    assert [path.stem for path in box.still_open()] == [first.id]


def test_two_writers_of_one_study_get_two_packs_that_close_together(box: Box) -> None:
    first, second = box.packs.lend(STUDY, Urgency.ROUTINE), box.packs.lend(STUDY, Urgency.ROUTINE)
    assert first is not second
    box.admit(first, instance(1))
    box.admit(second, instance(2))
    box.packs.give_back(first)
    box.clock.time += 1000
    assert box.packs.take_due() == []
    assert box.packs.take_due(everything=True) == []
    box.packs.give_back(second)
    assert box.packs.take_due() == []
    box.clock.time += 59
    assert box.packs.take_due() == []
    box.clock.time += 1
    assert {pack.id for pack in box.close_due()} == {first.id, second.id}
    assert box.packs.studies == []
    assert [path.stem for path in box.closed()] == sorted([first.id, second.id])
    assert box.still_open() == []


def test_each_reception_makes_the_quiet_begin_again(box: Box) -> None:
    box.receive(instance(1))
    for number in (2, 3):
        box.clock.time += 59
        assert box.packs.take_due() == []
        box.receive(instance(number, pixels=b"x"))
    assert box.packs.studies == [STUDY]


def test_a_late_instance_starts_another_pack(box: Box) -> None:
    first = box.receive(instance(1))
    box.clock.time += 60
    box.close_due()
    late = box.receive(instance(2))
    assert late.id != first.id
    assert sha256(box.closed()[0]) == box.catalogue.pack(first.id).sha256  # type: ignore[union-attr]


def test_a_full_pack_closes_at_once_and_the_study_goes_on_in_another(box: Box) -> None:
    first, *_ = [box.receive(instance(number)) for number in (1, 2, 3)]
    fourth = box.receive(instance(4))
    assert fourth is not first
    assert box.close_due() == [first]
    assert [path.stem for path in box.still_open()] == [fourth.id]
    large = box.receive(instance(5, study="1.9", pixels=bytes(1 << 20)))
    assert box.close_due() == [large]


def test_urgent_instances_have_packs_of_their_own_and_hasten_the_study(box: Box) -> None:
    routine = box.receive(instance(1))
    urgent = box.receive(instance(2), Urgency.STAT)
    assert routine is not urgent
    box.clock.time += 5
    assert set(box.close_due()) == {routine, urgent}
    assert [box.catalogue.pack(pack.id).urgency for pack in (routine, urgent)] == [Urgency.ROUTINE, Urgency.STAT]  # type: ignore[union-attr]


def test_studies_close_each_on_their_own(box: Box) -> None:
    box.receive(instance(1, study="1.1"))
    box.clock.time += 30
    box.receive(instance(1, study="1.2"))
    box.clock.time += 30
    assert [pack.study for pack in box.close_due()] == ["1.1"]
    assert box.packs.studies == ["1.2"]
    assert [pack.study for pack in box.close_due(everything=True)] == ["1.2"]


def test_it_is_known_when_the_next_study_is_quiet(box: Box) -> None:
    assert box.packs.seconds_until_due() == math.inf
    box.receive(instance(1, study="1.1"))
    box.clock.time += 30
    box.receive(instance(1, study="1.2"))
    assert box.packs.seconds_until_due() == 30
    box.receive(instance(1, study="1.3"), Urgency.STAT)
    assert box.packs.seconds_until_due() == 5
    lent = box.packs.lend(UID("1.3"), Urgency.STAT)
    assert box.packs.seconds_until_due() == 30
    box.packs.give_back(lent)
    assert box.packs.seconds_until_due() == 5


def test_a_pack_that_never_got_an_instance_leaves_no_trace(box: Box) -> None:
    box.packs.give_back(box.packs.lend(STUDY, Urgency.ROUTINE))
    (pack,) = box.close_due(everything=True)
    assert box.still_open() == box.closed() == []
    assert box.catalogue.pack(pack.id) is None


def test_a_closed_pack_is_where_and_what_the_catalogue_says(box: Box) -> None:
    pack = box.receive(instance(1))
    box.clock.time += 60
    box.close_due()
    path = box.cache / pack.id[:2] / f"{pack.id}.tar"
    state = box.catalogue.pack(pack.id)
    assert state is not None
    assert (state.bytes, state.sha256, state.closed_at) == (path.stat().st_size, sha256(path), box.clock.time)
    assert path.read_bytes().endswith(bytes(1024))
    assert box.proven() == {"1.2.3.1.1": True}


def test_a_lend_that_fails_does_not_keep_the_study_open(box: Box) -> None:
    box.open.rmdir()
    with pytest.raises(Exception, match="disk"):
        box.packs.lend(STUDY, Urgency.ROUTINE)
    box.open.mkdir()
    assert box.packs.take_due() == []
    assert box.packs.studies == []


def test_packs_that_wait_longest_give_their_descriptors_back_and_take_them_up_again(box: Box) -> None:
    box.packs = OpenPacks(box.cache, box.settings, box.catalogue, box.clock, awake_max=2)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        box.receive(instance(1, study=f"1.{number}"))
    assert len(os.listdir("/proc/self/fd")) == before + 2
    for number in range(5):
        box.receive(instance(2, study=f"1.{number}"))
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert len(box.still_open()) == 5
    assert len(box.close_due(everything=True)) == 5
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(box.proven().values()) == [True] * 10
