"""edge.retrieve: what is here goes at once, what is away is waited for, and no wait is without an end."""

from __future__ import annotations

import os
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
from tests.limits import no_descriptors
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


def at_hand(box: tuple[Layout, Catalogue, Desk], content: bytes, *offsets: int) -> Path:
    """A held pack of instances at these offsets, and its file."""
    layout, catalogue, _ = box
    for number, offset in enumerate(offsets):
        put(catalogue, admission("a", offset, instance=f"1.2.3.1.{number}", number=number))
    close(catalogue, "a", size=len(content))
    catalogue.mark_coded(pack_id("a"), 5.0, 90, "{}", 3)
    hold(catalogue, "a")
    path = layout.cached(pack_id("a"))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def evict_and_recall(box: tuple[Layout, Catalogue, Desk], path: Path, content: bytes, *offsets: int) -> None:
    """What an eviction and a recall of these instances do, one after the other."""
    _, catalogue, _ = box
    catalogue.evict(pack_id("a"))
    path.unlink()
    catalogue.begin_recall(pack_id("a"))
    path.write_bytes(content)
    catalogue.recalled(pack_id("a"), [offset + 1024 for offset in offsets])


def read(item: Ready | Lost | None) -> bytes:
    assert isinstance(item, Ready)
    return os.pread(item.descriptor, 1, item.offset)


def test_what_was_evicted_and_only_partly_recalled_is_waited_for_and_never_sent_as_zeros(box: tuple[Layout, Catalogue, Desk]) -> None:
    path = at_hand(box, b"x" * 16_384, 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    evict_and_recall(box, path, bytes(8192) + b"x" * 8192, 8192)
    assert retrieval.next(0) is None
    assert box[2].wanted == [pack_id("a")]
    assert read(retrieval.next(0)) == b"x"
    assert retrieval.next(0) is None
    path.write_bytes(b"x" * 16_384)
    box[1].recalled(pack_id("a"), [1024])
    assert read(retrieval.next(0)) == b"x"
    assert retrieval.remaining == 0
    retrieval.close()


def test_a_pack_that_comes_back_as_another_file_is_opened_anew(box: tuple[Layout, Catalogue, Desk]) -> None:
    path = at_hand(box, b"x" * 8192 + bytes(8192), 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    assert read(retrieval.next(0)) == b"x"
    evict_and_recall(box, path, bytes(8192) + b"x" * 8192, 8192)
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()


def test_a_pack_file_that_cannot_be_opened_costs_its_own_instances_alone(box: tuple[Layout, Catalogue, Desk]) -> None:
    path = at_hand(box, b"x" * 8192, 0)
    put(box[1], admission("b", instance="1.2.3.1.9", number=9))
    close(box[1], "b", size=100)
    other = box[0].cached(pack_id("b"))
    other.parent.mkdir(parents=True)
    path.rename(other)
    path.symlink_to(other)
    retrieval = retrieve(box, Clock()).begin(study())
    lost = retrieval.next(0)
    assert isinstance(lost, Lost)
    assert "cannot be read" in lost.reason
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()


def test_an_instance_that_no_descriptor_is_left_for_fails_alone(box: tuple[Layout, Catalogue, Desk]) -> None:
    at_hand(box, b"x" * 16_384, 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    with no_descriptors():
        lost = retrieval.next(0)
    assert isinstance(lost, Lost)
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()
