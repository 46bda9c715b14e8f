"""cloudsync on an archive that reads DICOM: what is held is proven, whatever the archive answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from cloudsync.archive.part10 import dataset_offset
from cloudsync.instance_service import InstanceService
from edge import journal, listing
from edge.config import Layout, load
from edge.journal import PartFile
from edge.listing import InstanceFile
from edge.model import PackId, new_pack_id
from tests.cloudsync.edge_side import EdgeSide
from tests.dicomweb import Fake, File, generated, running

pytestmark = pytest.mark.asyncio

STUDY = "2.25.77"
SERIES = f"{STUDY}.1"


def dataset(content: bytes) -> bytes:
    return content[dataset_offset(content) :]


class Site:
    """A state directory, its edge side, and its cloudsync."""

    def __init__(self, place: Path, url: str, tries: int = 2, **archive: object) -> None:
        self.layout = Layout(place / "state")
        for directory in (self.layout.edge, self.layout.cloudsync):
            directory.mkdir(parents=True)
        more = "".join(f"{name} = {value}\n" for name, value in archive.items())
        self.layout.config.write_text(
            f'[archive]\nkind = "dicomweb"\nurl = "{url}"\nplaintext_archive = true\nverify_days = 0\n{more}'
            f"[link]\nbackoff_max_seconds = 0.2\npoll_seconds = 0.5\nrefused_tries = {tries}\n"
        )
        self.edge = EdgeSide(self.layout)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        stop, ready = asyncio.Event(), asyncio.Event()
        service = InstanceService(load(self.layout.config), self.layout, listing_seconds=0.01)
        task = asyncio.create_task(service.run(stop, ready.set))
        started = asyncio.create_task(ready.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 15)

    def code(self, files: Sequence[File], pack: PackId | None = None) -> PackId:
        """Write a pack's instances into the outbox as edge does, and ask for it."""
        pack = pack or new_pack_id()
        directory = self.layout.outbox / pack
        directory.mkdir(exist_ok=True)
        for number, file in enumerate(files, 1):
            (directory / f"{number:06d}").write_bytes(file.content)
        text = listing.write(
            InstanceFile(
                file.name.study, file.name.series, file.name.sop_instance, len(file.content), sha256(dataset(file.content)).hexdigest()
            )
            for file in files
        )
        (directory / "000000").write_bytes(text)
        self.edge.ask(
            journal.Coded(
                pack=pack,
                urgency="routine",
                instances=len(files),
                raw_bytes=sum(len(file.content) for file in files),
                sha256="a" * 64,
                study={"0020000D": {"vr": "UI", "Value": [STUDY]}},
                series=[],
                parts=[PartFile(0, len(text), sha256(text).hexdigest())],
                form="instances",
            )
        )
        return pack


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Fake]:
    async with running(Fake()) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, fake: Fake) -> Iterator[Site]:
    made = Site(tmp_path, fake.url)
    yield made
    made.edge.close()


def files(count: int, first: int = 1) -> list[File]:
    return [generated(STUDY, SERIES, number) for number in range(first, first + count)]


async def test_a_pack_is_held_once_each_of_its_instances_is_there(site: Site, fake: Fake) -> None:
    sent = files(25)
    async with site.serving():
        pack = site.code(sent)
        (held,) = await site.edge.hears(journal.Held, pack=pack)
        await site.edge.hears(journal.Progress, pack=pack, confirmed=25, total=25)
    assert fake.held == {file.name: file.content for file in sent}
    assert (held.instances, held.sealed_bytes) == (25, sum(len(file.content) for file in sent))
    assert sum(fake.stored) == 25
    assert len(fake.stored) < 25


async def test_throttling_a_refused_token_and_a_portal_are_waited_out(site: Site, fake: Fake) -> None:
    fake.next_answers = [
        web.Response(status=429, headers={"Retry-After": "0"}),
        web.Response(status=401),
        web.Response(text="<html></html>", content_type="text/html"),
        web.Response(status=500),
    ]
    async with site.serving():
        pack = site.code(files(3))
        await site.edge.hears(journal.Held, pack=pack)
    states = [fact.state for fact in site.edge.heard(journal.Link)]
    assert states[-1] == "up"
    assert {"throttled", "credential", "down"} <= set(states)


async def test_what_is_there_already_as_the_same_dataset_is_not_sent_again(site: Site, fake: Fake) -> None:
    first, second, third = sent = files(3)
    fake.held = {first.name: first.content, second.name: b"\xee" * 128 + second.content[128:]}
    async with site.serving():
        await site.edge.hears(journal.Held, pack=site.code(sent))
    assert fake.stored == [1]
    assert fake.held[third.name] == third.content


async def test_another_dataset_under_the_same_uid_is_a_conflict_and_stays_as_it_is(site: Site, fake: Fake) -> None:
    sent = files(4)
    other = generated(STUDY, SERIES, 2, note=b"of somebody else")
    fake.held = {other.name: other.content}
    async with site.serving():
        pack = site.code(sent)
        (stopped,) = await site.edge.hears(journal.Stopped, pack=pack)
    assert other.name.sop_instance in stopped.reason
    assert not site.edge.heard(journal.Held)
    assert fake.held[other.name] == other.content


async def test_a_409_for_what_came_in_between_is_settled_by_reading(site: Site, fake: Fake) -> None:
    first, second = sent = files(2)
    fake.unlisted = {first.name.sop_instance}
    other = generated(STUDY, SERIES, 1, note=b"of somebody else")
    fake.held = {other.name: other.content}
    async with site.serving():
        (stopped,) = await site.edge.hears(journal.Stopped, pack=site.code(sent))
    assert first.name.sop_instance in stopped.reason
    assert fake.held[second.name] == second.content


async def test_one_that_the_archive_does_not_take_waits_for_a_person_and_goes_on_when_asked(site: Site, fake: Fake) -> None:
    sent = files(3)
    async with site.serving():
        fake.refused = {sent[1].name.sop_instance}
        pack = site.code(sent)
        (stopped,) = await site.edge.hears(journal.Stopped, pack=pack)
        assert "tried 2 times" in stopped.reason
        assert sent[1].name.sop_instance in stopped.reason
        assert len(fake.held) == 2
        fake.refused = set()
        site.code(sent, pack)
        await site.edge.hears(journal.Held, pack=pack)
    assert len(fake.held) == 3


async def test_a_refusal_that_passes_is_tried_again_while_others_go_on(tmp_path: Path, fake: Fake) -> None:
    site = Site(tmp_path, fake.url, tries=10_000)
    sent, others = files(2), files(2, first=10)
    fake.refused = {sent[1].name.sop_instance}
    async with site.serving():
        pack = site.code(sent)
        await site.edge.until(lambda: sent[0].name in fake.held, "the other one is there")
        await site.edge.hears(journal.Held, pack=site.code(others))
        assert not site.edge.heard(journal.Held, pack=pack)
        fake.refused = set()
        await site.edge.hears(journal.Held, pack=pack)
    site.edge.close()


async def test_what_the_archive_does_not_list_is_not_held(site: Site, fake: Fake) -> None:
    sent = files(3)
    fake.unlisted = {sent[2].name.sop_instance}
    async with site.serving():
        pack = site.code(sent)
        (stopped,) = await site.edge.hears(journal.Stopped, pack=pack)
        assert "does not list" in stopped.reason
        fake.unlisted = set()
        site.code(sent, pack)
        await site.edge.hears(journal.Held, pack=pack)


async def test_a_dataset_that_the_archive_changed_is_found_by_the_sample(tmp_path: Path, fake: Fake) -> None:
    fake.changes = True
    site = Site(tmp_path, fake.url, held_read_percent=100.0)
    async with site.serving():
        (stopped,) = await site.edge.hears(journal.Stopped, pack=site.code(files(2)))
    assert "another" in stopped.reason
    site.edge.close()


async def test_after_a_restart_only_what_is_not_stored_is_sent(site: Site, fake: Fake) -> None:
    sent = files(6)
    async with site.serving():
        fake.refused = {file.name.sop_instance for file in sent[3:]}
        pack = site.code(sent)
        await site.edge.hears(journal.Stopped, pack=pack)
    fake.refused, fake.stored = set(), []
    site.code(sent, pack)
    async with site.serving():
        await site.edge.hears(journal.Held, pack=pack)
    assert sum(fake.stored) == 3


async def test_of_two_versions_of_an_instance_the_archive_gets_the_first(site: Site, fake: Fake) -> None:
    async with site.serving():
        await site.edge.hears(journal.Held, pack=site.code(files(1)))
        other = [generated(STUDY, SERIES, 1, note=b"sent again, changed"), *files(1, first=2)]
        (stopped,) = await site.edge.hears(journal.Stopped, pack=site.code(other))
    assert "one version" in stopped.reason
    assert fake.held[files(1)[0].name] == files(1)[0].content
    assert other[1].name in fake.held


@pytest.mark.parametrize("kind", ["another dataset", "a link", "nothing"])
async def test_what_is_not_as_it_was_asked_for_is_not_sent(site: Site, fake: Fake, kind: str) -> None:
    sent = files(2)
    pack = site.code(sent)
    path = site.layout.outbox / pack / "000002"
    path.unlink()
    if kind == "another dataset":
        path.write_bytes(generated(STUDY, SERIES, 2, note=b"forged for a test :)").content)
    elif kind == "a link":
        path.symlink_to(site.layout.config)
    async with site.serving():
        await site.edge.hears(journal.Stopped, pack=pack)
    assert set(fake.held) <= {sent[0].name}


async def test_a_listing_that_is_not_what_was_asked_for_is_not_followed(site: Site, fake: Fake) -> None:
    pack = site.code(files(2))
    path = site.layout.outbox / pack / "000000"
    path.write_bytes(path.read_bytes().replace(b"2.25.77.1.2", b"2.25.77.1.3"))
    async with site.serving():
        await site.edge.hears(journal.Stopped, pack=pack)
    assert fake.held == {}


async def test_recalled_instances_lie_in_the_inbox_by_their_number_and_are_what_they_were(site: Site, fake: Fake) -> None:
    sent = files(5)
    async with site.serving():
        pack = site.code(sent)
        await site.edge.hears(journal.Held, pack=pack)
        site.edge.ask(journal.Recall(pack=pack, parts=[2, 5]))
        here = await site.edge.hears(journal.Here, count=2, pack=pack)
        for fact in here:
            content = site.edge.inbox(pack, fact.number)
            assert dataset(content) == dataset(sent[fact.number - 1].content)
            assert (fact.bytes, fact.digest) == (len(content), sha256(content).hexdigest())
        site.edge.ask(journal.Taken(pack=pack))
        await site.edge.until(lambda: not (site.layout.inbox / pack).exists(), "the inbox is empty")
    assert list(site.layout.inbox.iterdir()) == []


async def test_what_cannot_be_recalled_is_said_to_be_final(site: Site, fake: Fake) -> None:
    sent = files(3)
    async with site.serving():
        pack = site.code(sent)
        await site.edge.hears(journal.Held, pack=pack)
        del fake.held[sent[0].name]
        fake.held[sent[1].name] = generated(STUDY, SERIES, 2, note=b"changed in the archive").content
        site.edge.ask(journal.Recall(pack=pack, parts=[0, 1, 2, 3, 4]))
        failed = await site.edge.hears(journal.RecallFailed, count=4, final=True)
        await site.edge.hears(journal.Here, number=3)
    assert sorted(number for fact in failed for number in fact.parts) == [0, 1, 2, 4]


async def test_verify_finds_what_is_missing_and_what_was_changed_and_edge_may_ship_it_again(site: Site, fake: Fake) -> None:
    kept, missing, changed = files(3), files(3, first=10), files(2, first=20)
    async with site.serving():
        packs = [site.code(each) for each in (kept, missing, changed)]
        for pack in packs:
            await site.edge.hears(journal.Held, pack=pack)
        del fake.held[missing[1].name]
        fake.held[changed[0].name] = generated(STUDY, SERIES, 20, note=b"changed in the archive").content
        site.edge.ask(journal.Verify(percent=100))
        damaged = await site.edge.hears(journal.Damaged, count=2)
        (found,) = await site.edge.hears(journal.Verification, done=1.0)
        assert {fact.pack for fact in damaged} == set(packs[1:])
        assert (found.objects, found.read_objects, found.damaged) == (8, 6, 2)
        before = len(site.edge.heard(journal.Held, pack=packs[1]))
        site.code(missing, packs[1])
        await site.edge.hears(journal.Held, count=before + 1, pack=packs[1])
        assert fake.held[missing[1].name] == missing[1].content
        site.code(changed, packs[2])
        (stopped,) = await site.edge.hears(journal.Stopped, pack=packs[2])
    assert changed[0].name.sop_instance in stopped.reason
