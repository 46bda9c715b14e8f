"""Trying again: for as long as it takes, at the right moments, and never for what cannot get better."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudsync.archive.folder import Folder
from cloudsync.archive.metered import Metered
from cloudsync.archive.port import CredentialRefused, LinkDown, NotThere, Occupied, QuotaExceeded, Stat, Throttled, md5_of
from cloudsync.archive.retrying import Retrying, Wake, pause_seconds
from cloudsync.link.backoff import Backoff
from edge.errors import OutpostError, Transient

pytestmark = pytest.mark.asyncio


@dataclass
class Failing(Folder):
    """A folder archive whose next calls fail like this."""

    root: Path
    faults: list[OutpostError] = field(default_factory=list)
    hang: asyncio.Event | None = None

    def __post_init__(self) -> None:
        super().__init__(self.root)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        if self.hang is not None:
            await self.hang.wait()
        if self.faults:
            raise self.faults.pop(0)
        await super().put(name, data, md5)


@dataclass
class Heard:
    calls: list[str] = field(default_factory=list)

    def answered(self) -> None:
        self.calls.append("answered")

    def failed(self, fault: OutpostError) -> None:
        self.calls.append(type(fault).__name__)


@pytest.fixture
def failing(tmp_path: Path) -> Failing:
    Folder.prepare(tmp_path)
    return Failing(tmp_path)


FAST = Backoff(first_seconds=0.001, max_seconds=0.002)


async def put(archive: Retrying) -> None:
    await archive.put("site/a", b"1", md5_of(b"1"))


async def test_a_transient_fault_is_tried_again_until_it_is_over(failing: Failing) -> None:
    heard = Heard()
    failing.faults = [LinkDown(), Throttled(None, 0.001), LinkDown()]
    await put(Retrying(failing, heard, Wake(), backoff=FAST, jitter=lambda: 0.0))
    assert heard.calls == ["LinkDown", "Throttled", "LinkDown", "answered"]
    assert await failing.get("site/a") == b"1"


@pytest.mark.parametrize("fault", [Occupied(), CredentialRefused(), QuotaExceeded(), NotThere()])
async def test_what_cannot_get_better_rises_at_once(failing: Failing, fault: OutpostError) -> None:
    failing.faults = [fault]
    with pytest.raises(type(fault)):
        await put(Retrying(failing, Heard(), Wake(), backoff=FAST))


async def test_what_a_person_mends_is_waited_for_by_who_has_the_patience(failing: Failing) -> None:
    failing.faults = [CredentialRefused(), QuotaExceeded()]
    await put(Retrying(failing, Heard(), Wake(), backoff=FAST, patient=(Transient, CredentialRefused, QuotaExceeded)))


async def test_a_call_over_its_deadline_counts_as_a_link_that_is_down(failing: Failing) -> None:
    failing.hang, heard = asyncio.Event(), Heard()
    task = asyncio.create_task(put(Retrying(failing, heard, Wake(), backoff=FAST, deadline=lambda size: 0.01)))
    while "LinkDown" not in heard.calls:
        await asyncio.sleep(0.005)
    failing.hang.set()
    await task
    assert heard.calls[-1] == "answered"


async def test_a_ring_ends_every_pause_at_once(failing: Failing) -> None:
    failing.faults, heard, wake = [LinkDown()], Heard(), Wake()
    task = asyncio.create_task(put(Retrying(failing, heard, wake, backoff=Backoff(first_seconds=3600, max_seconds=3600))))
    while not heard.calls:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    wake.ring()
    await asyncio.wait_for(task, 5)


async def test_the_pause_follows_the_fault() -> None:
    backoff = Backoff(first_seconds=1, max_seconds=300)
    assert pause_seconds(backoff, LinkDown(), 3, 0.5) == 3.0
    assert pause_seconds(backoff, Throttled(None, 42), 1, 0.0) == 42.0
    assert pause_seconds(backoff, Throttled(None, 1e9), 1, 0.0) == 3600.0
    assert pause_seconds(backoff, Throttled(), 1, 0.0) == 0.5
    assert 150 <= pause_seconds(backoff, CredentialRefused(), 1, 0.0) <= 300


async def test_what_crosses_the_link_is_counted_only_when_it_arrived(failing: Failing) -> None:
    metered = Metered(failing)
    await metered.put("site/a", b"12345", md5_of(b"12345"))
    failing.faults = [LinkDown()]
    with pytest.raises(LinkDown):
        await metered.put("site/b", b"123", md5_of(b"123"))
    await metered.get("site/a")
    assert (metered.sent_bytes, metered.received_bytes) == (5, 5)


async def test_what_arrived_without_an_answer_is_not_sent_again(tmp_path: Path) -> None:
    Folder.prepare(tmp_path)

    class Mute(Folder):
        """Its first answers are lost."""

        lost = 1
        puts = 0

        async def put(self, name: str, data: bytes, md5: bytes) -> None:
            self.puts += 1
            await super().put(name, data, md5)
            if self.puts <= self.lost:
                raise LinkDown

    archive = Mute(tmp_path)
    await put(Retrying(archive, Heard(), Wake(), backoff=FAST))
    assert archive.puts == 1


async def test_a_fault_that_lasts_costs_a_question_each_time_and_not_the_object(tmp_path: Path) -> None:
    Folder.prepare(tmp_path)

    class Deaf(Folder):
        """For a while it answers nothing."""

        puts, heads, until = 0, 0, 5

        async def put(self, name: str, data: bytes, md5: bytes) -> None:
            self.puts += 1
            if self.puts == 1:
                raise LinkDown
            await super().put(name, data, md5)

        async def head(self, name: str) -> Stat | None:
            self.heads += 1
            if self.heads < self.until:
                raise CredentialRefused
            return await super().head(name)

    archive = Deaf(tmp_path)
    await put(Retrying(archive, Heard(), Wake(), backoff=FAST, patient=(Transient, CredentialRefused)))
    assert (archive.puts, archive.heads) == (2, 5)


async def test_other_bytes_under_the_name_are_found_out_after_a_fault_too(failing: Failing) -> None:
    await failing.put("site/a", b"2", md5_of(b"2"))
    failing.faults = [LinkDown()]
    with pytest.raises(Occupied):
        await put(Retrying(failing, Heard(), Wake(), backoff=FAST))
