"""edge.retrieve: what is here goes at once, what is away is waited for, and no wait is without an end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from edge.config import Layout
from edge.dimse.ports import Lost, Ready
from edge.link import LinkState
from edge.model import Json, Level, PackId, Query
from edge.reach import Reach
from edge.retrieve import HEAD_SECONDS, HeadLate, PackRetrieve
from edge.store.catalogue import Catalogue
from edge.store.files import OPEN_MAX
from tests.store.rows import Clock, admission, close, hold, pack_id, put

STUDY: Json = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
SERIES: list[Json] = [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}]


class Desk:
    """Remembers what was wanted; nothing comes."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.wanted: list[PackId] = []
        self.reason: str | None = None

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None:
        self.wanted.append(pack)

    def failure(self, pack: PackId) -> str | None:
        return self.reason


class Hurrying(Clock):
    """Each look at it takes as long as anybody waits."""

    def monotonic(self) -> float:
        self.time += HEAD_SECONDS
        return self.time


@pytest.fixture
def box(tmp_path: Path) -> Iterator[tuple[Layout, Catalogue, Desk]]:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    yield Layout(tmp_path), catalogue, Desk()
    catalogue.close()


def retrieve(box: tuple[Layout, Catalogue, Desk], clock: Clock) -> PackRetrieve:
    layout, catalogue, desk = box
    return PackRetrieve(layout, catalogue, desk, Reach(catalogue, 900.0, clock), clock)


def study(uid: str = "1.2.3") -> Query:
    return Query(Level.STUDY, {"0020000D": uid})


def test_a_head_that_does_not_come_is_not_waited_for_without_end(box: tuple[Layout, Catalogue, Desk]) -> None:
    _, catalogue, desk = box
    with catalogue.change():
        catalogue.hear_of(pack_id("a"), STUDY, SERIES, "0" * 64, 1, 5.0)
        catalogue.hold(pack_id("a"), 5.0, 100)
        catalogue.settle_archived(pack_id("a"))
    with pytest.raises(HeadLate, match="Ask again"):
        retrieve(box, Hurrying()).begin(study())
    assert desk.wanted == [pack_id("a")]


def test_a_study_of_many_packs_keeps_few_of_them_open(box: tuple[Layout, Catalogue, Desk]) -> None:
    layout, catalogue, _ = box
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert len(letters) > OPEN_MAX
    for number, letter in enumerate(letters):
        put(catalogue, admission(letter, instance=f"1.2.3.1.{number}", number=number))
        close(catalogue, letter, size=100)
        path = layout.cached(pack_id(letter))
        path.parent.mkdir(parents=True)
        path.write_bytes(letter.encode())
    retrieval = retrieve(box, Clock()).begin(study())
    open_files = set()
    while retrieval.remaining:
        item = retrieval.next(0)
        assert isinstance(item, Ready)
        open_files.add(item.descriptor)
    assert len(open_files) <= OPEN_MAX
    retrieval.close()


def test_a_pack_that_should_be_here_and_has_no_file_is_lost_and_said_so(box: tuple[Layout, Catalogue, Desk]) -> None:
    _, catalogue, _ = box
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    retrieval = retrieve(box, Clock()).begin(study())
    item = retrieval.next(0)
    assert isinstance(item, Lost)
    assert "missing from the cache" in item.reason


def test_a_held_pack_without_its_file_is_recalled(box: tuple[Layout, Catalogue, Desk]) -> None:
    _, catalogue, desk = box
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    hold(catalogue, "a")
    retrieval = retrieve(box, Clock()).begin(study())
    assert retrieval.next(0) is None
    assert (desk.wanted, retrieval.remaining) == ([pack_id("a")], 1)
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert state.here == "no"


def test_what_is_waited_for_is_lost_when_the_archive_cannot_be_reached_any_more(box: tuple[Layout, Catalogue, Desk]) -> None:
    _, catalogue, _ = box
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    catalogue.mark_coded(pack_id("a"), 5.0, 90, "{}", 3)
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    clock = Clock()
    retrieval = retrieve(box, clock).begin(study())
    assert retrieval.next(0) is None
    with catalogue.facts(1):
        catalogue.set_link(LinkState("up", 1.0, 0.0, "", 0.0, 0, clock.now()))
    clock.time += 901
    item = retrieval.next(0)
    assert isinstance(item, Lost)
    assert "cannot be reached" in item.reason
    assert retrieval.remaining == 0
