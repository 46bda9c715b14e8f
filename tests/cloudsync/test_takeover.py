"""Two boxes of one site: one writes, the other finds out and stops, and a person may choose the other way round. Nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import Result
from typer.testing import CliRunner

from cloudsync.archive.folder import Folder
from cloudsync.archive.opening import open_archive
from cloudsync.catalog import CatalogChain
from cloudsync.cli import app
from cloudsync.following import Following
from cloudsync.lane import AnotherWriter, CatalogLane, TakenOver
from cloudsync.ledger.ledger import Ledger
from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal.kit import Kit
from cloudsync.setup import NewSite
from cloudsync.takeover import take_over
from cloudsync.teller import Teller
from edge.clock import SystemClock
from edge.config import Layout, load
from edge.journal import Held, Link
from edge.journalfiles import JournalWriter
from tests.cloudsync.conftest import Running, serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.cloudsync.held_back import HeldBack

pytestmark = pytest.mark.asyncio

FIRST, BY_THE_OLD, BY_THE_NEW, LATER = (CodedPack.generated(seed) for seed in range(4))


@dataclass(frozen=True, slots=True)
class Boxes:
    """The box that was thought lost, and the one in its place, which was rebuilt and has not run yet."""

    old: EdgeSide
    new: EdgeSide
    archive: Path
    kit: Kit

    def objects(self) -> set[Path]:
        return {path for path in self.archive.rglob("*") if path.is_file()}

    async def rebuilt(self, place: Path) -> int:
        """How many packs a third box would find."""
        return (await rebuild(place, settings(self.archive), self.kit, lambda _: None)).holdings


@pytest.fixture
def new(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "new")


@pytest_asyncio.fixture
async def shipped(edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path, new: Layout, tmp_path: Path) -> Kit:
    async with running():
        edge.site_state(b"the decisions")
        edge.code(FIRST)
        await edge.hears(Held, pack=FIRST.pack)
    kit = recovery_kit.read(tmp_path / "kit", site.passphrase)
    await rebuild(new.state, settings(archive_folder), kit, lambda _: None, whole=False)
    return kit


@pytest.fixture
def boxes(edge: EdgeSide, shipped: Kit, new: Layout, archive_folder: Path) -> Iterator[Boxes]:
    with closing(EdgeSide(new)) as side:
        yield Boxes(edge, side, archive_folder, shipped)


async def runs(box: EdgeSide, pack: CodedPack) -> None:
    """The box runs until this pack is held."""
    async with serving(box.layout):
        box.code(pack)
        await box.hears(Held, pack=pack.pack)


async def stops(box: EdgeSide, pack: CodedPack | None = None) -> str:
    """The box runs, with this pack to ship, until it says that another one has the site; what it says."""
    heard = len(box.facts)

    def said() -> list[str]:
        return [fact.sentence for fact in box.facts[heard:] if isinstance(fact, Link) and fact.state == "conflict"]

    async with serving(box.layout):
        if pack is not None:
            box.code(pack)
        await box.until(lambda: said() != [], "the other box")
    return said()[0]


async def types(box: EdgeSide, *options: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["takeover", "--state", str(box.layout.state), *options])


async def test_a_rebuilt_box_takes_the_site_over_at_once_and_the_old_one_stops(boxes: Boxes) -> None:
    before = boxes.objects()
    async with serving(boxes.new.layout):
        await boxes.new.until(lambda: boxes.objects() != before, "its first segment")
    before = boxes.objects()
    assert "Another box took this site over on" in await stops(boxes.old)
    said = await stops(boxes.old, BY_THE_OLD)
    assert "this one ships nothing more" in said and "Two boxes for one site" in said
    assert boxes.old.heard(Held, pack=BY_THE_OLD.pack) == []
    await runs(boxes.new, BY_THE_NEW)
    assert {path.parent.name for path in boxes.objects() - before if "/c/" in str(path)} == {"0"}


async def test_the_old_box_takes_the_site_back_and_ships_what_it_had(boxes: Boxes, tmp_path: Path) -> None:
    await runs(boxes.new, BY_THE_NEW)
    await stops(boxes.old, BY_THE_OLD)
    done = await types(boxes.old, "--json")
    assert done.exit_code == 0, done.output
    taken = json.loads(done.stdout)
    assert taken["followed"] >= 1
    async with serving(boxes.old.layout):
        await boxes.old.hears(Held, pack=BY_THE_OLD.pack)
        await boxes.old.hears(Held, pack=BY_THE_NEW.pack)  # which it had never seen
    assert "Another box took this site over on" in await stops(boxes.new, LATER)
    done = await types(boxes.new)
    assert done.exit_code == 0 and "This box writes the site from now on" in done.stdout, done.output
    async with serving(boxes.new.layout):
        await boxes.new.hears(Held, pack=LATER.pack)
    assert await boxes.rebuilt(tmp_path / "third") == 4


async def test_a_segment_that_lost_the_race_is_said_anew(boxes: Boxes, tmp_path: Path) -> None:
    """The old box had closed it, and could not send it any more."""
    await runs(boxes.new, BY_THE_NEW)
    ledger = await Ledger.open(boxes.old.layout.ledger)
    try:
        await ledger.chain.owe([b'{"kind":"tombstone","pack":"%s","at":1.0,"reason":"r","law":"l","by":"b"}' % FIRST.pack.encode()], 1.0)
        lane = _lane(boxes.old.layout, ledger)
        with pytest.raises(TakenOver):
            await lane.settle()
        assert await ledger.chain.in_flight() is not None
    finally:
        await ledger.close()
    assert (await types(boxes.old)).exit_code == 0
    assert await boxes.rebuilt(tmp_path / "third") == 1, "the first pack is retired, that of the new box is not"


async def test_where_no_other_box_wrote_nothing_is_taken_over(boxes: Boxes) -> None:
    before = boxes.objects()
    done = await types(boxes.old)
    assert (done.exit_code, "nothing was to be taken over" in done.stdout) == (0, True), done.output
    assert boxes.objects() == before


async def test_nothing_is_written_to_another_disk_in_the_place_of_the_archive_s(boxes: Boxes) -> None:
    await runs(boxes.new, BY_THE_NEW)
    await stops(boxes.old, BY_THE_OLD)
    boxes.archive.rename(boxes.archive.with_name("right"))
    Folder.prepare(boxes.archive)
    before = boxes.objects()
    done = await types(boxes.old)
    assert (done.exit_code, "another disk than the archive's" in done.stderr) == (75, True), done.output
    assert boxes.objects() == before


async def test_of_two_that_take_it_over_at_the_same_time_one_is_told(boxes: Boxes) -> None:
    await runs(boxes.new, BY_THE_NEW)
    await stops(boxes.old, BY_THE_OLD)
    sequence = len(list(boxes.archive.glob("*/c/0/*")))
    slow = HeldBack(open_archive(load(boxes.old.layout.config).archive))
    slow.puts.clear()
    first = asyncio.create_task(_takes(boxes.old.layout, slow))
    await slow.asked_to_put.wait()  # it has read what the other one wrote, and says so next
    await runs(boxes.new, LATER)
    slow.puts.set()
    with pytest.raises(AnotherWriter):
        await first
    assert len(list(boxes.archive.glob("*/c/0/*"))) > sequence
    assert (await types(boxes.old)).exit_code == 0


async def test_a_box_whose_keys_are_older_cannot_take_it_over(boxes: Boxes) -> None:
    await runs(boxes.new, BY_THE_NEW)
    rotated = await asyncio.to_thread(CliRunner().invoke, app, ["keys", "rotate", "--state", str(boxes.new.layout.state)])
    assert rotated.exit_code == 0, rotated.output
    await runs(boxes.new, LATER)
    done = await types(boxes.old)
    assert (done.exit_code, "begun new keys" in done.stderr) == (77, True), done.output


def _lane(layout: Layout, ledger: Ledger) -> CatalogLane:
    archive, facts = open_archive(load(layout.config).archive), JournalWriter(layout.facts)
    teller = Teller(ledger, facts, lambda: None)
    return CatalogLane(ledger, seal_keys.load(layout.keys), archive, teller, SystemClock(), 0.0, lambda _: None)


async def _takes(layout: Layout, archive: HeldBack) -> None:
    ledger, facts, keys = await Ledger.open(layout.ledger), JournalWriter(layout.facts), seal_keys.load(layout.keys)
    try:
        lane = CatalogLane(ledger, keys, archive, Teller(ledger, facts, lambda: None), SystemClock(), 0.0, lambda _: None)
        chain = CatalogChain(keys.site_id, keys.trust_root, keys.open)
        await take_over(ledger, lane, Following(ledger, archive, chain, lambda _: None, lambda _: None), SystemClock().now())
    finally:
        facts.close()
        await ledger.close()
