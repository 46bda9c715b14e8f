"""edge.natives: instances made native by real workers, dropped, ended, and turned away; nothing of them stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from edge.dimse.ports import Ready
from edge.errors import Corrupt, StoreFull
from edge.natives import WORKERS, Dropped, Natives
from edge.store.room import Room
from tests.dimse.fakes import FILES, MR, MR_RLE, Instance, instance

pytestmark = pytest.mark.asyncio


@pytest.fixture
def opened() -> Iterator[tuple[Instance, int]]:
    """An instance in RLE, and a descriptor of its file."""
    one = instance(FILES / MR_RLE)
    descriptor = os.open(one.path, os.O_RDONLY)
    yield one, descriptor
    os.close(descriptor)


def ready(one: Instance, descriptor: int, length: int | None = None) -> Ready:
    return Ready(one.located, descriptor, one.located.dataset_offset, one.located.dataset_length if length is None else length)


def natives(place: Path, reserve_bytes: int = 0) -> Natives:
    return Natives(place, Room([place], reserve_bytes), asyncio.get_running_loop())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_what_was_made_is_read_from_a_file_without_a_name(tmp_path: Path, opened: tuple[Instance, int]) -> None:
    made = natives(tmp_path)
    before = descriptors()
    try:
        underway = made.begin(ready(*opened))
        while not await asyncio.to_thread(underway.wait, 1.0):
            pass
        native = underway.take()
        assert os.listdir(tmp_path) == []
        data = os.pread(native.descriptor, native.length + 1, native.offset)
        os.close(native.descriptor)
    finally:
        await made.close()
    assert len(data) == native.length
    assert pydicom.dcmread(FILES / MR).PixelData in data
    assert native.located.transfer_syntax == "1.2.840.10008.1.2.1"
    assert descriptors() == before


async def test_one_that_does_not_decode_fails_alone(tmp_path: Path, opened: tuple[Instance, int]) -> None:
    made = natives(tmp_path)
    before = descriptors()
    try:
        one, descriptor = opened
        bad, good = made.begin(ready(one, descriptor, one.located.dataset_length - 100)), made.begin(ready(one, descriptor))
        for underway in (bad, good):
            while not await asyncio.to_thread(underway.wait, 1.0):
                pass
        os.close(good.take().descriptor)
        with pytest.raises(Corrupt):
            bad.take()
    finally:
        await made.close()
    assert descriptors() == before


async def test_nothing_of_what_is_not_wanted_any_more_stays(tmp_path: Path, opened: tuple[Instance, int]) -> None:
    """More of them than there are workers, so that some are dropped before their turn."""
    made = natives(tmp_path)
    before = descriptors()
    several = [made.begin(ready(*opened)) for _ in range(WORKERS + 2)]
    for underway in several:
        underway.drop()
    for underway in several:
        while not await asyncio.to_thread(underway.wait, 1.0):
            pass
    await made.close()
    assert descriptors() == before


async def test_what_is_under_way_when_outpost_ends_is_dropped(tmp_path: Path, opened: tuple[Instance, int]) -> None:
    made = natives(tmp_path)
    underway = made.begin(ready(*opened))
    await made.close()
    while not await asyncio.to_thread(underway.wait, 1.0):
        pass
    with pytest.raises(Dropped):
        underway.take()


async def test_nothing_is_made_where_the_disk_is_at_its_reserve(tmp_path: Path, opened: tuple[Instance, int]) -> None:
    made = natives(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(StoreFull):
        made.begin(ready(*opened))
    await made.close()
