"""Weeks of a clinic behind a link that fails for ten days, by the laws of shipping, from a seed; the figures are printed (`pytest -s`)."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from edge.model import BACKLOG_SHARE, FRESH_SECONDS
from tests.cloudsync.link.history import PARTS, Clinic

SEEDS = range(int(os.environ.get("OUTPOST_HISTORIES", "8")))


@pytest.fixture(scope="module")
def clinics() -> list[Clinic]:
    found = [Clinic(seed) for seed in SEEDS]
    for clinic in found:
        clinic.run()
    return found


def test_nothing_is_lost_and_nothing_is_confirmed_twice(clinics: list[Clinic]) -> None:
    for clinic in clinics:
        assert len(clinic.studies) == 40 * 32
        assert all(study.held_at is not None and len(study.confirmed) == PARTS for study in clinic.studies)
        assert len(clinic.sent) == PARTS * len(clinic.studies)


def test_a_stat_study_of_the_tenth_day_goes_first(clinics: list[Clinic]) -> None:
    for clinic in clinics:
        waiting = {study.number for study in clinic.studies if study.received_at < clinic.back_at <= (study.held_at or 0.0)}
        assert len(waiting) >= 350
        stat = {number for number in waiting if clinic.studies[number].urgency == "stat"}
        sent = [one.piece.study for one in clinic.sent if one.at >= clinic.back_at]
        first = [number for number in sent if number in waiting][: PARTS * max(0, len(stat) - 1)]
        assert set(first) <= stat


def test_what_the_day_brings_does_not_wait_for_the_backlog(clinics: list[Clinic]) -> None:
    """The bytes that go between a routine study and its arrival are those of STAT and of the day before it, and the backlog's share."""
    waits: list[float] = []
    for clinic in clinics:
        cleared = max(study.held_at or 0.0 for study in clinic.studies if study.received_at < clinic.back_at - FRESH_SECONDS)
        days_of_backlog = (cleared - clinic.back_at) / FRESH_SECONDS
        since = [one for one in clinic.studies if clinic.back_at <= one.received_at < cleared - FRESH_SECONDS and one.urgency == "routine"]
        waits += [((one.held_at or 0.0) - one.received_at) / FRESH_SECONDS / days_of_backlog for one in since]
        late = [one for one in since if (one.held_at or 0.0) - one.received_at > FRESH_SECONDS]
        assert len(late) <= len(since) * 0.1
    waits.sort()
    middle, worst = waits[len(waits) // 2], waits[int(len(waits) * 0.95)]
    print(f"\na study received while the backlog drains waits {middle:.1%} (median) and {worst:.1%} (p95) of the time that takes")
    assert middle < 0.05


def test_the_backlog_has_its_share_while_both_wait(clinics: list[Clinic]) -> None:
    for clinic in clinics:
        both = [one for one in clinic.sent if one.both]
        if len(both) > 100:
            backlog = sum(one.piece.plain_bytes for one in both if not one.fresh)
            assert backlog >= BACKLOG_SHARE * sum(one.piece.plain_bytes for one in both) - max(one.piece.plain_bytes for one in both)


def test_stat_never_waits_for_more_than_the_part_that_is_under_way(clinics: list[Clinic]) -> None:
    for clinic in clinics:
        arrivals = sorted(study.received_at for study in clinic.studies if study.urgency == "stat")
        begun = [(one.at, one.piece.rank) for one in clinic.sent]
        for at in arrivals:
            after = [rank for began, rank in begun if began >= at][:1]
            assert after == [0]


def test_a_history_is_the_same_again_from_the_same_seed() -> None:
    first, again = (Clinic(3, before=3, outage=1, after=20) for _ in range(2))
    first.run()
    again.run()
    assert [study.held_at for study in first.studies] == [study.held_at for study in again.studies]
    assert all(earlier.at <= later.at for earlier, later in pairwise(first.sent))
