"""A catalog that is read from its end back says what one says that is read from its beginning, wherever the reading is broken off."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cloudsync.archive.opening import open_archive
from cloudsync.catalog import BrokenChain
from cloudsync.rebuild import Rebuilt, rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal.kit import Kit
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout, load
from edge.journal import Ack, CatalogRead, Held, Link, Retired, SiteStateHere
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.cloudsync.held_back import HeldBack
from tests.cloudsync.written import Written

pytestmark = pytest.mark.asyncio


@pytest.fixture
def kit(site: NewSite, tmp_path: Path) -> Kit:
    return recovery_kit.read(tmp_path / "kit", site.passphrase)


@pytest.fixture
def written(site: NewSite, layout: Layout, archive_folder: Path, tmp_path: Path) -> Written:
    """A long life: packs, some replaced, twice, retired, replaced and retired; epochs, siblings; site state in the middle."""
    written = Written(archive_folder, seal_keys.load(layout.keys))
    written.begin()
    packs = []
    for _ in range(4):
        packs.append(written.held())
        written.say(packs[-1], written.held())
    written.rotate()
    again = written.held(replaces=packs[0].pack)
    written.say(again)
    written.share(tmp_path / "old hub")
    twice = written.held(replaces=packs[1].pack)
    written.say(twice, written.held())
    written.rotate()
    written.share(tmp_path / "hub")
    written.say(written.held(replaces=twice.pack))
    written.say(written.tombstone(packs[2].pack), written.site_state(b"an older state"))
    written.share(tmp_path / "another hub")
    written.say(written.tombstone(again.pack))
    both = written.held()
    written.say(both, written.tombstone(both.pack))
    written.say(written.site_state(b"the newest state"))
    written.say(written.held(), written.held())
    return written


def place(tmp_path: Path, name: str) -> Layout:
    return Layout(tmp_path / name)


async def restored(layout: Layout, archive: Path, kit: Kit, *, whole: bool) -> Rebuilt:
    return await rebuild(layout.state, settings(archive), kit, lambda _: None, whole=whole)


_OF_THE_BOX = {"asks", "allowance", "entries", "sqlite_sequence"}
"""What was asked of this box, what went over its link, and what it has to say itself."""


def ledger(layout: Layout, written: Written) -> dict[str, list[tuple[Any, ...]]]:
    """All that the ledger says of the archive as it was written, but for what edge was told."""
    with contextlib.closing(sqlite3.connect(f"file:{layout.ledger}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'") if name not in _OF_THE_BOX]
        found = {}
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "told"]
            found[table] = sorted(connection.execute(f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
        found["segments"] = [row for row in found["segments"] if row[1] in written.names]
        return found


def followed(layout: Layout) -> int:
    """The seq of the last ask that the ledger has."""
    with contextlib.closing(sqlite3.connect(f"file:{layout.ledger}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT position FROM asks").fetchone()[0])


def sites(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.keys.iterdir()}


def holdings(side: EdgeSide) -> list[tuple[object, ...]]:
    """What edge knows of holdings once it has followed the facts in their order."""
    known: dict[str, tuple[object, ...]] = {}
    for fact in side.facts:
        if isinstance(fact, Held):
            known[fact.pack] = (fact.pack, fact.held_at, fact.instances, fact.sealed_bytes, fact.sha256, str(fact.study))
        elif isinstance(fact, Retired):
            known.pop(fact.pack, None)
    return sorted(known.values())


async def read(side: EdgeSide) -> None:
    await side.hears(CatalogRead, left=0)


async def test_read_backward_it_says_what_it_says_read_forward(written: Written, kit: Kit, tmp_path: Path) -> None:
    forward, backward = place(tmp_path, "forward"), place(tmp_path, "backward")
    whole = await restored(forward, written.archive, kit, whole=True)
    some = await restored(backward, written.archive, kit, whole=False)
    assert (whole.left, some.left, some.sequence) == (0, len(written.names) - 2, whole.sequence)
    assert (whole.holdings, some.holdings) == (9, 2)
    sides = [EdgeSide(layout) for layout in (forward, backward)]
    for side in sides:
        side.listen()
        first = side.facts[0]
        assert isinstance(first, SiteStateHere)
        assert (side.layout.inbox / "site" / first.digest).read_bytes() == b"the newest state"
    async with serving(backward):
        await read(sides[1])
    assert ledger(backward, written) == ledger(forward, written)
    assert sites(backward) == sites(forward)
    for side in sides:
        side.listen()
        side.close()
    assert holdings(sides[1]) == holdings(sides[0])
    assert len(holdings(sides[0])) == 9


async def test_broken_off_at_any_segment_it_goes_on_there(written: Written, kit: Kit, tmp_path: Path) -> None:
    forward, backward = place(tmp_path, "forward"), place(tmp_path, "backward")
    await restored(forward, written.archive, kit, whole=True)
    left = (await restored(backward, written.archive, kit, whole=False)).left
    side = EdgeSide(backward)
    for sequence in range(left, 0, -1):
        archive = HeldBack(open_archive(load(backward.config).archive), written.names[sequence - 1])
        async with serving(backward, archive):
            await side.hears(CatalogRead, left=sequence)  # and the next one does not come
        asked = [int(name[-12:]) for name in archive.asked if "/c/0/" in name]
        assert asked[0] == min(left, sequence + 1), "what was read is not read again"
        assert len(ledger(backward, written)["segments"]) == len(written.names) - sequence
    async with serving(backward):
        await read(side)
    side.close()
    assert ledger(backward, written) == ledger(forward, written)
    assert sites(backward) == sites(forward)


async def test_nothing_is_said_in_the_archive_before_all_is_read(written: Written, kit: Kit, tmp_path: Path) -> None:
    backward = place(tmp_path, "backward")
    await restored(backward, written.archive, kit, whole=False)
    before = {path for path in written.archive.rglob("*") if path.is_file()}
    archive = HeldBack(open_archive(load(backward.config).archive), written.names[0])
    side, pack = EdgeSide(backward), CodedPack.generated(1)
    async with serving(backward, archive):
        await side.hears(CatalogRead, left=1)
        side.code(pack)
        side.site_state(b"a decision of the new box")
        side.ask(journal.Restate())
        await side.until(lambda: followed(backward) == side.asked, "the asks are followed")
        assert {path for path in written.archive.rglob("*") if path.is_file()} == before
        assert side.heard(Ack) == []
        written.say(written.held(), written.tombstone(newest := side.heard(Held)[-1].pack))  # the lost box was not lost
        archive.let.set()
        await side.hears(Held, pack=pack.pack)
        await side.hears(Retired, pack=newest)
        await side.hears(Ack)
        assert side.heard(Link, state="conflict") == []
    assert len(holdings(side)) == 10
    side.close()
    whole = await restored(place(tmp_path, "again"), written.archive, kit, whole=True)
    assert whole.holdings == 10


async def test_a_segment_that_is_missing_or_was_changed_further_back_is_named_and_nothing_is_shipped(
    written: Written, kit: Kit, tmp_path: Path
) -> None:
    backward = place(tmp_path, "backward")
    await restored(backward, written.archive, kit, whole=False)
    third, fourth = (written.archive / name for name in written.names[2:4])
    kept = fourth.read_bytes()
    side, pack = EdgeSide(backward), CodedPack.generated(1)
    side.code(pack)
    for fault, sentence in ((third.read_bytes(), "was sealed for another place"), (None, "is missing")):
        fourth.unlink()
        if fault is not None:
            fourth.write_bytes(fault)
        heard = len(side.facts)
        async with serving(backward):
            await side.until(lambda: any(isinstance(fact, Link) and fact.state == "conflict" for fact in side.facts[heard:]), "a red lamp")  # noqa: B023
        (said,) = {fact.sentence for fact in side.facts[heard:] if isinstance(fact, Link) and fact.state == "conflict"}
        assert re.match(rf"The archive's catalog cannot be read further back: {written.names[3]}\b.* {sentence}", said)
    fourth.write_bytes(kept)
    async with serving(backward):
        await side.hears(Held, pack=pack.pack)
    side.close()


async def test_a_missing_segment_among_the_newest_ends_the_restore(written: Written, kit: Kit, tmp_path: Path) -> None:
    (written.archive / written.names[-2]).unlink()
    with pytest.raises(BrokenChain, match=f"{written.names[-2]} is missing"):
        await restored(place(tmp_path, "other"), written.archive, kit, whole=False)
