"""A catalog that is read by its merges says what its segments say, and a merge that is of no use costs time and nothing else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloudsync import merge
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import Stat
from cloudsync.catalog import CatalogChain, ChainState
from cloudsync.listing import names_from, near_end, prefixes
from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal.certificates import to_der
from cloudsync.seal.keys import Keys
from cloudsync.seal.kit import Kit
from cloudsync.span import Span
from edge.config import Layout
from edge.journal import CatalogRead, Held
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.cloudsync.held_back import HeldBack
from tests.cloudsync.test_following import holdings, place
from tests.cloudsync.test_verify import verified
from tests.cloudsync.written import BEGAN, Written

SEGMENTS, HELD = 80, 74


@pytest.fixture
def box(tmp_path: Path) -> Lost:
    return lost(tmp_path)


@pytest.fixture
def kit(box: Lost) -> Kit:
    return box.kit


@dataclass(frozen=True, slots=True)
class Lost:
    """What a lost box leaves."""

    written: Written
    kit: Kit


def lost(tmp_path: Path) -> Lost:
    """Of a box that has begun its catalog."""
    Folder.prepare(tmp_path / "archive")
    keys, recovery = seal_keys.make(tmp_path / "keys", now=BEGAN)
    written = Written(tmp_path / "archive", keys)
    written.begin()
    return Lost(written, Kit(keys.site_id, "folder", recovery, keys.trust_root))


@pytest.fixture
def written(box: Lost, tmp_path: Path) -> Written:
    """Packs, of which some are replaced and some retired, across the ends of merges; an epoch, a sibling, site states."""
    written = box.written
    packs = []
    while written.state.sequence < SEGMENTS:
        packs.append(written.held())
        match written.state.sequence:
            case 10 | 20:
                written.say(packs[-1], written.site_state(b"a state"))
            case 30:
                written.rotate()
            case 31:
                written.share(tmp_path / "hub")
            case 40:
                written.say(packs[-1], written.held(replaces=packs[3].pack), written.tombstone(packs[5].pack))
            case 76:
                written.say(packs[-1], written.held(replaces=packs[36].pack), written.tombstone(packs[7].pack))
            case 78:
                written.say(written.site_state(b"the newest state"))
            case _:
                written.say(packs[-1])
    return written


async def said(layout: Layout, written: Written, kit: Kit, *, whole: bool) -> tuple[list[tuple[object, ...]], list[str], list[str]]:
    """What edge knows of holdings at the end; the objects of the catalog that were fetched; what was said of merges."""
    sentences: list[str] = []
    archive = HeldBack(Folder(written.archive))
    await rebuild(layout.state, settings(written.archive), kit, sentences.append, archive=archive, whole=whole)
    side = EdgeSide(layout)
    reading = HeldBack(Folder(written.archive))
    async with serving(layout, reading):
        if not whole:
            await side.hears(CatalogRead, left=0)
        assert (await verified(side, 0)).faults == []
    side.listen()
    side.close()
    fetched = [name.partition("/c/")[2] for name in archive.asked + reading.asked if "/c/" in name]
    return holdings(side), fetched, [sentence for sentence in sentences if "merge" in sentence]


@pytest.mark.asyncio
@pytest.mark.parametrize("whole", [True, False], ids=["forward", "backward"])
async def test_read_by_its_merges_a_catalog_says_what_its_segments_say(written: Written, kit: Kit, tmp_path: Path, whole: bool) -> None:
    alone, fetched, _ = await said(place(tmp_path, "alone"), written, kit, whole=whole)
    assert {f"0/{number:012d}" for number in range(1, SEGMENTS + 1)} <= set(fetched)
    assert len(alone) == HELD
    assert len(written.merge()) == 2
    merged, fetched, complaints = await said(place(tmp_path, "merged"), written, kit, whole=whole)
    assert (merged, complaints) == (alone, [])
    assert {"1/000000000001", "1/000000000033"} <= set(fetched)
    assert seal_keys.load(place(tmp_path, "merged").keys).keks == written.keys.keks


def cut(written: Written, other: Keys, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def removed(written: Written, other: Keys, path: Path) -> None:
    path.unlink()


def exchanged(written: Written, other: Keys, path: Path) -> None:
    path.write_bytes((path.parent / "000000000001").read_bytes())


def forged(written: Written, other: Keys, path: Path) -> None:
    """By somebody who was given the keys for reading, and leaves a study out."""
    path.write_bytes(merge.write(replace(written.keys, signing_key=other.signing_key), without_the_last(written)))


def forked(written: Written, other: Keys, path: Path) -> None:
    """By a copy of the box that was rolled back, and went on by itself."""
    path.write_bytes(merge.write(written.keys, replace(without_the_last(written), tip=written.state.tip)))


def without_the_last(written: Written) -> merge.Piece:
    piece = merge.read(chain(written), SECOND, (written.archive / SECOND.name(written.keys.site_id)).read_bytes())
    return replace(piece, lines=piece.lines[:-1])


def chain(written: Written) -> CatalogChain:
    keys = written.keys
    return CatalogChain(keys.site_id, keys.trust_root, keys.open, ChainState(99, signer=to_der(keys.signing)))


SECOND = Span(1, 33)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("deed", "whole"),
    [(cut, False), (removed, True), (removed, False), (exchanged, False), (forged, True), (forked, True), (forked, False)],
)
async def test_a_merge_that_is_of_no_use_is_named_and_its_segments_are_read(
    written: Written, kit: Kit, tmp_path: Path, deed: Callable[[Written, Keys, Path], None], whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    written.merge()
    other, _ = seal_keys.make(tmp_path / "other keys", now=written.now)
    path = written.archive / SECOND.name(written.keys.site_id)
    deed(written, other, path)
    layout, sentences = place(tmp_path, "rebuilt"), list[str]()
    archive = HeldBack(Folder(written.archive))
    await rebuild(layout.state, settings(written.archive), kit, sentences.append, archive=archive, whole=whole)
    side = EdgeSide(layout)
    async with serving(layout):
        if not whole:
            await side.hears(CatalogRead, left=0)
    side.listen()
    side.close()
    assert len(holdings(side)) == HELD
    named = [said for said in [*sentences, *caplog.messages] if SECOND.name(written.keys.site_id) in said]
    assert len(named) == (deed is not removed)


@pytest.mark.asyncio
async def test_broken_off_at_a_merge_it_goes_on_there_and_merges_on(written: Written, kit: Kit, tmp_path: Path) -> None:
    first, second = written.merge()
    layout = place(tmp_path, "rebuilt")
    await rebuild(layout.state, settings(written.archive), kit, lambda _: None, whole=False)
    side = EdgeSide(layout)
    for name, left in ((second, 64), (first, 32)):
        archive = HeldBack(Folder(written.archive), name)
        async with serving(layout, archive):
            await side.hears(CatalogRead, left=left)  # and the merge does not come
    async with serving(layout):
        await side.hears(CatalogRead, left=0)
        third = written.archive / Span(1, 65).name(written.keys.site_id)
        number = 0
        while not third.exists():
            pack = CodedPack.generated(number := number + 1, parts=0)
            side.code(pack)
            await side.hears(Held, pack=pack.pack)
            assert number <= 20
        assert (await verified(side, 100)).faults == []
    assert len(holdings(side)) == HELD + number
    side.close()
    again = place(tmp_path, "again")
    await rebuild(again.state, settings(written.archive), kit, lambda _: None)
    once_more = EdgeSide(again)
    once_more.listen()
    once_more.close()
    assert len(holdings(once_more)) == HELD + number


@pytest.mark.asyncio
async def test_a_segment_for_which_a_merge_was_read_is_missed_when_it_is_taken_away(written: Written, kit: Kit, tmp_path: Path) -> None:
    written.merge()
    layout = place(tmp_path, "rebuilt")
    await rebuild(layout.state, settings(written.archive), kit, lambda _: None)
    (written.archive / written.names[39]).unlink()
    side = EdgeSide(layout)
    async with serving(layout):
        faults = (await verified(side, 0)).faults
    side.close()
    assert [fault for fault in faults if fault.startswith(f"{written.names[39]} is missing. A merge says the same")]


class Names:
    """An archive that has the segments up to this number."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.asked = 0

    async def head(self, name: str) -> Stat | None:
        self.asked += 1
        return Stat(name, 1, b"") if int(name[-12:]) <= self.last else None

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        self.asked += 1
        digits = prefix.removeprefix("site/c/0/")
        beyond = 10 ** (12 - len(digits))
        first = int(digits or "0") * beyond
        for number in range(max(1, first), min(self.last + 1, first + beyond)):
            yield Stat(f"site/c/0/{number:012d}", 1, None)


@pytest.mark.asyncio
@pytest.mark.parametrize("last", [1024, 1025, 5000, 32_768, 75_137, 1_100_000])
async def test_the_end_of_a_long_catalog_is_found_with_few_questions(last: int) -> None:
    archive = Names(last)
    near = await near_end(archive, "site")  # type: ignore[arg-type]
    assert last - 100 <= near <= last
    names = await names_from(archive, "site", near)  # type: ignore[arg-type]
    assert names[-1] == f"site/c/0/{last:012d}"
    assert len(names) < 300
    assert archive.asked < 200


@pytest.mark.asyncio
async def test_a_short_catalog_is_listed() -> None:
    assert await near_end(Names(1000), "site") == 1  # type: ignore[arg-type]
    assert prefixes(1) == [""]


@pytest.mark.parametrize("number", [2, 99, 100, 75_137, 99_999, 10**12 - 1])
def test_every_number_from_one_on_begins_with_one_of_its_prefixes_and_few_before_it(number: int) -> None:
    found = tuple(prefixes(number))
    dice = random.Random(number)
    for other in {number, 10**12 - 1, *(dice.randrange(number, 10**12) for _ in range(100))}:
        assert f"{other:012d}".startswith(found)
    assert not any(f"{other:012d}".startswith(found) for other in range(max(0, number - 1000), number - 100))


@pytest.mark.asyncio
async def test_what_is_planted_beyond_the_end_of_a_long_catalog_is_not_taken_for_it(box: Lost, tmp_path: Path) -> None:
    written = box.written
    while written.state.sequence < 1030:
        written.say()
    written.merge()
    planted = written.archive / Span(0, 32_768).name(written.keys.site_id)
    planted.write_bytes(b"no segment")
    sentences: list[str] = []
    rebuilt = await rebuild(place(tmp_path, "rebuilt").state, settings(written.archive), box.kit, sentences.append, whole=False)
    assert rebuilt.sequence == 1030
    assert [said for said in sentences if "c/0/000000032768 is no segment of this site" in said]
