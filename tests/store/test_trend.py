"""edge.store.trend: when the disk will be full, said from a few samples."""

from __future__ import annotations

from edge.store.trend import EVERY_SECONDS, Sample, seconds_left, with_sample

HOUR = 3600.0
GB = 10**9


def line(hours: int, begin: int, per_hour: int) -> list[Sample]:
    samples: list[Sample] = []
    for quarter in range(hours * 4 + 1):
        samples = with_sample(samples, Sample(quarter * 900.0, begin + per_hour * quarter // 4))
    return samples


def test_a_disk_that_fills_evenly_is_full_when_the_line_says_so() -> None:
    samples = line(24, 100 * GB, -2 * GB)
    assert round(seconds_left(samples, 10 * GB) or 0.0) == 21 * HOUR


def test_a_disk_below_the_floor_is_full_now() -> None:
    assert seconds_left(line(10, 20 * GB, -GB), 15 * GB) == 0.0


def test_nothing_is_said_when_room_grows_or_stays_or_too_little_is_known() -> None:
    assert seconds_left(line(24, 50 * GB, 0), GB) is None
    assert seconds_left(line(24, 50 * GB, GB), GB) is None
    assert seconds_left([], GB) is None
    assert seconds_left([Sample(0.0, 50 * GB), Sample(900.0, 40 * GB), Sample(1800.0, 30 * GB)], GB) is None


def test_a_night_without_reception_counts() -> None:
    day = [Sample(hour * HOUR, 100 * GB - 5 * GB * min(hour, 8)) for hour in range(24)]
    left = seconds_left(day, 10 * GB)
    assert left is not None
    assert left > 24 * HOUR


def test_a_day_of_samples_is_kept_however_often_they_come() -> None:
    samples: list[Sample] = []
    for minute in range(3 * 24 * 60):
        samples = with_sample(samples, Sample(minute * 60.0, minute))
    assert len(samples) <= 24 * HOUR / (0.9 * EVERY_SECONDS) + 1
    assert samples == sorted(samples, key=lambda one: one.at)
    assert samples[-1].at - samples[0].at >= 23 * HOUR


def test_a_clock_that_was_set_back_begins_anew() -> None:
    samples = [Sample(1e9, 1), Sample(1e9 + 900, 2)]
    assert with_sample(samples, Sample(5e8, 3)) == [Sample(5e8, 3)]
