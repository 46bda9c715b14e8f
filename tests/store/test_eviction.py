"""edge.store.eviction: what goes is decided purely; what is not held never goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import Cache, Layout
from edge.model import UID, PackId
from edge.store.catalogue import Catalogue
from edge.store.eviction import Evictable, choose, evict, evictable, sweep
from tests.store.rows import admission, close, hold, pack_id, put

SETTINGS = Cache(max_bytes=1000, high_water_percent=90, low_water_percent=50, minimum_age_seconds=100.0)


def pack(letter: str, size: int, used_at: float) -> Evictable:
    return Evictable(PackId(letter * 26), UID("1.2.3"), size, used_at, used_at)


PACKS = [pack("c", 200, 30.0), pack("a", 200, 10.0), pack("d", 200, 40.0), pack("b", 200, 20.0)]

TABLE = [
    ("nothing is over the mark", PACKS, 900, 1000.0, ""),
    ("one byte over it", PACKS, 901, 1000.0, "abc"),
    ("down to the low mark exactly", PACKS, 1100, 1000.0, "abc"),
    ("one byte more takes one more", PACKS, 1101, 1000.0, "abcd"),
    ("all that may go is not enough", PACKS, 9000, 1000.0, "abcd"),
    ("nothing may go", [], 9000, 1000.0, ""),
    ("all are young", PACKS, 9000, 109.9, ""),
    ("the old ones go, the young stay", PACKS, 9000, 120.0, "ab"),
    ("a clock that jumped back makes all of them young", PACKS, 9000, -5.0, ""),
    ("a pack of no bytes frees nothing", [pack("z", 0, 1.0), *PACKS], 901, 1000.0, "zabc"),
]


@pytest.mark.parametrize(("packs", "cached", "now", "chosen"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_least_recently_used_packs_go_first(packs: list[Evictable], cached: int, now: float, chosen: str) -> None:
    assert "".join(one.pack[0] for one in choose(packs, cached, SETTINGS, now)) == chosen
    assert "".join(one.pack[0] for one in choose(reversed(packs), cached, SETTINGS, now)) == chosen


@pytest.fixture
def box(tmp_path: Path, catalogue: Catalogue) -> Iterator[Layout]:
    """Four closed packs with their files: a and c and d are held, b is not."""
    layout = Layout(tmp_path)
    for number, letter in enumerate("abcd"):
        put(catalogue, admission(letter, study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", received_at=number + 1.0))
        close(catalogue, letter, size=100)
        path = layout.cached(pack_id(letter))
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(100))
        if letter != "b":
            hold(catalogue, letter)
    return layout


def test_only_held_packs_may_go_and_not_while_they_are_recalled(box: Layout, catalogue: Catalogue) -> None:
    assert [one.pack[0] for one in evictable(catalogue, lambda pack: False)] == ["a", "c", "d"]
    assert [one.pack[0] for one in evictable(catalogue, lambda pack: pack == pack_id("c"))] == ["a", "d"]
    (first, *_) = evictable(catalogue, lambda pack: False)
    assert (first.bytes, first.used_at, first.study) == (100, 1.0, "1.0")
    catalogue.touch(pack_id("a"), 99.0)
    assert [one.pack[0] for one in evictable(catalogue, lambda pack: False)] == ["c", "d", "a"]


def test_one_refusal_stops_no_other(box: Layout, catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    chosen = [pack(letter, 100, 1.0) for letter in "abd"]
    assert [one.pack[0] for one in evict(box, catalogue, chosen)] == ["a", "d"]
    assert f"Pack {pack_id('b')} is not evicted" in caplog.text
    assert [box.cached(pack_id(letter)).exists() for letter in "abcd"] == [False, True, True, False]
    assert [catalogue.pack(pack_id(letter)).here for letter in "abcd"] == ["no", "whole", "whole", "no"]  # type: ignore[union-attr]
    assert catalogue.figure("cached_bytes") == 200


def test_evicting_again_is_harmless(box: Layout, catalogue: Catalogue) -> None:
    for _ in range(2):
        assert len(list(evict(box, catalogue, [pack("a", 100, 1.0)]))) == 1
    assert not box.cached(pack_id("a")).exists()
    assert [one.pack[0] for one in evictable(catalogue, lambda pack: False)] == ["c", "d"]


def test_what_is_evicted_while_it_is_restored_is_not_counted_as_here(box: Layout, catalogue: Catalogue) -> None:
    catalogue.evict(pack_id("a"))
    catalogue.begin_recall(pack_id("a"))
    assert len(list(evict(box, catalogue, [pack("a", 100, 1.0)]))) == 1
    catalogue.recalled(pack_id("a"), [1024])
    catalogue.set_whole(pack_id("a"))
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert state.here == "no"
    assert catalogue.rows("instances_here", pack_id("a")) == []


def test_a_file_that_an_eviction_left_when_it_was_killed_is_swept_and_nothing_else(box: Layout, catalogue: Catalogue) -> None:
    catalogue.evict(pack_id("a"))
    assert box.cached(pack_id("a")).exists()
    assert sweep(box, catalogue) == 1
    assert not box.cached(pack_id("a")).exists()
    assert all(box.cached(pack_id(letter)).exists() for letter in "bcd")
    assert sweep(box, catalogue) == 0


def test_a_file_that_does_not_go_stops_no_other(box: Layout, catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    stubborn = box.cached(pack_id("a"))
    stubborn.unlink()
    stubborn.mkdir()
    gone = list(evict(box, catalogue, list(evictable(catalogue, lambda _: False))))
    assert [one.pack[0] for one in gone] == ["a", "c", "d"]
    assert "its file does not go" in caplog.text
