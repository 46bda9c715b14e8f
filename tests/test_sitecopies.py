"""edge.sitecopies: when a copy of site state is made for the archive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edge.asks import Asks
from edge.config import Layout
from edge.errors import StoreFull
from edge.journal import SiteState
from edge.journalfiles import JournalReader, JournalWriter
from edge.sitecopies import Copy, Pace, SiteCopies, newest
from edge.store import site
from edge.wall import Gate

pytestmark = pytest.mark.asyncio


class Copying:
    """A box whose site state is whatever a test says."""

    def __init__(self, place: Path, pace: Pace) -> None:
        self.layout = Layout(place)
        self.layout.outbox.mkdir(parents=True)
        self.decided = asyncio.Event()
        self.state = b"first"
        self.full = False
        self.looks: asyncio.Queue[bytes] = asyncio.Queue()
        """What the state was at each look that ended."""
        self._loop = asyncio.get_running_loop()
        self._journal = JournalWriter(self.layout.asks)
        self.copies = SiteCopies(self.layout, self.copy, Asks(self._journal, lambda: None), self.decided, pace)

    def copy(self) -> bytes:
        state, full = self.state, self.full
        self._loop.call_soon_threadsafe(self.looks.put_nowait, state)
        if full:
            self.full = False
            raise StoreFull
        return state

    def decide(self, state: bytes) -> None:
        self.state = state
        self.decided.set()

    def asked(self) -> list[str]:
        reader = JournalReader(Gate(self.layout.asks, None), 0)
        return [ask.digest for ask in reader.read() if isinstance(ask, SiteState)]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.copies.copy_changes())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._loop.shutdown_default_executor()  # a copy that was begun is ended
            self._journal.close()


async def test_a_copy_is_made_at_start_and_when_a_person_decides_and_an_equal_one_is_not_asked_for(tmp_path: Path) -> None:
    box = Copying(tmp_path, Pace(0.001, 0, None))
    async with box.at_work():
        assert await box.looks.get() == b"first"
        box.decide(b"first")
        assert await box.looks.get() == b"first"
        box.decide(b"second")
        assert await box.looks.get() == b"second"
        box.decide(b"third")
        assert await box.looks.get() == b"third"  # so what was asked for the second stands
    assert box.asked()[:2] == [site.digest(b"first"), site.digest(b"second")]
    assert (box.layout.outbox / "site" / site.digest(b"second")).read_bytes() == b"second"


async def test_errands_are_copied_when_their_hour_comes_without_anybody_deciding(tmp_path: Path) -> None:
    box = Copying(tmp_path, Pace(0.001, 0, 0.001))
    async with box.at_work():
        await box.looks.get()
        box.state = b"an errand more"
        while await box.looks.get() != b"an errand more":
            pass
        await box.looks.get()
    assert box.asked() == [site.digest(b"first"), site.digest(b"an errand more")]


async def test_a_copy_for_which_there_is_no_room_is_made_later(tmp_path: Path) -> None:
    box = Copying(tmp_path, Pace(0.001, 0, None))
    box.full = True
    async with box.at_work():
        await box.looks.get()
        await box.looks.get()
        box.decide(b"second")
        await box.looks.get()
    assert box.asked()[:1] == [site.digest(b"first")]


async def test_the_newest_copy_that_proves_itself_is_taken(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert newest(layout) is None
    directory = layout.outbox / "site"
    directory.mkdir(parents=True)
    for number, data in enumerate((b"older", b"newer", b"torn")):
        path = directory / site.digest(data)
        path.write_bytes(data[:3] if data == b"torn" else data)
        os.utime(path, (number, number))
    assert newest(layout) == Copy(b"newer", 1.0)
