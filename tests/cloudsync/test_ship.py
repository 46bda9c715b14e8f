"""What is chosen to be sent next, while something else ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path

import pytest

from cloudsync.archive.folder import Folder
from cloudsync.archive.retrying import Wake
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.shipping import Shipping
from cloudsync.ledger.values import Complete
from cloudsync.seal import keys
from cloudsync.sealed import SealedFiles
from cloudsync.setup import NewSite
from cloudsync.ship import Shipper
from cloudsync.teller import Teller
from cloudsync.watch import Watch
from edge.clock import SystemClock
from edge.config import Layout
from edge.journalfiles import JournalReader, JournalWriter
from edge.wall import Gate
from tests.cloudsync.edge_side import EdgeSide

pytestmark = pytest.mark.asyncio


class Slow(Shipping):
    """A ledger's shipping side whose answer to a later question can be held back."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.database)
        self.choices = asyncio.Queue[None]()
        self.answers = asyncio.Event()
        self.answers.set()

    async def complete(self, at_most: int) -> tuple[Complete, ...]:
        self.choices.put_nowait(None)
        await self.answers.wait()
        return await super().complete(at_most)


class Held(Folder):
    """An archive that waits with what it is given."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.given = asyncio.Queue[str]()
        self.takes = asyncio.Event()

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        self.given.put_nowait(name)
        await self.takes.wait()
        await super().put(name, data, md5)


async def test_what_ends_while_the_next_is_chosen_is_not_sent_once_more(
    edge: EdgeSide, layout: Layout, site: NewSite, archive_folder: Path
) -> None:
    edge.site_state(b"a state")
    layout.sealed.mkdir(exist_ok=True)
    changed, settled, clock, wake = asyncio.Event(), asyncio.Event(), SystemClock(), Wake()
    archive = Held(archive_folder)
    async with contextlib.AsyncExitStack() as stack:
        ledger = await Ledger.open(layout.ledger)
        stack.push_async_callback(ledger.close)
        slow = Slow(ledger)
        await ledger.asked.commit(JournalReader(Gate(layout.asks), 0).read(), {})
        facts = stack.enter_context(contextlib.closing(JournalWriter(layout.facts)))
        shipper = Shipper(
            dataclasses.replace(ledger, shipping=slow),
            keys.load(layout.keys),
            archive,
            Gate(layout.outbox),
            SealedFiles(layout.sealed),
            Teller(ledger, facts, lambda: None),
            Watch(clock, wake, lambda: 0.0, lambda _: None, 0),
            wake,
            clock,
            changed=changed,
            lanes=lambda: 4,
            settled=settled.set,
        )
        running = asyncio.create_task(shipper.run())
        await slow.choices.get()
        await archive.given.get()
        slow.answers.clear()
        changed.set()
        await slow.choices.get()  # the row of what is under way has been read
        archive.takes.set()
        await settled.wait()
        slow.answers.set()
        await slow.choices.get()
        sending = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ship ")]
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert sending == []
    assert archive.given.empty()
    assert list(layout.sealed.iterdir()) == []
