"""edge.gauge: what it says of a disk that fills."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.config import Cache, Config, Layout
from edge.gauge import Gauge
from edge.store.catalogue import Catalogue
from edge.store.room import Room
from edge.store.trend import Sample
from tests.store.rows import Clock

GB = 10**9


class Disk(Room):
    """A disk that has as much room as it is told."""

    def __init__(self, free: int, reserve: int, place: Path) -> None:
        super().__init__([place], reserve if free >= reserve else 1 << 62)
        self._is_free = free

    def free(self) -> int:
        return self._is_free


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.cache.mkdir(parents=True)
    return made


@pytest.fixture
def catalogue(layout: Layout) -> Iterator[Catalogue]:
    made = Catalogue(layout.catalogue)
    yield made
    made.close()


def gauge(layout: Layout, catalogue: Catalogue, free: int, before: list[Sample] | None = None) -> Gauge:
    if before is not None:
        layout.room.write_bytes(msgspec.json.encode(before))
    reserve = 2 * GB
    return Gauge(Config(cache=Cache(reserve_bytes=reserve)), layout, catalogue, Disk(free, reserve, layout.cache), Clock(100_000.0))


async def watched(one: Gauge, layout: Layout) -> None:
    """Until it has written its first sample."""
    task = asyncio.create_task(one.watch())
    before = layout.room.stat().st_ino if layout.room.exists() else 0
    while not layout.room.exists() or layout.room.stat().st_ino == before:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def filling(per_hour: int) -> list[Sample]:
    return [Sample(100_000.0 - hour * 3600, 30 * GB + hour * per_hour) for hour in range(10, 0, -1)]


@pytest.mark.asyncio
async def test_a_disk_that_is_full_within_a_day_is_said_a_day_ahead(layout: Layout, catalogue: Catalogue) -> None:
    one = gauge(layout, catalogue, 30 * GB, filling(2 * GB))
    await watched(one, layout)
    (alarm,) = one.alarms()
    assert alarm.startswith("At the pace of the last day the disk is full in 14 h 00: 30.0 GB are free")


@pytest.mark.asyncio
async def test_a_disk_that_lasts_for_longer_is_not_talked_about(layout: Layout, catalogue: Catalogue) -> None:
    one = gauge(layout, catalogue, 30 * GB, filling(GB // 10))
    await watched(one, layout)
    assert one.alarms() == []
    assert len(msgspec.json.decode(layout.room.read_bytes())) == 11


def test_a_disk_at_its_reserve_says_that_nothing_is_received(layout: Layout, catalogue: Catalogue) -> None:
    (alarm,) = gauge(layout, catalogue, GB).alarms()
    assert alarm.startswith("The disk is at its reserve, and nothing is received")


def test_samples_that_cannot_be_read_are_begun_anew(layout: Layout, catalogue: Catalogue) -> None:
    layout.room.write_bytes(b"{")
    assert gauge(layout, catalogue, 30 * GB).alarms() == []
