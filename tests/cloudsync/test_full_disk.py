"""The disk of cloudsync's own records runs full: it says so, waits, and goes on by itself where it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloudsync.ledger.ledger import Ledger
from cloudsync.setup import NewSite
from edge.config import Layout
from edge.errors import StoreFull
from edge.journal import Held
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide

pytestmark = pytest.mark.asyncio


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can mount a small disk")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place: Path) -> Path:
    """Take every byte of a disk that is left; the file that has them."""
    path = place / "another program's"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


async def test_cloudsync_outlasts_a_full_disk_and_ships_when_there_is_room(
    site: NewSite, layout: Layout, small: Path, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    subprocess.run(["cp", "-a", f"{layout.cloudsync}/.", small], check=True)
    layout.cloudsync.rename(layout.state / "before")
    layout.cloudsync.symlink_to(small)
    edge, pack = EdgeSide(layout), CodedPack.generated(1)
    async with running():
        taken = fill(small)
        for _ in range(40):  # more than the room that is left in pages of the log
            edge.code(pack)
        await edge.until(lambda: "the disk of the state directory is full" in caplog.text, "the full disk")
        assert not edge.heard(Held)
        taken.unlink()
        await edge.hears(Held, pack=pack.pack)
    edge.close()


async def test_a_ledger_that_finds_no_room_says_so_and_stays_as_it_was(small: Path) -> None:
    async with opened(small) as ledger:
        taken = fill(small)
        count = 0
        with pytest.raises(StoreFull, match="the disk of the state directory is full"):
            for count in range(1000):  # noqa: B007
                await ledger.chain.owe([bytes(64)], 0.0)
        before = await ledger.chain.queued(1000)
        assert (0 if before is None else len(before.entries)) == count
    taken.unlink()
    async with opened(small) as ledger:
        assert await ledger.chain.queued(1000) == before
        await ledger.chain.owe([b"{}"], 0.0)


async def test_a_ledger_cannot_be_made_on_a_full_disk_and_is_not_called_damaged(small: Path) -> None:
    fill(small)
    with pytest.raises(StoreFull):
        async with opened(small):
            pass


@asynccontextmanager
async def opened(place: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(place / "ledger.db")
    try:
        yield ledger
    finally:
        await ledger.close()
