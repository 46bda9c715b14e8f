"""Goodput, deadlines and back-off as functions of values."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cloudsync.link.backoff import Backoff
from cloudsync.link.goodput import Goodput, deadline_seconds


def test_back_off_doubles_to_its_cap_and_stays_there_for_ever() -> None:
    backoff = Backoff(first_seconds=1, max_seconds=300)
    waits = [backoff.wait_seconds(attempt, 0.999999) for attempt in range(1, 2000)]
    assert all(earlier <= later <= 300 for earlier, later in pairwise(waits))
    assert waits[-1] == pytest.approx(300, rel=1e-3)
    assert [round(wait) for wait in waits[:5]] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("attempt", [1, 5, 50, 10**9])
def test_jitter_spreads_over_half_of_the_wait(attempt: int) -> None:
    backoff = Backoff()
    assert backoff.wait_seconds(attempt, 0.0) * 2 == pytest.approx(backoff.wait_seconds(attempt, 1.0))


def test_goodput_follows_the_link_within_a_minute_of_work() -> None:
    goodput = Goodput()
    for _ in range(60):
        goodput = goodput.after(1_000_000, 1.0)
    assert goodput.bytes_per_second == pytest.approx(1_000_000, rel=0.01)
    for _ in range(60):
        goodput = goodput.after(50_000, 1.0)
    assert goodput.bytes_per_second < 250_000


def test_goodput_adds_up_what_is_too_short_to_say_anything() -> None:
    goodput = Goodput()
    for _ in range(10):
        goodput = goodput.after(1000, 0.01)
    assert goodput.bytes_per_second == pytest.approx(100_000, rel=0.2)


def test_a_stalled_link_lowers_goodput() -> None:
    goodput = Goodput().after(1_000_000, 1.0)
    assert goodput.after(0, 30.0).bytes_per_second < 100_000


def test_a_deadline_allows_for_a_slow_link_and_never_less_than_a_minute() -> None:
    assert deadline_seconds(1 << 20, Goodput(), 4) == 60 + 1024
    assert deadline_seconds(0, Goodput(), 4) == 60
    fast = Goodput(bytes_per_second=4_000_000)
    assert deadline_seconds(1 << 20, fast, 4) == pytest.approx(60 + 8 * (1 << 20) / 1_000_000)
    assert deadline_seconds(1 << 20, Goodput(bytes_per_second=10), 4) == 60 + 1024
