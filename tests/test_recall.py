"""edge.recall: parts come in, instances go out, and whatever goes wrong is told to who waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from edge import heads
from edge.asks import Asks
from edge.code.coder import code
from edge.code.jobs import CodeJob, DecodeJob, Restored
from edge.code.manifest import read_head
from edge.code.worker import Coder
from edge.config import Layout
from edge.errors import StoreFailed
from edge.journal import Entry, Recall, Taken
from edge.journalfiles import JournalReader, JournalWriter
from edge.model import Json, PackId, Urgency
from edge.recall import RecallDesk
from edge.refusals import Refusals
from edge.store.catalogue import Catalogue
from edge.store.room import Room
from edge.wall import Gate
from tests.code.packs import close_pack, phantom

pytestmark = pytest.mark.asyncio

SERIES: list[Json] = [{"0020000E": {"vr": "UI", "Value": ["1.2.3.3"]}}]


class Faulty(Coder):
    """Has a fault that nobody thought of."""

    async def restore(self, job: DecodeJob) -> list[Restored]:
        raise ValueError("one of its own")


class Box:
    """An edge that heard of one pack, and the cloudsync that brings its parts: `answer` does what was asked since."""

    def __init__(self, state: Path, coder: Coder | None = None) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.cache, self.layout.heads, self.layout.inbox):
            directory.mkdir(parents=True)
        place = state / "archive"
        place.mkdir()
        self.job: CodeJob = close_pack(place, phantom(3, size=64), part_bytes=4096)
        self.pack = PackId(self.job.pack)
        code(self.job)
        self.catalogue = Catalogue(self.layout.catalogue)
        with self.catalogue.change():
            self.catalogue.hear_of(self.pack, self.job.study, SERIES, self.job.sha256, 3, 5.0)
            self.catalogue.hold(self.pack, 5.0, 100)
            self.catalogue.settle_archived(self.pack)
        self.journal = JournalWriter(self.layout.asks)
        self.reader = JournalReader(Gate(self.layout.asks), 0)
        self.coder = coder or Coder()
        self.stops: list[StoreFailed] = []
        inbox = Gate(self.layout.inbox)
        asks = Asks(self.journal, lambda: None)
        self.desk = RecallDesk(
            self.layout, self.catalogue, self.coder, asks, inbox, Room([self.layout.cache], 0), Refusals(), self.stops.append
        )

    @property
    def here(self) -> str:
        state = self.catalogue.pack(self.pack)
        assert state is not None
        return state.here

    async def asked(self) -> list[Entry]:
        """What was asked since; waits for it."""
        async with asyncio.timeout(20):
            while not (asks := self.reader.read()):
                await self.turn()
        return asks

    async def turn(self) -> None:
        """Until the desk has told of something, or a moment has passed."""
        await asyncio.to_thread(self._wait)

    def _wait(self) -> None:
        with self.desk.changed:
            self.desk.changed.wait(0.05)

    async def answer(self) -> bool:
        """Bring what was asked for; True once the pack is no longer needed."""
        asks = await self.asked()
        for ask in asks:
            if isinstance(ask, Recall):
                for number in ask.parts:
                    self.bring(number)
                    self.desk.arrived(self.pack, number, "", 0)
        return any(isinstance(ask, Taken) for ask in asks)

    def bring(self, number: int) -> None:
        target = self.layout.inbox / self.pack / f"{number:06d}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(self.job.target_dir) / target.name, target)

    async def failure(self) -> str:
        """Why it failed; waits for it."""
        async with asyncio.timeout(20):
            while not (reason := self.desk.failure(self.pack)):
                await self.turn()
        return reason

    async def close(self) -> None:
        await self.coder.close()
        self.catalogue.close()
        self.journal.close()


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    yield made
    await made.close()


async def test_a_pack_that_only_the_archive_has_comes_back_byte_for_byte(box: Box) -> None:
    box.desk.want(box.pack, None)
    while not await box.answer():
        pass
    assert box.here == "whole"
    assert box.layout.cached(box.pack).read_bytes() == Path(box.job.pack_path).read_bytes()
    assert not box.desk.busy(box.pack)


async def test_an_instance_that_another_pack_has_too_is_served_from_there_and_the_rest_comes_back(box: Box) -> None:
    """As where another box on the archive has received it too."""
    first, *others = heads.admissions(read_head((Path(box.job.target_dir) / "000000").read_bytes()))
    own = PackId("o" * 26)
    assert box.catalogue.open_pack(own, Urgency.ROUTINE, replace(first, pack=own, here=True))
    box.desk.want(box.pack, None)
    while not await box.answer():
        pass
    assert sorted(box.catalogue.rows("instances_here", box.pack)) == sorted((one.member.dataset_offset,) for one in others)
    assert not box.desk.busy(box.pack)


async def test_only_the_parts_of_what_is_wanted_are_asked_for(box: Box) -> None:
    box.desk.want(box.pack, ())
    assert not await box.answer()
    assert await box.answer()
    first, *_ = box.job.members
    box.desk.want(box.pack, [first.dataset_offset])
    while not await box.answer():
        pass
    assert box.here == "some"
    assert box.catalogue.rows("instances_here", box.pack) == [(first.dataset_offset,)]
    with box.layout.cached(box.pack).open("rb") as back, Path(box.job.pack_path).open("rb") as pack:
        wanted = first.dataset_length, first.dataset_offset
        assert os.pread(back.fileno(), *wanted) == os.pread(pack.fileno(), *wanted)


async def test_a_kept_head_that_rotted_is_recalled_and_kept_again(box: Box) -> None:
    box.desk.want(box.pack, ())
    while not await box.answer():
        pass
    kept = box.layout.head(box.pack)
    kept.write_bytes(b"rot")
    box.desk.want(box.pack, None)
    while not await box.answer():
        pass
    assert box.here == "whole"
    assert kept.read_bytes() == (Path(box.job.target_dir) / "000000").read_bytes()


async def test_a_head_that_left_the_inbox_is_a_failure_that_is_told_and_asking_again_helps(box: Box) -> None:
    box.desk.want(box.pack, None)
    await box.asked()
    box.desk.arrived(box.pack, 0, "", 0)
    assert "has gone from the inbox" in await box.failure()
    box.desk.want(box.pack, None)
    while not await box.answer():
        pass
    assert box.here == "whole"


async def test_a_failed_disk_is_told_to_who_waits_and_stops_outpost(box: Box) -> None:
    box.layout.cached(box.pack).mkdir(parents=True)
    box.desk.want(box.pack, None)
    for _ in range(2):
        await box.answer()
    assert "The disk under the state directory reported" in await box.failure()
    assert len(box.stops) == 1


async def test_a_link_that_flaps_is_waited_out_and_one_that_stays_away_is_told(box: Box) -> None:
    box.desk.want(box.pack, None)
    assert isinstance((await box.asked())[0], Recall)
    box.desk.failed(box.pack, "the link is down", final=False)
    await asyncio.sleep(0)
    assert box.desk.failure(box.pack) is None
    box.desk.failed(box.pack, "the archive has no such part", final=True)
    async with asyncio.timeout(20):
        while box.desk.failure(box.pack) is None:
            await box.turn()
    assert box.desk.failure(box.pack) == "the archive has no such part"
    box.desk.want(box.pack, None)
    assert box.desk.failure(box.pack) is None
    async with asyncio.timeout(60):
        while not await box.answer():
            await box.turn()
    assert box.here == "whole"


async def test_while_a_pack_file_is_taken_away_no_recall_begins_to_write_to_it(box: Box) -> None:
    with box.desk.undisturbed(box.pack) as free:
        assert free
        box.desk.want(box.pack, None)
        for _ in range(2):
            assert not await box.answer()
        await box.turn()
        assert box.here == "no"
        assert not box.layout.cached(box.pack).exists()
    while not await box.answer():
        pass
    assert box.here == "whole"


async def test_a_pack_is_disturbed_while_it_is_recalled_and_not_once_it_cannot_be_had(box: Box) -> None:
    box.desk.want(box.pack, None)
    await box.asked()
    with box.desk.undisturbed(box.pack) as free:
        assert not free
    box.desk.failed(box.pack, "the archive has no such part", final=True)
    await box.failure()
    with box.desk.undisturbed(box.pack) as free:
        assert free


async def test_a_head_that_is_missing_at_start_is_fetched_unasked(box: Box) -> None:
    box.desk.begin()
    async with asyncio.timeout(60):
        while not await box.answer():
            await box.turn()
    state = box.catalogue.pack(box.pack)
    assert state is not None
    assert state.has_head
    assert state.here == "no"


async def test_heads_that_nobody_asked_for_wait_while_they_are_put_off_and_what_is_asked_for_does_not(box: Box) -> None:
    box.desk.put_off_heads(True)
    box.desk.heard(box.pack)
    await asyncio.sleep(0)  # the loop has done what it was told
    box.desk.begin()
    assert box.reader.read() == []
    box.desk.put_off_heads(False)
    (ask,) = await box.asked()
    assert isinstance(ask, Recall)
    assert (ask.pack, ask.parts) == (box.pack, [0])
    box.desk.put_off_heads(True)
    box.desk.failed(box.pack, "not now", True)
    box.desk.want(box.pack, None)
    (ask,) = await box.asked()
    assert isinstance(ask, Recall)
    assert ask.parts == [0]


async def test_a_fault_that_nobody_thought_of_is_logged_and_told_to_who_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = Box(tmp_path, Faulty())
    working = asyncio.create_task(box.desk.work())
    box.desk.want(box.pack, None)
    for _ in range(2):  # the head, then the parts
        await box.answer()
    assert "Please report it" in await box.failure()
    while not caplog.records:
        await box.turn()
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("one of its own",)]
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await box.close()
