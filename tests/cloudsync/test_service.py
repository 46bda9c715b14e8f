"""cloudsync as a whole, between a written edge side and a real archive."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from cloudsync.archive.folder import Folder
from cloudsync.archive.port import CredentialRefused, LinkDown
from cloudsync.archive.port import Stat as ArchiveStat
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Ack, Held, Here, Link, Progress, RecallFailed, Stopped
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

pytestmark = pytest.mark.asyncio


@dataclass
class Flaky(Folder):
    """A folder archive that can be cut off, and that remembers what was put in which order."""

    root: Path
    fault: Exception | None = None
    tried: set[str] = field(default_factory=set)
    put_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.root)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        self.tried.add(name)
        self._pass()
        await super().put(name, data, md5)
        self.put_names.append(name)

    async def get(self, name: str) -> bytes:
        self._pass()
        return await super().get(name)

    async def head(self, name: str) -> ArchiveStat | None:
        self._pass()
        return await super().head(name)

    def _pass(self) -> None:
        if self.fault is not None:
            raise self.fault


def packs_of(archive: Path, site: NewSite) -> Path:
    return archive / site.site_id / "p"


async def test_a_coded_pack_is_held_and_comes_back_byte_for_byte(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    pack = CodedPack.generated(1, parts=5)
    async with running():
        edge.code(pack)
        (held,) = await edge.hears(Held, pack=pack.pack)
        assert (held.instances, held.raw_bytes, held.sha256) == (3, pack.ask.raw_bytes, pack.ask.sha256)
        assert (held.study, held.series) == (pack.ask.study, pack.ask.series)
        assert edge.heard(Progress, pack=pack.pack)[-1].confirmed == 7
        edge.ask(journal.Recall(pack=pack.pack, parts=list(range(6))))
        await edge.hears(Here, count=6, pack=pack.pack)
        assert tuple(edge.inbox(pack.pack, number) for number in range(6)) == pack.objects
        await edge.hears(Ack, upto=2)
        links = edge.heard(Link)
        assert (links[0].state, links[-1].state) == ("up", "up")
        assert links[-1].sequence == len(list((archive_folder / site.site_id / "c/0").iterdir()))
        assert list(edge.layout.sealed.iterdir()) == []


async def test_asking_again_is_harmless_and_is_answered_again(edge: EdgeSide, running: Running) -> None:
    pack = CodedPack.generated(2)
    async with running():
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
        edge.ask(pack.ask, pack.ask)
        await edge.hears(Held, count=2, pack=pack.pack)
        for count in (1, 2, 3):
            edge.ask(journal.Recall(pack=pack.pack, parts=[0]))
            await edge.hears(Here, count=count, pack=pack.pack, number=0)
        edge.ask(journal.Taken(pack=pack.pack), journal.Taken(pack=pack.pack))
        await edge.until(lambda: not (edge.layout.inbox / pack.pack).exists(), "an empty inbox")
        edge.ask(journal.Recall(pack=pack.pack, parts=[1]))
        await edge.hears(Here, pack=pack.pack, number=1)
        assert edge.inbox(pack.pack, 1) == pack.objects[1]


async def test_all_holdings_are_told_again_on_restate(edge: EdgeSide, running: Running) -> None:
    packs = [CodedPack.generated(seed) for seed in range(3)]
    async with running():
        for pack in packs:
            edge.code(pack)
        await edge.hears(Held, count=3)
        edge.ask(journal.Restate())
        await edge.hears(Held, count=6)
        assert {fact.pack for fact in edge.facts[-10:] if isinstance(fact, Held)} == {pack.pack for pack in packs}


async def test_a_link_that_is_down_loses_nothing_and_is_told(edge: EdgeSide, running: Running, archive_folder: Path) -> None:
    archive, pack = Flaky(archive_folder), CodedPack.generated(3)
    async with running(archive):
        await edge.hears(Link, state="up")
        archive.fault = LinkDown("the cable is out")
        edge.code(pack)
        (down,) = await edge.hears(Link, state="down")
        assert down.sentence == "The cable is out."
        archive.fault = None
        await edge.hears(Held, pack=pack.pack)
        assert [state for state, _ in groupby(fact.state for fact in edge.heard(Link))] == ["up", "down", "up"]


async def test_an_idle_box_notices_that_the_archive_went_away_within_a_third_of_the_offline_time(
    site: NewSite, layout: Layout, running: Running, archive_folder: Path
) -> None:
    layout.config.write_text(settings(archive_folder, offline_after_seconds=3))
    edge = EdgeSide(layout)
    async with running():
        await edge.hears(Link, state="up", sequence=1)
        (archive_folder / ".outpost-archive").unlink()
        (down,) = await edge.hears(Link, state="down", seconds=4)
    assert down.sentence == f"There is no archive at {archive_folder}: plug the disk in or mount it."
    edge.close()


async def test_a_recall_over_a_dead_link_says_so_and_goes_on_when_it_is_back(
    edge: EdgeSide, running: Running, archive_folder: Path
) -> None:
    archive, pack = Flaky(archive_folder), CodedPack.generated(4)
    async with running(archive):
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
        archive.fault = LinkDown("the cable is out")
        edge.ask(journal.Recall(pack=pack.pack, parts=[0, 1]))
        (failed, *_) = await edge.hears(RecallFailed, pack=pack.pack)
        assert (failed.final, failed.reason) == (False, "the cable is out")
        archive.fault = None
        await edge.hears(Here, count=2, pack=pack.pack)


async def test_a_refused_credential_is_named_and_waited_for(edge: EdgeSide, running: Running, archive_folder: Path) -> None:
    archive, pack = Flaky(archive_folder, CredentialRefused()), CodedPack.generated(5)
    async with running(archive):
        edge.code(pack)
        (fact,) = await edge.hears(Link, state="credential")
        assert "archive.credential_file" in fact.sentence
        archive.fault = None
        await edge.hears(Held, pack=pack.pack)


async def test_stat_overtakes_and_heads_go_before_parts(edge: EdgeSide, running: Running, archive_folder: Path) -> None:
    archive = Flaky(archive_folder, LinkDown())
    routine, second = (CodedPack.generated(seed, parts=9) for seed in (6, 7))
    stat = CodedPack.generated(8, parts=2, urgency="stat")
    async with running(archive):
        edge.code(routine)
        edge.code(second)
        await edge.hears(Link, state="down")
        edge.code(stat)
        await edge.hears(Ack, upto=3)
        archive.fault = None
        await edge.hears(Held, count=3)
    order = [name.split("/")[2:] for name in archive.put_names if "/p/" in name]
    started = 4  # objects that were in flight when STAT was asked for
    # From then on nothing else begins before STAT has all its objects.
    assert max(order.index([stat.pack, number]) for number in ("000000", "000001", "000002")) < 3 + started
    assert order.index([second.pack, "000000"]) < order.index([routine.pack, "000005"])


async def test_what_was_received_today_does_not_wait_for_what_an_outage_left(
    edge: EdgeSide, running: Running, archive_folder: Path
) -> None:
    archive = Flaky(archive_folder, LinkDown())
    backlog = [CodedPack.generated(seed, parts=9) for seed in range(70, 74)]
    today = dataclasses.replace(CodedPack.generated(74, parts=9), received_at=time.time())
    async with running(archive):
        for pack in (*backlog, today):
            edge.code(pack)
        await edge.hears(Ack, upto=5)
        archive.fault = None
        await edge.hears(Held, count=5)
    order = [name.split("/")[2] for name in archive.put_names if "/p/" in name and not name.endswith("sums")]
    before = order[: len(order) - order[::-1].index(today.pack)]
    assert before.count(today.pack) == 10
    assert 3 <= len(before) - 10 <= 10  # the backlog's share, and what was in flight before it came


async def test_what_no_archive_has_is_said_to_be_final(edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path) -> None:
    pack, never = CodedPack.generated(9), CodedPack.generated(10)
    async with running():
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
        (packs_of(archive_folder, site) / pack.pack / "000002").unlink()
        damaged = packs_of(archive_folder, site) / pack.pack / "000001"
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
        edge.ask(journal.Recall(pack=pack.pack, parts=[0, 1, 2, 7]), journal.Recall(pack=never.pack, parts=[0]))
        await edge.hears(Here, pack=pack.pack, number=0)
        failures = await edge.hears(RecallFailed, count=4, final=True)
        assert {(fact.pack, *fact.parts) for fact in failures} == {(pack.pack, 1), (pack.pack, 2), (pack.pack, 7), (never.pack, 0)}


async def test_other_bytes_at_a_name_of_ours_stop_that_pack_alone(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    pack, other = CodedPack.generated(11), CodedPack.generated(12)
    taken = packs_of(archive_folder, site) / pack.pack / "000001"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody else's")
    async with running():
        edge.code(pack)
        edge.code(other)
        (stopped,) = await edge.hears(Stopped, pack=pack.pack)
        assert "other bytes lie at" in stopped.reason
        await edge.hears(Held, pack=other.pack)
    assert taken.read_bytes() == b"somebody else's"


async def test_another_box_that_writes_this_site_stops_shipping_but_not_recall(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    pack, later = CodedPack.generated(13), CodedPack.generated(14)
    async with running():
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
    segments = sorted((archive_folder / site.site_id / "c" / "0").iterdir())
    following = segments[-1].with_name(f"{int(segments[-1].name) + 1:012d}")
    following.write_bytes(b"a segment of another box")
    async with running():
        edge.code(later)
        (alarm,) = await edge.hears(Link, state="conflict")
        assert "Another box writes" in alarm.sentence
        edge.ask(journal.Recall(pack=pack.pack, parts=[0]))
        await edge.hears(Here, pack=pack.pack)
        assert edge.heard(Held, pack=later.pack) == []
    assert following.read_bytes() == b"a segment of another box"


async def test_a_pack_that_is_coded_anew_under_way_ships_its_newest_coding(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    first = CodedPack.generated(15, parts=4)
    again = CodedPack(first.pack, (b"another head", first.objects[1], b"another part"))
    archive = Flaky(archive_folder)
    edge.put(first)
    (edge.layout.outbox / first.pack / "000004").write_bytes(b"not what was coded")
    async with running(archive):
        edge.ask(first.ask)
        await edge.hears(Stopped, pack=first.pack)
        edge.code(again)
        await edge.hears(Held, pack=first.pack)
        edge.ask(journal.Recall(pack=first.pack, parts=[0, 1, 2]))
        await edge.hears(Here, count=3, pack=first.pack)
        assert tuple(edge.inbox(first.pack, number) for number in range(3)) == again.objects
    sums = (packs_of(archive_folder, site) / first.pack / "sums").read_text()
    assert "  000000.1\n" in sums
    assert "  000001\n" in sums
    assert "000003" not in sums


async def test_lost_sealed_bytes_are_sealed_again_under_another_name_unless_the_archive_has_them(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    pack, cut = CodedPack.generated(16, parts=3), Flaky(archive_folder, LinkDown())
    edge.code(pack)
    sealed = edge.layout.sealed / pack.pack
    async with running(cut):
        await edge.until(lambda: sum("/p/" in name for name in cut.tried) == 4, "attempts")
    there = packs_of(archive_folder, site) / pack.pack / "000001"
    there.parent.mkdir(parents=True)
    there.write_bytes((sealed / "000001").read_bytes())  # it arrived, and the answer was lost
    (sealed / "000001").unlink()
    (sealed / "000002").write_bytes(b"torn")
    async with running():
        await edge.hears(Held, pack=pack.pack)
        edge.ask(journal.Recall(pack=pack.pack, parts=[1, 2]))
        await edge.hears(Here, count=2, pack=pack.pack)
        assert (edge.inbox(pack.pack, 1), edge.inbox(pack.pack, 2)) == pack.objects[1:3]
    assert sorted(path.name for path in there.parent.iterdir()) == ["000000", "000001", "000002.1", "000003", "sums"]


async def test_the_same_sealed_bytes_are_sent_again_after_a_restart(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    pack, cut = CodedPack.generated(17, parts=2), Flaky(archive_folder, LinkDown())
    edge.site_state(b"a state")
    edge.code(pack)
    sealed = edge.layout.sealed
    async with running(cut):
        await edge.until(lambda: sum("/c/" not in name for name in cut.tried) == 4, "attempts")
    before = {f"{site.site_id}/p/{pack.pack}/{number:06d}": (sealed / pack.pack / f"{number:06d}").read_bytes() for number in range(3)}
    before[f"{site.site_id}/e/000000000001"] = (sealed / "site" / "000001").read_bytes()
    async with running():
        await edge.hears(Held, pack=pack.pack)
    assert {name: (archive_folder / name).read_bytes() for name in before} == before


async def test_a_site_state_that_did_not_change_is_one_object_however_often_edge_starts(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path
) -> None:
    for state in (b"first", b"first", b"second", b"first"):
        edge.site_state(state)
        async with running():
            await edge.hears(journal.Ack, upto=edge.asked)
            await edge.until(lambda: not list(edge.layout.sealed.iterdir()), "nothing on its way")
    assert len(list((archive_folder / site.site_id / "e").iterdir())) == 3
