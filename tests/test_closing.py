"""edge.closing: what is quiet is closed, and a full disk only puts it off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.audit import Received
from edge.clock import SystemClock
from edge.closing import Closing
from edge.config import Cache
from edge.errors import StoreFull
from edge.model import UID, Urgency
from edge.store.pack import OpenPack
from edge.store.packs import OpenPacks
from edge.store.room import Room
from tests.dimse.fakes import FakeAudit
from tests.store.boxes import SETTINGS, Box, instance

pytestmark = pytest.mark.asyncio


class Full(OpenPacks):
    """Cannot close the first pack, because the disk is full."""

    refusals = 1

    def close(self, pack: OpenPack) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFull
        super().close(pack)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "edge")
    yield made
    made.stop()


async def test_a_pack_that_a_full_disk_keeps_open_is_closed_once_there_is_room(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    store = box
    store.packs = Full(store.cache, SETTINGS, store.catalogue, store.clock)
    pack = store.receive(instance(1))
    told: list[int] = []
    audit = FakeAudit()
    closing = Closing(SETTINGS, store.packs, store.catalogue, Room([], 0), audit, lambda: told.append(1))
    await closing.close_due(everything=True)
    assert f"pack {pack.id} is not closed yet" in caplog.text
    assert store.closed() == []
    assert told == []
    await closing.close_due()
    assert told == [1]
    assert [path.stem for path in store.closed()] == [pack.id]
    assert store.packs.studies == []
    assert audit.events == [Received(study=pack.study, pack=pack.id, calling=["CT99"], instances=1)]


async def test_an_empty_pack_leaves_nothing(box: Box) -> None:
    pack = box.packs.lend(UID("1.2.3"), Urgency.ROUTINE)
    box.packs.give_back(pack)
    await Closing(SETTINGS, box.packs, box.catalogue, Room([], 0), FakeAudit(), lambda: None).close_due(everything=True)
    assert box.still_open() == []
    assert box.catalogue.rows("open_packs") == []


async def test_a_study_is_closed_when_it_is_quiet_and_not_before(tmp_path: Path) -> None:
    settings = Cache(quiet_seconds=0.3, stat_quiet_seconds=0.2)
    box = Box(tmp_path / "edge", settings)
    closed = asyncio.Event()
    packs = OpenPacks(box.cache, settings, box.catalogue, SystemClock())
    box.packs = packs
    task = asyncio.create_task(Closing(settings, packs, box.catalogue, Room([], 0), FakeAudit(), closed.set).close_quiet())
    pack = box.receive(instance(1))
    await asyncio.wait_for(closed.wait(), 20)
    assert [path.stem for path in box.closed()] == [pack.id]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    box.stop()
