"""The archive refuses an object: its pack is tried some more, then waits for a person, and the others never notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from cloudsync.archive.folder import Folder
from cloudsync.archive.port import ObjectRefused
from cloudsync.ledger.ledger import Ledger
from cloudsync.link.refusal import Refusal
from edge.journal import Held, Here, Recall, Stopped
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide


class Picky(Folder):
    """A folder archive that refuses names of one pack, so many times."""

    def __init__(self, root: Path, poisoned: str, times: float = float("inf")) -> None:
        super().__init__(root)
        self.poisoned = poisoned
        self.times = times
        self.refused: Counter[str] = Counter()

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        if self.poisoned in name and self.refused.total() < self.times:
            self.refused[name] += 1
            raise ObjectRefused(f"the archive refuses {name} (InvalidBlob)")
        await super().put(name, data, md5)


def test_the_law_of_what_is_refused_doubles_its_patience_and_ends() -> None:
    law = Refusal(5, 300.0)
    assert [law.again_seconds(refused) for refused in (1, 2, 3, 4, 5, 6)] == [30.0, 60.0, 120.0, 240.0, None, None]
    assert Refusal(5, 100.0).again_seconds(3) == 100.0
    assert Refusal(1).again_seconds(1) is None


@pytest.mark.asyncio
async def test_a_poisoned_object_becomes_a_dead_letter_the_rest_is_shipped_and_nothing_is_lost(
    edge: EdgeSide, running: Running, archive_folder: Path
) -> None:
    poisoned = CodedPack.generated(1, parts=3, urgency="stat")
    others = [CodedPack.generated(number, parts=2) for number in range(2, 7)]
    archive = Picky(archive_folder, f"{poisoned.pack}/000002")
    async with running(archive):
        edge.code(poisoned)
        for other in others:
            edge.code(other)
        for other in others:
            await edge.hears(Held, pack=other.pack)
        (stopped,) = await edge.hears(Stopped, pack=poisoned.pack)
        assert stopped.reason.endswith("(InvalidBlob); it was tried 5 times")
        (tries,) = archive.refused.values()
        assert tries == 5
        assert not edge.heard(Held, pack=poisoned.pack)
    archive = Picky(archive_folder, poisoned.pack, 0)
    async with running(archive):
        edge.ask(poisoned.ask)  # a person says: try it again
        await edge.hears(Held, pack=poisoned.pack)
        for pack in (poisoned, *others):
            edge.ask(Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
            await edge.hears(Here, count=len(pack.objects), pack=pack.pack)
            assert tuple(edge.inbox(pack.pack, number) for number in range(len(pack.objects))) == pack.objects


@pytest.mark.asyncio
async def test_what_is_refused_for_a_moment_goes_by_itself(edge: EdgeSide, running: Running, archive_folder: Path) -> None:
    pack = CodedPack.generated(1, parts=2)
    archive = Picky(archive_folder, f"{pack.pack}/sums", 3)
    async with running(archive):
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
    assert not edge.heard(Stopped)
    assert archive.refused.total() == 3


@pytest.mark.asyncio
async def test_a_restart_does_not_begin_to_count_anew(edge: EdgeSide, running: Running, archive_folder: Path) -> None:
    pack = CodedPack.generated(1, parts=1)
    archive = Picky(archive_folder, f"{pack.pack}/000001")
    async with running(archive):
        edge.code(pack)
        await edge.until(lambda: archive.refused.total() >= 2, "a second try, so that the first is recorded")
    again = Picky(archive_folder, f"{pack.pack}/000001")
    async with running(again):
        (stopped,) = await edge.hears(Stopped, pack=pack.pack)
    assert stopped.reason.endswith("it was tried 5 times")
    assert again.refused.total() <= 4


@pytest.mark.asyncio
async def test_a_pack_that_waits_keeps_no_other_waiting_and_a_clock_set_back_keeps_it_no_longer(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    packs = [CodedPack.generated(number, parts=1) for number in (1, 2)]
    await ledger.asked.commit([msgspec.structs.replace(pack.ask, seq=seq) for seq, pack in enumerate(packs, 1)], {})
    first, second = (pack.pack for pack in packs)
    shipping = ledger.shipping
    assert not await shipping.refused(first, "no", lambda refused: 1000.0 + refused)
    assert not await shipping.refused(first, "no", lambda refused: 0.0), "one that was in flight beside it"
    assert {part.pack for part in (await shipping.next_parts(9, since=0.0))[0]} == {second}
    assert await shipping.go_on(900.0, 300.0) == 1001.0
    assert await shipping.go_on(600.0, 300.0) is None, "the clock was set back"
    assert {part.pack for part in (await shipping.next_parts(9, since=0.0))[0]} == {first, second}
    assert await shipping.refused(first, "no", lambda refused: None if refused == 2 else 0.0)
    assert await shipping.go_on(600.0, 300.0) is None
    assert {part.pack for part in (await shipping.next_parts(9, since=0.0))[0]} == {second}
    await ledger.close()
