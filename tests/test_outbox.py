"""edge.outbox: what is quiet is closed, coded and asked to be shipped, whatever the disk and the coder do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from edge.asks import Asks
from edge.code.coder import code
from edge.code.jobs import CodedPack, CodeJob
from edge.code.worker import WorkerDied
from edge.config import Config, Layout
from edge.control.queue import Dropped, DropStudy, ListQueue
from edge.control.studies import Retried, RetryStudies
from edge.errors import Corrupt, OutpostError, Refused, StoreFull, Unknown
from edge.journal import Coded
from edge.journalfiles import JournalReader, JournalWriter
from edge.link import LinkState
from edge.model import Urgency
from edge.outbox import ATTEMPTS, Outbox
from edge.queueing import Queueing
from edge.store.files import is_on_its_way
from edge.store.pack import OpenPack
from edge.store.room import Room
from edge.wall import Gate
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store import boxes
from tests.store.boxes import SETTINGS, instance

pytestmark = pytest.mark.asyncio


class Coder:
    """Codes in this process; fails with what `faults` holds, one a call."""

    def __init__(self, *faults: OutpostError) -> None:
        self.faults = list(faults)
        self.jobs: list[CodeJob] = []
        self.failed = asyncio.Event()

    async def code(self, job: CodeJob) -> CodedPack:
        self.jobs.append(job)
        if self.faults:
            self.failed.set()
            raise self.faults.pop(0)
        return code(job)


class Box:
    """A store and its outbox; `shipped` is what was asked of cloudsync."""

    def __init__(self, state: Path) -> None:
        self.store = boxes.Box(state / "edge")
        self.layout = Layout(state)
        for directory in (self.layout.outbox, self.layout.heads):
            directory.mkdir()
        self.journal = JournalWriter(self.layout.asks)

    def outbox(self, coder: Coder, **cache: int) -> Outbox:
        store, settings = self.store, msgspec.structs.replace(SETTINGS, **cache)
        asks = Asks(self.journal, lambda: None)
        return Outbox(Config(cache=settings), self.layout, store.catalogue, Room([self.layout.cache], 0), coder, asks, store.clock)

    def shipped(self) -> list[str]:
        return [ask.pack for ask in JournalReader(Gate(self.layout.asks), 0).read() if isinstance(ask, Coded)]

    def close(self) -> None:
        self.store.stop()
        self.journal.close()


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def coding(outbox: Outbox) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(outbox.code_closed())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_shipped(box: Box, count: int) -> None:
    async with asyncio.timeout(20):
        while len(box.shipped()) < count:
            await asyncio.sleep(0.01)


async def test_a_closed_pack_lies_coded_in_the_outbox_before_it_is_asked_for(box: Box) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    async with coding(box.outbox(Coder())):
        await until_shipped(box, 1)
    assert box.shipped() == [pack.id]
    assert sorted(path.name for path in (box.layout.outbox / pack.id).iterdir()) == ["000000", "000001"]
    assert box.layout.head(pack.id).exists()


async def test_what_is_coded_next_is_what_is_shipped_next_and_stat_does_not_wait_for_room(box: Box) -> None:
    day = 86_400.0
    old = [box.store.receive(instance(number, study=f"1.2.{number}")) for number in (1, 2)]
    box.store.close_due(everything=True)
    box.store.clock.time += 2 * day
    today = box.store.receive(instance(3, study="1.2.3"))
    box.store.close_due(everything=True)
    outbox = box.outbox(Coder(), outbox_max_bytes=1)
    async with coding(outbox):
        await until_shipped(box, 1)
        assert box.shipped() == [today.id]
        stat = box.store.receive(instance(4, study="1.2.4"), Urgency.STAT)
        box.store.close_due(everything=True)
        outbox.closed()
        await until_shipped(box, 2)
    async with coding(box.outbox(Coder())):
        await until_shipped(box, 6)  # what was asked is asked again after a start
    shipped = list(dict.fromkeys(box.shipped()))
    assert shipped[:2] == [today.id, stat.id]
    assert set(shipped[2:]) == {pack.id for pack in old}


async def test_parts_are_made_as_small_as_the_link_is_slow(box: Box) -> None:
    box.store.receive(instance(1))
    box.store.close_due(everything=True)
    with box.store.catalogue.change():
        box.store.catalogue.set_link(LinkState("up", 1.0, 20_000.0, "The archive answers.", 2.0, 8, 3.0))
    coder = Coder()
    async with coding(box.outbox(coder)):
        await until_shipped(box, 1)
    assert [job.part_bytes for job in coder.jobs] == [200_000]


async def test_a_full_disk_is_waited_for_and_what_waited_is_coded(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder(StoreFull())
    outbox = box.outbox(coder)
    async with coding(outbox) as task:
        await coder.failed.wait()
        outbox.settle("another pack, which makes room")
        await until_shipped(box, 1)
        assert not task.done()
    assert box.shipped() == [pack.id]
    assert "coding waits" in caplog.text


async def test_a_pack_that_kills_the_coder_again_and_again_waits_for_a_person_and_stops_no_other(box: Box) -> None:
    bad = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    good = box.store.receive(instance(1, study="1.2.4"))
    box.store.close_due(everything=True)
    coder = Coder(*[WorkerDied()] * ATTEMPTS)
    async with coding(box.outbox(coder)):
        await until_shipped(box, 1)
    assert box.shipped() == [good.id]
    assert [job.verbatim for job in coder.jobs] == [False, True, True, False]
    state = box.store.catalogue.pack(bad.id)
    assert state is not None
    assert "could not be coded" in str(state.stopped)


async def test_a_whole_pack_that_the_coder_finds_rotten_waits_for_a_person_at_once(box: Box) -> None:
    bad = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder(Corrupt("it rotted"))
    async with coding(box.outbox(coder)):
        await coder.failed.wait()
        async with asyncio.timeout(20):
            while (state := box.store.catalogue.pack(bad.id)) is None or state.stopped is None:
                await asyncio.sleep(0.01)
    assert state.stopped == "It could not be coded: it rotted"


async def test_what_is_whole_in_a_rotten_pack_is_shipped_all_the_same(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        bad = box.store.receive(instance(number))
    box.store.close_due(everything=True)
    (_, last) = box.store.catalogue.rows("members_of_pack", bad.id)
    with box.layout.cached(bad.id).open("r+b") as file:
        file.seek(last[7] + 8)
        file.write(b"rot")
    async with coding(box.outbox(Coder())):
        await until_shipped(box, 1)
    (shipped,) = box.shipped()
    assert shipped != bad.id
    assert [row[2] for row in box.store.catalogue.rows("members_of_pack", shipped)] == ["1.2.3.1.1"]
    assert [row[:2] for row in box.store.catalogue.rows("losses")] == [("1.2.3", 1)]
    assert f"pack {bad.id} of study 1.2.3 is not what was closed" in caplog.text


async def test_a_start_asks_again_for_what_is_not_held_and_removes_what_is(box: Box) -> None:
    packs = []
    for study in ("1.2.3", "1.2.4"):
        packs.append(box.store.receive(instance(1, study=study)))
        box.store.close_due(everything=True)
    async with coding(box.outbox(Coder())):
        await until_shipped(box, 2)
    held, waiting = packs
    with box.store.catalogue.change():
        box.store.catalogue.hold(held.id, 9.0, 100)
    (box.layout.outbox / f".{held.id}.new").mkdir()
    async with coding(box.outbox(Coder())):
        await until_shipped(box, 3)
    assert box.shipped()[2:] == [waiting.id]
    assert [path.name for path in box.layout.outbox.iterdir()] == [waiting.id]


def stop(box: Box, pack: OpenPack, reason: str = "it was refused") -> None:
    """As the facts say it."""
    with box.store.catalogue.change():
        box.store.catalogue.mark_stopped(pack.id, reason)


async def retry(outbox: Outbox, study: str | None = None) -> list[Retried]:
    return await asyncio.to_thread(answers, outbox, RetryStudies(study=study))


async def test_what_was_stopped_and_lies_whole_in_the_outbox_is_asked_for_again_as_it_is(box: Box) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder()
    outbox = box.outbox(coder)
    async with coding(outbox):
        await until_shipped(box, 1)
        stop(box, pack)
        assert await retry(outbox, "1.2.3") == [Retried(pack=pack.id, study="1.2.3", coded_anew=False)]
        await until_shipped(box, 2)
    assert box.shipped() == [pack.id, pack.id]
    assert len(coder.jobs) == 1
    state = box.store.catalogue.pack(pack.id)
    assert state is not None
    assert state.stopped is None


@pytest.mark.parametrize("harm", ["gone", "other", "linked"])
async def test_what_was_stopped_and_is_not_whole_in_the_outbox_is_coded_anew(box: Box, harm: str) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder()
    outbox = box.outbox(coder)
    async with coding(outbox):
        await until_shipped(box, 1)
        part = box.layout.outbox / pack.id / "000001"
        data = part.read_bytes()
        part.unlink()
        if harm == "other":
            part.write_bytes(bytes(len(data)))
        elif harm == "linked":
            part.symlink_to("/etc/hostname")
        stop(box, pack)
        assert await retry(outbox) == [Retried(pack=pack.id, study="1.2.3", coded_anew=True)]
        await until_shipped(box, 2)
    assert len(coder.jobs) == 2
    assert not part.is_symlink()
    assert part.read_bytes() == data


def queueing(box: Box) -> tuple[Queueing, FakeAudit]:
    trail = FakeAudit()
    return Queueing(box.layout, box.store.catalogue, trail, lambda: "", lambda: (None, "")), trail


async def test_what_waits_for_a_person_keeps_nothing_from_being_coded_and_fills_no_disk(box: Box) -> None:
    coder = Coder()
    outbox = box.outbox(coder, outbox_max_bytes=1)
    packs = []
    async with coding(outbox):
        for number in (1, 2, 3):
            packs.append(box.store.receive(instance(number, study=f"1.2.{number}")))
            box.store.close_due(everything=True)
            outbox.closed()
            await until_shipped(box, number)
            stop(box, packs[-1])
        assert sorted(path.name for path in box.layout.outbox.iterdir()) == [packs[-1].id], "the older ones made room"
        retried = await retry(outbox, "1.2.1")
        assert retried == [Retried(pack=packs[0].id, study="1.2.1", coded_anew=True)]
        await until_shipped(box, 4)
    assert box.shipped() == [pack.id for pack in [*packs, packs[0]]]


async def test_what_a_person_drops_stays_here_and_goes_only_when_somebody_says_so(box: Box) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder()
    outbox, (desk, trail) = box.outbox(coder), queueing(box)
    async with coding(outbox):
        await until_shipped(box, 1)
        with pytest.raises(Refused, match="waits for a person"):
            await asyncio.to_thread(answers, desk, DropStudy(study="1.2.3", reason="a phantom"))
        with pytest.raises(Unknown):
            await asyncio.to_thread(answers, desk, DropStudy(study="9.9", reason="a phantom"))
        stop(box, pack)
        with pytest.raises(Refused, match="reason"):
            await asyncio.to_thread(answers, desk, DropStudy(study="1.2.3", reason=" "))
        assert await asyncio.to_thread(answers, desk, DropStudy(study="1.2.3", reason="a phantom")) == [Dropped(study="1.2.3", packs=1)]
        assert [event.change for event in trail.events] == ["not archived: a phantom"]
        [row] = await asyncio.to_thread(answers, desk, ListQueue())
        assert (row.state, row.why) == ("dropped", "It stays here only, as somebody decided: a phantom.")
        assert box.layout.cached(pack.id).exists()
        assert list(box.layout.outbox.iterdir()) == []
        assert box.store.catalogue.rows("counts")[0][1:3] == (0, 0)
        assert box.store.catalogue.rows("counts")[0][-2:] == (0, 1)
        assert await retry(outbox) == [], "not with all the others"
        box.store.stop()
        box.store.start()
    outbox = box.outbox(coder)
    async with coding(outbox):
        assert await retry(outbox, "1.2.3") == [Retried(pack=pack.id, study="1.2.3", coded_anew=True)]
        await until_shipped(box, 2)
    assert box.store.catalogue.rows("counts")[0][-2:] == (0, 0)


async def test_what_the_archive_holds_is_not_dropped_and_keeps_what_lies_in_the_outbox(box: Box) -> None:
    """As when its copy there was damaged, and shipping it once more has stopped."""
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    outbox, (desk, trail) = box.outbox(Coder()), queueing(box)
    async with coding(outbox):
        await until_shipped(box, 1)
        with box.store.catalogue.change():
            box.store.catalogue.rows("insert_holding", pack.id, 3000.0, 5000)
        stop(box, pack)
        with pytest.raises(Refused, match="waits for a person"):
            await asyncio.to_thread(answers, desk, DropStudy(study="1.2.3", reason="a phantom"))
    assert trail.events == []
    assert [path.name for path in box.layout.outbox.iterdir()] == [pack.id]


async def test_what_killed_the_coder_is_tried_anew_as_often_as_before(box: Box) -> None:
    pack = box.store.receive(instance(1))
    box.store.close_due(everything=True)
    coder = Coder(*[WorkerDied()] * (2 * ATTEMPTS - 1))
    outbox = box.outbox(coder)
    async with coding(outbox), asyncio.timeout(20):
        while not box.store.catalogue.rows("stopped_packs", study=None):
            await asyncio.sleep(0.01)
        assert [one.coded_anew for one in await retry(outbox)] == [True]
        await until_shipped(box, 1)
    assert box.shipped() == [pack.id]
    assert len(coder.jobs) == 2 * ATTEMPTS


async def test_where_nothing_waits_for_a_person_it_is_said(box: Box) -> None:
    box.store.receive(instance(1))
    outbox = box.outbox(Coder())
    assert await retry(outbox) == []
    with pytest.raises(Unknown, match="no study"):
        await retry(outbox, "1.2.9")
    with pytest.raises(Refused, match="Nothing of study"):
        await retry(outbox, "1.2.3")


async def test_a_pack_is_not_coded_before_its_file_has_come_to_its_place(box: Box) -> None:
    pack = box.store.receive(instance(1))
    assert is_on_its_way(box.layout, pack.id)
    box.store.close_due(everything=True)
    assert not is_on_its_way(box.layout, pack.id)
    place, before = box.layout.cached(pack.id), box.layout.open_packs / f"{pack.id}.tar"
    place.rename(before)
    coder = Coder()
    outbox = box.outbox(coder)
    async with coding(outbox):
        for _ in range(3):  # each begins it anew
            outbox.closed()
            await asyncio.to_thread(box.store.catalogue.rows, "next_to_code", since=0.0)
        assert coder.jobs == []
        before.rename(place)
        outbox.closed()
        await until_shipped(box, 1)
    assert box.shipped() == [pack.id]
