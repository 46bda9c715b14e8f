"""edge.status: the one sentence, for each case that a clinic can be in."""

from __future__ import annotations

import json

import pytest

from edge.link import LinkState
from edge.status import Figures, Link, ago, duration, lamp, link, sentence, size, study

NOW = 1_000_000.0
CALM = {
    "studies": 1204,
    "waiting_studies": 0,
    "waiting_bytes": 0,
    "last_held_at": NOW - 180,
    "stopped": 0,
    "link": Link("up", NOW - 9000, "The link is up."),
    "receiving": 0,
}
DOWN = {"link": Link("down", NOW - 600, "The link has been down since 09:12.")}
WAITING = {"waiting_studies": 37, "waiting_bytes": 4_100_000_000}

CASES = [
    ({"studies": 0}, "No study has arrived yet.", "green"),
    ({}, "All 1,204 studies are safe in the archive; the last one 3 minutes ago.", "green"),
    (
        {"dropped": 1},
        "1,203 other studies are safe in the archive; the last one 3 minutes ago. "
        "1 study stays here only, as somebody decided: `outpost queue` says why.",
        "amber",
    ),
    ({"studies": 1}, "The only study is safe in the archive; the last one 3 minutes ago.", "green"),
    ({"last_held_at": None}, "All 1,204 studies are safe in the archive; the last one at an unknown time.", "green"),
    (WAITING, "37 of 1,204 studies not yet in the archive (4.1 GB); on the way.", "amber"),
    (
        {**WAITING, "link": Link("up", goodput_bytes_per_second=427_083.0)},
        "37 of 1,204 studies not yet in the archive (4.1 GB); at the present speed that takes about 2 h 40.",
        "amber",
    ),
    (
        {"studies": 2, "waiting_studies": 1, "waiting_bytes": 0, "receiving": 1},
        "1 of 2 studies not yet in the archive (0 bytes); 1 study is being received.",
        "amber",
    ),
    (
        {**WAITING, "hold": "Shipping is paused until 14:00."},
        "Shipping is paused until 14:00. Scanning continues; 37 of 1,204 studies not yet in the archive (4.1 GB).",
        "amber",
    ),
    (
        {**WAITING, **DOWN, "hold": "Shipping is paused until 14:00."},
        "Shipping is paused until 14:00. Scanning continues; 37 of 1,204 studies not yet in the archive (4.1 GB).",
        "amber",
    ),
    (
        {"hold": "Shipping is paused until 14:00."},
        "All 1,204 studies are safe in the archive; the last one 3 minutes ago. Shipping is paused until 14:00.",
        "green",
    ),
    ({**WAITING, "receiving": 2}, "37 of 1,204 studies not yet in the archive (4.1 GB); 2 studies are being received.", "amber"),
    (
        {**WAITING, **DOWN, "receiving": 2},
        "The link has been down since 09:12. Scanning continues, and shipping goes on by itself as soon as it can; "
        "37 of 1,204 studies not yet in the archive (4.1 GB).",
        "amber",
    ),
    (
        {**WAITING, **DOWN, "stopped": 1},
        "37 of 1,204 studies not yet in the archive (4.1 GB); 1 of them waits for a person: `outpost queue` says why, and what to do.",
        "red",
    ),
    (
        {**WAITING, "stopped": 3},
        "37 of 1,204 studies not yet in the archive (4.1 GB); 3 of them wait for a person: `outpost queue` says why, and what to do.",
        "red",
    ),
    (
        {**WAITING, "link": Link("credential", sentence="The archive refuses our credential.")},
        "The archive refuses our credential. Scanning continues, and shipping goes on by itself as soon as it can; "
        "37 of 1,204 studies not yet in the archive (4.1 GB).",
        "red",
    ),
    (
        {**WAITING, "link": Link("conflict", sentence="Another box writes.")},
        "Another box writes. Scanning continues, and nothing more is shipped; 37 of 1,204 studies not yet in the archive (4.1 GB).",
        "red",
    ),
    (
        {"link": Link("conflict", sentence="Another box writes.")},
        "All 1,204 studies are safe in the archive; the last one 3 minutes ago. Another box writes.",
        "red",
    ),
    ({"studies": 0, "link": Link("credential", sentence="Expired.")}, "No study has arrived yet. Expired.", "red"),
    ({**WAITING, "link": Link()}, "37 of 1,204 studies not yet in the archive (4.1 GB); on the way.", "amber"),
    (
        {**WAITING, "link": Link("silent", NOW - 240, "Cloudsync was last heard of 4 minutes ago.")},
        "Cloudsync was last heard of 4 minutes ago. Scanning continues, and nothing more is shipped; "
        "37 of 1,204 studies not yet in the archive (4.1 GB).",
        "red",
    ),
    (
        {"conflicts": 1},
        "All 1,204 studies are safe in the archive; the last one 3 minutes ago. "
        "1 study waits for a person to choose between two versions: see `outpost conflicts ls`.",
        "red",
    ),
    (
        {**WAITING, "link": Link("clock", sentence="The clock of this box is 3 hours ahead of the archive's: set it.", answers=True)},
        "The clock of this box is 3 hours ahead of the archive's: set it. Scanning continues, and shipping goes on; "
        "37 of 1,204 studies not yet in the archive (4.1 GB).",
        "red",
    ),
    (
        {**WAITING, "hold": "Shipping is paused.", "link": Link("clock", sentence="Its clock is wrong: set it.", answers=True)},
        "Its clock is wrong: set it. Shipping is paused. Scanning continues; 37 of 1,204 studies not yet in the archive (4.1 GB).",
        "red",
    ),
    (
        {"link": Link("clock", sentence="The clock of this box is 400 days behind the archive's: set it.")},
        "All 1,204 studies are safe in the archive; the last one 3 minutes ago. "
        "The clock of this box is 400 days behind the archive's: set it.",
        "red",
    ),
    ({**DOWN}, "All 1,204 studies are safe in the archive; the last one 3 minutes ago.", "green"),
]


@pytest.mark.parametrize(("change", "said", "colour"), CASES, ids=[case[1][:60] for case in CASES])
def test_each_case_has_its_sentence_and_its_lamp(change: dict[str, object], said: str, colour: str) -> None:
    figures = Figures(**{**CALM, **change})  # type: ignore[arg-type]
    assert sentence(figures, NOW) == said
    assert lamp(figures) == colour


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 second"),
        (1.4, "1 second"),
        (40, "40 seconds"),
        (89.4, "89 seconds"),
        (90, "2 minutes"),
        (180, "3 minutes"),
        (5399, "90 minutes"),
        (5400, "1 h 30"),
        (9600, "2 h 40"),
        (36_300, "10 h 05"),
        (172_800, "2 days"),
        (864_000, "10 days"),
    ],
)
def test_durations_are_rounded_for_reading(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def said_by_cloudsync(state: str, answered_at: float) -> LinkState:
    return LinkState(state, NOW - 9000, 7.0, "As cloudsync said.", answered_at, 8, NOW)


@pytest.mark.parametrize(
    ("state", "answered_at", "said"),
    [
        ("up", NOW - 119, "As cloudsync said."),
        ("up", NOW - 240, "The archive answered 4 minutes ago."),
        ("up", 0.0, "As cloudsync said."),
        ("down", NOW - 240, "As cloudsync said."),
    ],
)
def test_an_archive_that_was_not_asked_for_a_while_is_not_said_to_answer(state: str, answered_at: float, said: str) -> None:
    found = link(said_by_cloudsync(state, answered_at), None, NOW)
    assert found == Link(state, NOW - 9000, said, 7.0, 8, answers=state == "up")


def test_what_a_silent_cloudsync_said_is_not_believed() -> None:
    found = link(said_by_cloudsync("up", NOW), NOW - 240, NOW)
    sentence = "Cloudsync, which ships to the archive, was last heard of 4 minutes ago: its log says why."
    assert found == Link("silent", NOW - 240, sentence, 0.0, 8)
    found = link(None, NOW - 240, NOW)
    assert found.sentence == "Cloudsync, which ships to the archive, was not heard of yet: its log says why."


def test_before_anything_was_heard_nothing_is_said() -> None:
    assert link(None, None, NOW) == Link()


def test_a_clock_that_jumped_back_does_not_speak_of_the_future() -> None:
    assert ago(NOW + 50, NOW) == "1 second ago"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (4_100_000_000, "4.1 GB"), (5 * 10**15, "5000.0 TB")]
)
def test_sizes_are_in_decimal_units(count: int, said: str) -> None:
    assert size(count) == said


def row(
    packs: int = 2, closed: int = 2, coded: int = 2, held: int = 2, here: int = 2, away: int = 0, rejected: int = 0
) -> tuple[object, ...]:
    counts = (closed, coded, 4, 6, held, here, away)
    return ("1.2.3", json.dumps({"a": 1}), "{}", NOW, 1, 120, packs, 9, 3, *counts, None, NOW, rejected, "[]")


@pytest.mark.parametrize(
    ("counts", "link_up", "state", "availability"),
    [
        ({"closed": 1, "coded": 0, "held": 0}, True, "received", "ONLINE"),
        ({"coded": 1, "held": 0}, True, "local", "ONLINE"),
        ({"held": 1}, True, "shipping", "ONLINE"),
        ({}, True, "held", "ONLINE"),
        ({"here": 1, "away": 1}, True, "held", "NEARLINE"),
        ({"here": 0, "away": 2}, True, "evicted", "NEARLINE"),
        ({"here": 0, "away": 2}, False, "evicted", "OFFLINE"),
        ({"rejected": 1}, True, "rejected", "UNAVAILABLE"),
    ],
)
def test_a_study_is_as_far_as_the_last_of_its_packs(counts: dict[str, int], link_up: bool, state: str, availability: str) -> None:
    found = study(row(**counts), link_up)
    assert (found.state, found.availability) == (state, availability)
    assert (found.study, found.patient, found.instances, found.stopped) == ("1.2.3", {"a": 1}, 120, None)
