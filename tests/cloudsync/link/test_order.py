"""The order of what waits, as a function of values."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from cloudsync.link.order import Turn, choose
from edge.model import BACKLOG_SHARE


@dataclass(frozen=True)
class Waits:
    name: str
    rank: int = 1
    plain_bytes: int = 100


def names(fresh: list[Waits], backlog: list[Waits], at_most: int, turn: Turn = Turn()) -> list[str]:  # noqa: B008 - a frozen value
    return [one.name for one in choose(fresh, backlog, at_most, turn)[0]]


def test_the_most_urgent_class_goes_first_however_old_it_is() -> None:
    fresh = [Waits("routine"), Waits("background", 2)]
    assert names(fresh, [Waits("old stat", 0), Waits("old", 1)], 9)[0] == "old stat"
    assert names([Waits("stat", 0), *fresh], [Waits("old", 1)], 9, Turn(1e9))[0] == "stat"


def test_what_is_fresh_goes_before_the_backlog_of_its_class_but_for_the_share_of_that() -> None:
    fresh, backlog = [Waits(f"f{number}") for number in range(9)], [Waits(f"b{number}") for number in range(9)]
    assert names(fresh, backlog, 10) == ["f0", "b0", "f1", "f2", "b1", "f3", "f4", "b2", "f5", "f6"]


def test_one_kind_alone_has_all_of_the_link_and_earns_nothing_by_it() -> None:
    backlog = [Waits(f"b{number}") for number in range(1000)]
    chosen, turn = choose([], backlog, 1000, Turn())
    assert (len(chosen), turn) == (1000, Turn())


@pytest.mark.parametrize("seed", range(20))
def test_the_backlog_gets_its_share_of_the_bytes_to_within_one_part(seed: int) -> None:
    source = random.Random(seed)
    fresh, backlog = ([Waits(kind, 1, source.randint(1, 1000)) for _ in range(400)] for kind in ("fresh", "backlog"))
    chosen, _ = choose(fresh, backlog, 300, Turn())
    gone = {"fresh": 0, "backlog": 0}
    for one in chosen:
        gone[one.name] += one.plain_bytes
        assert abs(gone["backlog"] - BACKLOG_SHARE * sum(gone.values())) <= 1000


def test_choosing_one_at_a_time_is_the_same_as_choosing_many() -> None:
    source = random.Random(7)
    fresh, backlog = ([Waits(f"{kind}{number}", source.randint(0, 2), source.randint(1, 99)) for number in range(50)] for kind in "fb")
    for kind in (fresh, backlog):
        kind.sort(key=lambda one: one.rank)
    at_once, _ = choose(fresh, backlog, 100, Turn())
    turn, one_by_one = Turn(), []
    while fresh or backlog:
        (gone,), turn = choose(fresh, backlog, 1, turn)
        (fresh if gone in fresh else backlog).remove(gone)
        one_by_one.append(gone)
    assert one_by_one == at_once
