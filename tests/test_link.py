"""edge.link: what cloudsync said of the link is worth less the longer it says nothing."""

from __future__ import annotations

import pytest

from edge.link import LinkState, part_bytes, reachable, silent_since

NOW = 1_000_000.0
LONG_AGO = NOW - 90_000


def link(state: str = "up", since: float = LONG_AGO, said_at: float = NOW, answered_at: float = 0.0) -> LinkState:
    return LinkState(state, since, 0.0, "", answered_at, 0, said_at)


@pytest.mark.parametrize(
    ("state", "since", "said_at", "up"),
    [
        ("up", LONG_AGO, NOW, True),
        ("down", NOW - 899, NOW, True),
        ("down", NOW - 900, NOW, False),
        ("credential", LONG_AGO, NOW, False),
        ("conflict", LONG_AGO, NOW, True),
        ("up", LONG_AGO, NOW - 899, True),
        ("up", LONG_AGO, NOW - 900, False),
        ("conflict", LONG_AGO, NOW - 900, False),
        ("up", LONG_AGO, NOW + 90_000, False),
    ],
)
def test_the_archive_is_within_reach_until_the_link_was_down_or_cloudsync_silent_for_long(
    state: str, since: float, said_at: float, up: bool
) -> None:
    assert reachable(link(state, since, said_at), 900.0, LONG_AGO, NOW) == up


@pytest.mark.parametrize(
    ("since", "answered_at", "up"), [(NOW - 900, NOW - 901, False), (LONG_AGO, LONG_AGO, True), (NOW - 899, 0.0, True)]
)
def test_a_clock_that_is_wrong_puts_the_archive_out_of_reach_only_where_it_does_not_answer(
    since: float, answered_at: float, up: bool
) -> None:
    assert reachable(link("clock", since, answered_at=answered_at), 900.0, LONG_AGO, NOW) == up


@pytest.mark.parametrize(
    ("said", "began", "silent"),
    [
        (link(said_at=NOW - 180), LONG_AGO, None),
        (link(said_at=NOW - 181), LONG_AGO, NOW - 181),
        (link(said_at=LONG_AGO), NOW - 180, None),
        (link(said_at=LONG_AGO), NOW - 181, LONG_AGO),
        (link(said_at=0.0), NOW - 200, NOW - 200),
        (None, NOW - 180, None),
        (None, NOW - 181, NOW - 181),
    ],
)
def test_who_has_just_started_gives_cloudsync_time_to_speak(said: LinkState | None, began: float, silent: float | None) -> None:
    assert silent_since(said, began, NOW) == silent


@pytest.mark.parametrize(
    ("goodput", "made"),
    [(0.0, 1 << 20), (2_000.0, 128 << 10), (13_107.2, 128 << 10), (48_000.0, 480_000), (104_857.6, 1 << 20), (9e6, 1 << 20)],
)
def test_a_part_is_what_goes_in_ten_seconds_from_128_kib_to_1_mib(goodput: float, made: int) -> None:
    assert part_bytes(LinkState("up", 0.0, goodput, "", 0.0, 0, NOW), 1 << 20) == made
    assert part_bytes(LinkState("up", 0.0, goodput, "", 0.0, 0, NOW), 256 << 10) == min(made, 256 << 10)


def test_before_the_link_was_heard_of_a_part_is_as_large_as_it_may_be() -> None:
    assert part_bytes(None, 512 << 10) == 512 << 10
