"""edge.store.eviction: what goes is decided purely; what is not held never goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import Cache, Layout
from edge.model import UID, PackId
from edge.store.catalogue import Catalogue
from edge.store.eviction import Evictable, Reason, Space, choose, evict, evictable, hindrance, sweep
from tests.desks import Desk
from tests.store.rows import admission, close, hold, pack_id, put

SETTINGS = Cache(
    max_bytes=1000, high_water_percent=90, low_water_percent=50, minimum_age_seconds=100.0, reserve_bytes=100, keep_days={"MG": 1.0}
)
DAY = 86_400.0
ROOMY = 10_000


def pack(letter: str, size: int, used_at: float, *modalities: str) -> Evictable:
    return Evictable(PackId(letter * 26), UID(f"1.{ord(letter)}"), size, used_at, frozenset(modalities))


PACKS = [pack("a", 200, 10.0), pack("b", 200, 20.0), pack("c", 200, 30.0), pack("d", 200, 40.0)]
MAMMO = [pack("m", 200, 5.0, "MG", "SR"), *PACKS]
SMALL = [pack("m", 100, 5.0, "MG"), pack("a", 100, 10.0), pack("b", 100, 20.0)]

TABLE = [
    ("nothing is over the mark", PACKS, 900, ROOMY, "", 1000.0, ""),
    ("one byte over it", PACKS, 901, ROOMY, "", 1000.0, "abc"),
    ("down to the low mark exactly", PACKS, 1100, ROOMY, "", 1000.0, "abc"),
    ("one byte more takes one more", PACKS, 1101, ROOMY, "", 1000.0, "abcd"),
    ("all that may go is not enough", PACKS, 9000, ROOMY, "", 1000.0, "abcd"),
    ("nothing may go", [], 9000, ROOMY, "", 1000.0, ""),
    ("all are young", PACKS, 9000, ROOMY, "", 109.9, ""),
    ("the old ones go, the young stay", PACKS, 9000, ROOMY, "", 120.0, "ab"),
    ("a clock that jumped back makes all of them young", PACKS, 9000, ROOMY, "", -5.0, ""),
    ("a pack of no bytes frees nothing", [pack("z", 0, 1.0), *PACKS], 901, ROOMY, "", 1000.0, "zabc"),
    ("what is pinned stays, and others go for it", PACKS, 901, ROOMY, "a", 1000.0, "bcd"),
    ("a modality with days of its own stays so long", MAMMO, 9000, ROOMY, "", 1000.0, "abcd"),
    ("and goes after that", MAMMO, 901, ROOMY, "", DAY + 5.0, "mab"),
    ("the disk has twice its reserve", PACKS, 500, 200, "", 1000.0, ""),
    ("a byte less, and it gets three times as much", PACKS, 500, 199, "", 1000.0, "a"),
    ("the disk is nearly full, and all are young", PACKS, 500, 100, "", 50.0, ""),
    ("reception refuses, and all are young: the oldest go", PACKS, 500, 99, "", 50.0, "a"),
    ("reception refuses: those go first that may anyway", SMALL, 500, 0, "", 115.0, "am"),
    ("reception refuses: what may go anyway is enough", MAMMO, 500, 50, "", 1000.0, "ab"),
    ("reception refuses, and all is pinned", PACKS, 500, 0, "abcd", 50.0, ""),
    ("a clock that jumped back keeps no modality away", PACKS, 500, 99, "", -5.0, "a"),
]


@pytest.mark.parametrize(("packs", "cached", "free", "pins", "now", "chosen"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_least_recently_used_packs_go_first(packs: list[Evictable], cached: int, free: int, pins: str, now: float, chosen: str) -> None:
    pinned = {f"1.{ord(letter)}" for letter in pins}
    assert "".join(one.pack[0] for one in choose(packs, Space(cached, free), SETTINGS, pinned, now)) == chosen


@pytest.mark.parametrize(
    ("open_", "held", "here", "pinned", "recalled", "reason"),
    [
        (False, True, True, False, False, None),
        (False, True, False, True, True, Reason.AWAY),
        (True, False, True, True, False, Reason.PINNED),
        (True, False, True, False, False, Reason.OPEN),
        (False, False, True, False, False, Reason.NOT_HELD),
        (False, True, True, False, True, Reason.RECALLED),
    ],
)
def test_what_does_not_go_has_a_reason(open_: bool, held: bool, here: bool, pinned: bool, recalled: bool, reason: Reason | None) -> None:
    assert hindrance(open_, held, here, pinned, recalled) is reason


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


def test_only_held_packs_may_go_in_the_order_of_their_use(box: Layout, catalogue: Catalogue) -> None:
    assert [one.pack[0] for one in evictable(catalogue)] == ["a", "c", "d"]
    (first, *_) = evictable(catalogue)
    assert (first.bytes, first.used_at, first.study, first.modalities) == (100, 1.0, "1.0", {"CT"})
    catalogue.touch([pack_id("a")], 99.0)
    assert [one.pack[0] for one in evictable(catalogue)] == ["c", "d", "a"]


def test_packs_that_were_used_at_the_same_moment_are_all_found_page_by_page(catalogue: Catalogue) -> None:
    letters = "abcdefghijklm"
    for number, letter in enumerate(letters):
        put(catalogue, admission(letter, study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", received_at=7.0))
        close(catalogue, letter, size=100)
        hold(catalogue, letter)
    assert "".join(one.pack[0] for one in evictable(catalogue, page_rows=5)) == letters


def test_what_is_recalled_at_its_turn_stays(box: Layout, catalogue: Catalogue) -> None:
    assert [one.pack[0] for one in evict(box, catalogue, Desk("c"), evictable(catalogue))] == ["a", "d"]
    assert box.cached(pack_id("c")).exists()
    catalogue.evict(pack_id("c"))
    assert sweep(box, catalogue, Desk("c")) == 0
    assert box.cached(pack_id("c")).exists()


def test_one_refusal_stops_no_other(box: Layout, catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    chosen = [pack(letter, 100, 1.0) for letter in "abd"]
    assert [one.pack[0] for one in evict(box, catalogue, Desk(), chosen)] == ["a", "d"]
    assert f"Pack {pack_id('b')} is not evicted" in caplog.text
    assert [box.cached(pack_id(letter)).exists() for letter in "abcd"] == [False, True, True, False]
    assert [catalogue.pack(pack_id(letter)).here for letter in "abcd"] == ["no", "whole", "whole", "no"]  # type: ignore[union-attr]
    assert catalogue.figure("cached_bytes") == 200


def test_evicting_again_is_harmless(box: Layout, catalogue: Catalogue) -> None:
    for _ in range(2):
        assert len(list(evict(box, catalogue, Desk(), [pack("a", 100, 1.0)]))) == 1
    assert not box.cached(pack_id("a")).exists()
    assert [one.pack[0] for one in evictable(catalogue)] == ["c", "d"]


def test_what_is_evicted_while_it_is_restored_is_not_counted_as_here(box: Layout, catalogue: Catalogue) -> None:
    catalogue.evict(pack_id("a"))
    catalogue.begin_recall(pack_id("a"))
    assert len(list(evict(box, catalogue, Desk(), [pack("a", 100, 1.0)]))) == 1
    catalogue.recalled(pack_id("a"), [1024])
    catalogue.set_whole(pack_id("a"))
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert state.here == "no"
    assert catalogue.rows("instances_here", pack_id("a")) == []


def test_a_file_that_an_eviction_left_when_it_was_killed_is_swept_and_nothing_else(box: Layout, catalogue: Catalogue) -> None:
    catalogue.evict(pack_id("a"))
    assert box.cached(pack_id("a")).exists()
    assert sweep(box, catalogue, Desk()) == 1
    assert not box.cached(pack_id("a")).exists()
    assert all(box.cached(pack_id(letter)).exists() for letter in "bcd")
    assert sweep(box, catalogue, Desk()) == 0


def test_a_file_that_does_not_go_stops_no_other(box: Layout, catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    stubborn = box.cached(pack_id("a"))
    stubborn.unlink()
    stubborn.mkdir()
    gone = list(evict(box, catalogue, Desk(), evictable(catalogue)))
    assert [one.pack[0] for one in gone] == ["a", "c", "d"]
    assert "its file does not go" in caplog.text
