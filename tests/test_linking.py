"""edge.linking and `outpost link`: how the link is, what may go over it, and a person's pause."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge import cli, status
from edge.asks import Asks
from edge.config import Layout
from edge.control.link import LinkNow
from edge.controller import Controller
from edge.errors import Refused
from edge.journal import Allowance, Pause, Resume, encode
from edge.journalfiles import JournalReader, JournalWriter
from edge.link import LinkState
from edge.link_commands import moment
from edge.linking import Linking
from edge.reach import Reach
from edge.store.catalogue import Catalogue
from edge.wall import Gate
from tests.store.rows import Clock

NOON = datetime(2027, 1, 31, 12)  # noqa: DTZ001 - the clock on the wall


def allowance(asked: int = 0, hold: str = "", until: float | None = None) -> Allowance:
    return Allowance(
        asked=asked,
        hold=hold,
        paused_until=until,
        cap_bytes_per_second=125_000.0,
        budget_bytes=50_000_000_000,
        used_bytes=12_300_000_000,
        month_began_at=datetime(2027, 1, 1).timestamp(),  # noqa: DTZ001
        month_ends_at=datetime(2027, 2, 1).timestamp(),  # noqa: DTZ001
        round_trip_seconds=0.612,
    )


class Box:
    """Edge's side of the wall; `cloudsync` follows each ask in its place."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        self.layout.edge.mkdir(parents=True)
        self.clock = Clock()
        self.catalogue = Catalogue(self.layout.catalogue)
        self.asks = JournalWriter(self.layout.asks)
        self.linking = Linking(self.catalogue, Asks(self.asks, self.cloudsync), Reach(self.catalogue, 900.0, self.clock), self.clock)
        self.followed: list[object] = []

    def cloudsync(self) -> None:
        for ask in JournalReader(Gate(self.layout.asks), len(self.followed)).read():
            self.followed.append(ask)
            held = "paused" if isinstance(ask, Pause) else ""
            self.say(allowance(ask.seq, held, ask.until if isinstance(ask, Pause) else None))

    def say(self, told: Allowance) -> None:
        with self.catalogue.change():
            self.catalogue.set_allowance(encode(told).decode())

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        controller = asyncio.create_task(Controller(self.layout.control, [self.linking]).serve())
        while not self.layout.control.exists():
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            controller.cancel()

    async def run(self, *arguments: str) -> str:
        words = ["link", *arguments, "--state", str(self.layout.state)]
        result = await asyncio.to_thread(CliRunner().invoke, cli.app, words)
        assert result.exit_code == 0, result.output
        return result.output

    def close(self) -> None:
        self.catalogue.close()
        self.asks.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


@pytest.mark.asyncio
async def test_the_command_says_how_the_link_is_and_what_went_of_the_budget(box: Box) -> None:
    now = box.clock.now()
    with box.catalogue.change():
        box.catalogue.set_link(LinkState("up", now - 60, 61_000.0, "The archive answers.", now, 7, now))
    box.say(allowance())
    async with box.serving():
        said = await box.run()
        (row,) = [json.loads(line) for line in (await box.run("--json")).splitlines()]
    assert f"The archive answers. (since {status.local(now - 60)})" in said
    assert "61.0 kB a second" in said
    assert "612 ms" in said
    assert "125.0 kB a second now" in said
    assert "12.3 GB since 2027-01-01 of 50.0 GB, until 2027-02-01" in said
    assert (row["state"], row["used_bytes"], row["hold"]) == ("up", 12_300_000_000, "")


@pytest.mark.asyncio
async def test_a_person_pauses_and_resumes_and_is_told_once_cloudsync_does_so(box: Box) -> None:
    async with box.serving():
        assert "paused until somebody lets it go on: `outpost link resume`" in await box.run("pause")
        assert box.linking.hold() == "Shipping is paused until somebody lets it go on: `outpost link resume`."
        await box.run("pause", "--until", "2099-01-31 14:00")
        assert "paused" not in await box.run("resume")
    first, second, third = box.followed
    assert isinstance(first, Pause)
    assert first.until is None
    assert isinstance(second, Pause)
    assert second.until == datetime(2099, 1, 31, 14).timestamp()  # noqa: DTZ001
    assert isinstance(third, Resume)
    assert box.linking.hold() == ""


@pytest.mark.parametrize(("answered_at", "says"), [(2000.0, ""), (900.0, "The clock is wrong.")])
def test_a_clock_that_is_wrong_hinders_only_where_the_archive_does_not_answer(box: Box, answered_at: float, says: str) -> None:
    with box.catalogue.change():
        box.catalogue.set_link(LinkState("clock", 1000.0, 0.0, "The clock is wrong.", answered_at, 7, box.clock.now()))
    assert box.linking.hindered() == says


def test_a_time_is_the_next_one_of_the_clock_on_the_wall() -> None:
    assert moment("14:00", NOON) == datetime(2027, 1, 31, 14)  # noqa: DTZ001
    assert moment("08:00", NOON) == datetime(2027, 2, 1, 8)  # noqa: DTZ001
    assert moment("2027-02-03 04:05", NOON) == moment("2027-02-03T04:05", NOON) == datetime(2027, 2, 3, 4, 5)  # noqa: DTZ001
    for wrong, reason in (("2027-01-31 11:59", "has passed"), ("soon", "is no time")):
        with pytest.raises(Refused, match=reason):
            moment(wrong, NOON)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (None, ""),
        (allowance(), ""),
        (allowance(hold="paused", until=NOON.timestamp()), "Shipping is paused until 2027-01-31 12:00."),
        (allowance(hold="paused", until=1.0), ""),
        (
            allowance(hold="reserve"),
            "What is left of the data budget (50.0 GB) is kept for STAT studies and recalls; the next month of it begins on 2027-02-01.",
        ),
        (
            allowance(hold="spent"),
            "The data budget (50.0 GB) is used up: the next month of it begins on 2027-02-01, or raise link.monthly_budget_bytes.",
        ),
    ],
)
def test_what_keeps_things_from_being_shipped_is_a_sentence(told: Allowance | None, sentence: str) -> None:
    assert status.hold(told, NOON.timestamp() - 60) == sentence


def test_the_answer_has_a_field_for_each_that_the_command_shows() -> None:
    assert {"state", "since", "goodput_bytes_per_second", "round_trip_seconds", "cap_bytes_per_second", "used_bytes"} <= set(
        LinkNow.__struct_fields__
    )
