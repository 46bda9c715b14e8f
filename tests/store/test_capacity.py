"""edge.store.capacity: what a week of work says, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.store.capacity import ASSUMED_RATIO, Growth, Measured, plan

GB = 10**9
EMPTY = Measured(1.0, {}, {}, 0, 400 * GB, 500 * GB, 2 * GB, 0, 0.0, 0.0, None, False)
BUSY = Measured(
    days=7.0,
    arrived={"CT": 70 * GB, "MG": 35 * GB},
    sealed={"CT": (100 * GB, 40.0 * GB)},
    cached=100 * GB,
    cache_limit=300 * GB,
    free=400 * GB,
    reserve=0,
    waiting=0,
    link_per_second=0.0,
    kept_per_day=0.0,
    archive_free=600 * GB,
    archive_beside=False,
)


def test_an_empty_site_has_no_rate_and_nothing_fills() -> None:
    found = plan(EMPTY)
    assert (found.growth, found.cache_days, found.state_full_days, found.archive_full_days, found.backlog_per_day) == (
        (),
        None,
        None,
        None,
        0.0,
    )


def test_the_archive_grows_by_what_was_measured_of_each_modality() -> None:
    found = plan(BUSY)
    assert found.growth == (
        Growth("CT", 10.0 * GB, 0.4, "measured", 0.4 * 10 * GB * 365),
        Growth("MG", 5.0 * GB, 0.4, "measured over all modalities", 0.4 * 5 * GB * 365),
    )
    assert plan(replace(BUSY, sealed={})).growth[0] == Growth("CT", 10.0 * GB, ASSUMED_RATIO, "assumed", 0.5 * 10 * GB * 365)


@pytest.mark.parametrize(
    ("change", "days"),
    [
        ({}, 20.0),
        ({"free": 100 * GB}, 200 / 15),
        ({"free": 100 * GB, "reserve": 50 * GB}, 10.0),
        ({"free": 0, "cached": 0}, 0.0),
    ],
    ids=["the high-water mark ends it", "the disk ends it sooner", "the reserve is not for the cache", "a full disk"],
)
def test_the_cache_holds_so_many_days(change: dict[str, int], days: float) -> None:
    assert plan(replace(BUSY, **change)).cache_days == pytest.approx(days)


@pytest.mark.parametrize(
    ("change", "days"),
    [
        ({}, None),
        ({"link_per_second": 6 * GB / 86_400}, None),
        ({"link_per_second": 3 * GB / 86_400}, 500 / 7.5),
        ({"link_per_second": 3 * GB / 86_400, "waiting": 350 * GB}, 150 / 7.5),
        ({"link_per_second": 3 * GB / 86_400, "waiting": 600 * GB}, 0.0),
        ({"archive_beside": True}, 500 / 6),
        ({"kept_per_day": 1.0 * GB}, 500.0),
        ({"kept_per_day": 0.1 * GB}, None),
    ],
    ids=[
        "the cache gives way",
        "the link keeps up",
        "the link falls behind",
        "much waits already",
        "more waits than there is room for",
        "the archive is on the same disk",
        "what is kept for good",
        "not within ten years",
    ],
)
def test_the_state_disk_is_full_then(change: dict[str, float], days: float | None) -> None:
    assert plan(replace(BUSY, **change)).state_full_days == (None if days is None else pytest.approx(days))


def test_the_disk_of_the_archive_is_full_when_what_is_sealed_has_filled_it() -> None:
    assert plan(BUSY).archive_full_days == pytest.approx(100.0)
    assert plan(replace(BUSY, archive_free=None)).archive_full_days is None
