"""What has long values before the UIDs that identify it is filed all the same, in bounded memory, and found again from its pack alone."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import Cache
from edge.dataset.attributes import HEAD_CAP
from edge.dataset.look import WALK_MAX_BYTES
from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE
from edge.dimse.ports import Outcome
from edge.errors import StoreFull
from edge.model import Level, Query
from edge.store.catalogue import Catalogue
from edge.store.reconcile import reconcile
from tests.dataset.datasets import dataset, element, sequence
from tests.test_intake import Box

ITEM = element(0x00081150, "UI", "1.2.840.10008.5.1.4.1.1.2") + element(0x00091010, "UN", bytes(2000))
LATE = {
    "a long private value": dataset(more={0x00091001: ("UN", os.urandom(HEAD_CAP + 5000))}, pixels=bytes(100_000)),
    "two of them": dataset(more={0x00091001: ("UN", bytes(HEAD_CAP)), 0x00191001: ("UN", bytes(HEAD_CAP))}),
    "a long value before all of it": element(0x00080006, "UT", bytes(HEAD_CAP + 5000)) + dataset(),
    "a long sequence": element(0x00080006, "SQ", element(0xFFFEE000, "", ITEM) * 600) + dataset(),
    "a long sequence of undefined length": sequence(0x00080006, [ITEM] * 600) + dataset(),
    "in between, a sequence of undefined length": dataset(more={0x00091001: ("UN", bytes(HEAD_CAP))}).replace(
        element(0x00200011, "IS", "1"), sequence(0x00200010, [ITEM] * 3) + element(0x00200011, "IS", "1")
    ),
}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.catalogue.close()


@pytest.mark.parametrize("fragment", [1 << 16, HEAD_CAP + 50_000])
@pytest.mark.parametrize("data", LATE.values(), ids=LATE)
def test_long_values_may_come_before_the_uids(box: Box, data: bytes, fragment: int) -> None:
    assert box.store(data, fragment=fragment) is Outcome.STORED
    assert box.kept() == [data]
    assert list(box.layout.quarantine.iterdir()) == []
    (answer,) = box.catalogue.find(Query(Level.IMAGE, {"00100020": "P1"}), link_up=True)
    assert [answer[tag]["Value"] for tag in ("0020000D", "00200013")] == [["1.2.3"], [1]]
    assert box.store(data, fragment=fragment) is Outcome.DUPLICATE
    assert len(box.members()) == 1


def test_it_is_found_again_from_the_pack_alone(box: Box) -> None:
    for data in LATE.values():
        box.store(data)
    before = box.catalogue.find(Query(Level.IMAGE, {}), link_up=True)
    box.catalogue.close()
    for path in box.layout.edge.glob("catalogue.db*"):
        path.unlink()
    box.catalogue = Catalogue(box.layout.catalogue)
    assert reconcile(box.layout.cache, box.layout.quarantine, box.catalogue, box.clock).adopted == len(LATE)
    assert box.catalogue.find(Query(Level.IMAGE, {}), link_up=True) == before


def test_it_takes_no_more_memory_than_any_other(box: Box) -> None:
    data = dataset(more={0x00091001: ("UN", bytes(64 << 20))}, syntax=IMPLICIT_LE)
    tracemalloc.start()
    try:
        assert box.store(data, syntax=IMPLICIT_LE) is Outcome.STORED
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_it_may_contradict_the_command_set_as_any_other(box: Box) -> None:
    data = LATE["a long private value"]
    assert box.store(data, instance="1.2.3.1.2") is Outcome.CONTRADICTORY
    ((reason, kept),) = box.set_aside().values()
    assert "disagree" in reason
    assert kept == data
    assert box.members() == []


UNIDENTIFIED = {
    "no study": dataset(study="", more={0x00091001: ("UN", bytes(HEAD_CAP))}),
    "cut off within the value": LATE["a long private value"][: HEAD_CAP + 2000],
    "a sequence that is too long to be walked": sequence(0x00080006, [ITEM] * (WALK_MAX_BYTES // 2000)) + dataset(),
}


@pytest.mark.parametrize("data", UNIDENTIFIED.values(), ids=UNIDENTIFIED)
def test_what_does_not_identify_itself_further_in_either_is_set_aside(box: Box, data: bytes) -> None:
    assert box.store(data) is Outcome.UNIDENTIFIED
    assert [kept for _, kept in box.set_aside().values()] == [data]
    assert (box.members(), box.packs.studies) == ([], [])


def test_without_room_to_keep_it_aside_it_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path, Cache(reserve_bytes=0, quarantine_max_bytes=HEAD_CAP))
    with pytest.raises(StoreFull):
        box.store(LATE["two of them"], syntax=EXPLICIT_LE)
    assert list(box.layout.quarantine.iterdir()) == []
    assert box.members() == []
    box.catalogue.close()
