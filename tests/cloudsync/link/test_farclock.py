"""The archive's clock, as its answers show it."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate

import pytest

from cloudsync.link.farclock import FarClock, off

DAY = 86_400.0


@dataclass
class Clocks:
    wall: float = 1_700_000_000.0
    steady: float = 50.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_before_the_archive_named_a_time_nothing_is_said() -> None:
    far = FarClock(Clocks())
    assert (far.ahead_seconds, far.wrong) == (0.0, "")


@pytest.mark.parametrize("ahead", [0.0, 899.0, -899.0, 900.0, -900.0, 400 * DAY, -400 * DAY])
def test_a_quarter_of_an_hour_is_wrong(ahead: float) -> None:
    clocks = Clocks()
    far = FarClock(clocks)
    far.answered(formatdate(clocks.wall - ahead, usegmt=True))
    assert far.ahead_seconds == ahead
    assert bool(far.wrong) == (abs(ahead) >= 900)


def test_a_clock_that_jumps_after_an_answer_is_found_out_and_time_that_passes_is_none() -> None:
    clocks = Clocks()
    far = FarClock(clocks)
    far.heard(clocks.wall)
    clocks.passes(100_000)
    assert far.wrong == ""
    clocks.wall += 400 * DAY
    assert far.wrong.startswith("the clock of this box is 400 days ahead of the archive's: set it; `timedatectl")
    clocks.wall -= 400 * DAY
    assert far.wrong == ""


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Tue, 99 Foo 2026 00:00:00 GMT",
        "Tue, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Tue, 01 Jan 2026 00:00:00 +99999999999999999999",
    ],
)
def test_a_date_that_is_none_changes_nothing(date: str) -> None:
    far = FarClock(Clocks())
    far.heard(1.0)
    before = far.ahead_seconds
    far.answered(date)
    assert far.ahead_seconds == before


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(60.0, "1 minutes ahead of"), (-7199.0, "120 minutes behind"), (7200.0, "2 hours ahead of"), (-172_800.0, "2 days behind")],
)
def test_by_how_much_is_rounded_for_reading(ahead: float, said: str) -> None:
    assert off(ahead) == f"the clock of this box is {said} the archive's"
