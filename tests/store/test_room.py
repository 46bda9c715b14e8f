"""edge.store.room: who may write how far into what is free, and the ballast that goes when nothing is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import StoreFull
from edge.store.room import Room, disks

MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB and 200 files."""
    without = pytest.fail if os.environ.get("CI") else pytest.skip
    if os.getuid() != 0:
        without("needs root to mount a small disk")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        without("this container may not mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, count: int) -> None:
    (place / f"filled-{count}").write_bytes(bytes(count))


def test_reception_stops_at_the_reserve_and_coding_for_the_archive_at_half_of_it(small: Path) -> None:
    room = Room([small], reserve_bytes=4 * MIB)
    room.demand(3 * MIB)
    with pytest.raises(StoreFull):
        room.demand(5 * MIB)
    fill(small, 5 * MIB)
    with pytest.raises(StoreFull):
        room.demand()
    room.demand_for_archive(MIB // 2)
    with pytest.raises(StoreFull):
        room.demand_for_archive(2 * MIB)


def test_a_disk_without_inodes_is_full(small: Path) -> None:
    room = Room([small], reserve_bytes=0)
    room.demand()
    for number in range(190):
        (small / str(number)).touch()
    with pytest.raises(StoreFull):
        room.demand()


def test_the_ballast_is_there_while_there_is_room_and_goes_when_the_disk_is_full(small: Path) -> None:
    room = Room([small], reserve_bytes=MIB, ballast=small / "ballast", ballast_bytes=2 * MIB)
    assert room.take_ballast()
    assert (small / "ballast").stat().st_blocks * 512 >= 2 * MIB
    assert not room.scarce()
    fill(small, room.free() - MIB // 8)
    assert room.scarce()
    room.give_way()
    room.give_way()
    assert room.free() >= 2 * MIB
    with pytest.raises(StoreFull):  # the room that the ballast left is for eviction and the catalogue
        room.demand()
    assert not room.scarce()
    assert not room.take_ballast()
    next(small.glob("filled-*")).unlink()
    assert room.take_ballast()
    room.demand()


def test_a_ballast_that_does_not_fit_leaves_nothing(small: Path) -> None:
    room = Room([small], reserve_bytes=0, ballast=small / "ballast", ballast_bytes=16 * MIB)
    assert not room.take_ballast()
    assert list(small.iterdir()) == []


def test_without_a_ballast_nothing_is_made_and_nothing_is_given_up(small: Path) -> None:
    room = Room([small], reserve_bytes=0, ballast=small / "ballast", ballast_bytes=0)
    assert room.take_ballast()
    fill(small, room.free())
    assert not room.scarce()
    room.give_way()
    assert not (small / "ballast").exists()


def test_whoever_is_turned_away_at_the_reserve_is_told_of_and_whoever_may_use_it_is_not(small: Path) -> None:
    told: list[int] = []
    room = Room([small], reserve_bytes=4 * MIB, refused=lambda: told.append(room.free()))
    room.demand(3 * MIB)
    for demand in (room.demand, room.demand_for_archive):
        with pytest.raises(StoreFull):
            demand(8 * MIB)
    assert len(told) == 1


def test_each_disk_is_looked_at_once(small: Path, tmp_path: Path) -> None:
    assert disks(tmp_path, small, tmp_path) == [tmp_path, small]
    assert Room(disks(tmp_path, small), 0).free() == Room([small], 0).free()
