"""The cap on the link: by the clock, as a function of values, and on the wire, as a proxy counts it."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import datetime
from pathlib import Path

import pytest

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.port import md5_of
from cloudsync.link.goodput import Goodput, deadline_seconds
from cloudsync.link.pacing import Allowance, Pacing
from cloudsync.link.schedule import schedule
from edge.clock import SystemClock
from edge.config import parse
from edge.errors import ConfigError
from tests import azurite
from tests.counting import counting

CAP = 300_000.0
MONDAY = datetime(2026, 6, 1)  # noqa: DTZ001 - the clinic's clock


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY.replace(day=1 + day, hour=hour, minute=minute)


def test_without_a_cap_the_line_is_free() -> None:
    assert schedule(0, {}).cap_at(at(0, 12)) == 0


def test_the_clinic_keeps_its_share_while_it_works() -> None:
    works = schedule(1000, {"mon-fri 08:00-18:00": 30})
    assert [works.cap_at(at(0, hour, minute)) for hour, minute in ((7, 59), (8, 0), (17, 59), (18, 0))] == [1000, 300, 300, 1000]
    assert works.cap_at(at(4, 12)) == 300
    assert works.cap_at(at(5, 12)) == 1000
    assert works.least == 300


def test_hours_over_midnight_belong_to_the_day_they_begin_in() -> None:
    night = schedule(1000, {"fri 22:00-06:00": 50})
    assert night.cap_at(at(4, 23)) == 500
    assert night.cap_at(at(5, 5, 59)) == 500
    assert night.cap_at(at(5, 6)) == 1000
    assert night.cap_at(at(4, 5)) == 1000


def test_days_may_go_over_the_week_s_end_and_a_day_ends_at_24() -> None:
    ends = schedule(1000, {"sat-mon 20:00-24:00": 10})
    assert [ends.cap_at(at(day, 23, 59)) for day in (0, 1, 4, 5, 6)] == [100, 1000, 1000, 100, 100]
    assert ends.cap_at(at(0, 0)) == 1000


def test_where_several_hours_fit_the_least_counts() -> None:
    assert schedule(1000, {"00:00-24:00": 80, "mon 09:00-10:00": 20, "08:00-12:00": 60}).cap_at(at(0, 9)) == 200


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('schedule = { "08:00-18:00" = 30 }', "link.schedule"),
        ('cap_bytes_per_second = 1e6\nschedule = { "8-18" = 30 }', "link.schedule.8-18"),
        ('cap_bytes_per_second = 1e6\nschedule = { "08:00-08:00" = 30 }', "link.schedule.08:00-08:00"),
        ('cap_bytes_per_second = 1e6\nschedule = { "08:00-25:00" = 30 }', "link.schedule.08:00-25:00"),
        ('cap_bytes_per_second = 1e6\nschedule = { "08:00-18:00" = 0 }', "link.schedule.08:00-18:00"),
        ('cap_bytes_per_second = 4000.0\nschedule = { "08:00-18:00" = 10 }', "link.cap_bytes_per_second"),
        ("cap_bytes_per_second = -1.0", "link.cap_bytes_per_second"),
    ],
)
def test_settings_that_say_no_cap_are_refused_by_name(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse(f"[link]\n{text}\n")
    assert str(fault.value).startswith(f"{key} ") or str(fault.value).startswith(f"{key}:")


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_never_exceeds_the_cap_by_more_than_what_may_be_caught_up(seed: int) -> None:
    source, now, allowance, gone = random.Random(seed), 0.0, Allowance(0.0), 0.0
    for _ in range(2000):
        count = source.randint(1, 40_000)
        allowance, gone = allowance.spent(count, CAP, now), gone + count
        now += allowance.wait_seconds(CAP) + source.choice([0.0, 0.0, source.expovariate(20)])
        assert gone <= CAP * (now + 0.25) + 1


def test_a_pause_of_the_process_is_caught_up_and_a_long_one_makes_no_burst() -> None:
    behind = Allowance(0.0).spent(CAP, CAP, 0.0)
    assert behind.wait_seconds(CAP) == pytest.approx(1)
    assert behind.spent(0, CAP, 1.1).bytes == pytest.approx(CAP * 0.1)
    assert behind.spent(0, CAP, 1000).bytes == pytest.approx(CAP * 0.25)


def test_what_we_hold_back_ourselves_is_no_stall() -> None:
    night = Goodput(bytes_per_second=1_000_000)
    assert deadline_seconds(1 << 20, night, 4, 20_000) > 2 * 4 * (1 << 20) / 20_000
    assert deadline_seconds(1 << 20, Goodput(), 16, 2048) > 2 * 16 * (1 << 20) / 2048


@pytest.mark.asyncio
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_the_cap_holds_on_the_wire_within_5_percent(direction: str, emulator: azurite.Azurite, tmp_path: Path) -> None:
    container = f"c{uuid.uuid4().hex}"
    emulator.make_container(container)
    parts = {f"site/{number}": random.Random(number).randbytes(225_000) for number in range(4)}
    if direction == "down":
        stocking = AzureBlob(container, emulator.credential(tmp_path, emulator.connection_string))
        for name, data in parts.items():
            await stocking.put(name, data, md5_of(data))
        await stocking.close()
    async with counting(emulator.port) as wire:
        there = azurite.Azurite(wire.port, tmp_path)
        pacing = Pacing(SystemClock(), lambda: CAP, CAP)
        archive = AzureBlob(container, there.credential(tmp_path, there.sas_address(container, "crl")), pacing)
        if direction == "up":
            await asyncio.gather(*(archive.put(name, data, md5_of(data)) for name, data in parts.items()))
        else:
            assert await asyncio.gather(*map(archive.get, parts)) == list(parts.values())
        await archive.close()
    crossed, way = (wire.up, pacing.up) if direction == "up" else (wire.down, pacing.down)
    assert crossed.bytes == pytest.approx(way.wire_bytes * 1448 / 1500, rel=0.01), "what is counted is what crosses"
    rate = crossed.rate(after=0.4)
    seconds = 0.6 * crossed.bytes / rate
    assert rate * seconds <= CAP * (seconds * 1.05 + 0.25), "with what may be caught up after a stall of the machine"
    assert rate >= CAP * 0.6, "a loaded machine may stall, and loses what it cannot catch up"
    assert crossed.bytes <= CAP * (crossed.seconds * 1.05 + 1.5), "what buffers take at the beginning"
