"""cloudsync.follow: a hub on the archive of a clinic tells of the clinic's packs as of its own, and brings them."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloudsync import epochs
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import ObjectRefused
from cloudsync.catalog import Held, Tombstone, sequence_of
from cloudsync.follow import broken_rule
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import followed, keys, sharing
from cloudsync.seal.followed import AnotherRoot
from cloudsync.seal.keys import Keys
from cloudsync.seal.part import NotOurs
from cloudsync.setup import setup
from edge import journal
from edge.config import Layout
from edge.model import Digest
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

pytestmark = pytest.mark.asyncio


class Two:
    """A clinic and a hub on one archive folder. The hub has what opens the clinic's objects, and nothing that signs for it."""

    def __init__(self, made: Path, place: Path) -> None:
        shutil.copytree(made, place, dirs_exist_ok=True)
        self.archive = place / "archive"
        self.clinic, self.hub = Layout(place / "clinic"), Layout(place / "hub")
        for layout in (self.clinic, self.hub):
            layout.config.write_text(settings(self.archive).replace("[link]", "follow_seconds = 0.05\n[link]"))
        self.at_clinic, self.at_hub = EdgeSide(self.clinic), EdgeSide(self.hub)
        self.share(self.clinic, self.hub)

    def share(self, of: Layout, to: Layout, now: float = 0.0) -> None:
        own, reader = keys.load(of.keys), keys.load(to.keys)
        sibling = sharing.make(to.keys, reader.site_id, now=1.8e9)
        followed.keep(to.followed, sharing.share(own, sibling.certificate), own.site_id, own.trust_root, sibling, now)

    @property
    def site(self) -> str:
        return keys.load(self.clinic.keys).site_id

    @property
    def segments(self) -> list[Path]:
        return sorted((self.archive / self.site / "c" / "0").iterdir())

    async def ship(self, *packs: CodedPack) -> None:
        """The clinic ships these, and ends."""
        async with serving(self.clinic):
            for pack in packs:
                self.at_clinic.code(pack)
                await self.at_clinic.hears(journal.Held, pack=pack.pack)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites that were set up and never ran; each test has a copy."""
    place = tmp_path_factory.mktemp("made")
    for name in ("clinic", "hub"):
        setup(place / name, settings(place / "archive"), place / f"{name}-kit")
    return place


@pytest.fixture
def two(made: Path, tmp_path: Path) -> Iterator[Two]:
    both = Two(made, tmp_path)
    yield both
    both.at_clinic.close()
    both.at_hub.close()


async def test_what_a_clinic_ships_comes_to_the_hub_byte_for_byte(two: Two) -> None:
    before, after = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(before)
    async with serving(two.hub):
        (told,) = await two.at_hub.hears(journal.Held, pack=before.pack)
        assert (told.origin, told.sha256, told.study) == (two.site, before.ask.sha256, before.ask.study)
        await two.ship(after)
        (told,) = await two.at_hub.hears(journal.Held, pack=after.pack)
        assert told.origin == two.site
        for pack in (before, after):
            numbers = list(range(len(pack.objects)))
            two.at_hub.ask(journal.Recall(pack=pack.pack, parts=numbers))
            await two.at_hub.hears(journal.Here, len(numbers), pack=pack.pack)
            assert tuple(two.at_hub.inbox(pack.pack, number) for number in numbers) == pack.objects
        last = sequence_of(f"{two.site}/c/0/{two.segments[-1].name}")
        await two.at_hub.until(lambda: two.at_hub.heard(journal.Follows)[-1].sequence == last, "how far it is")
    assert not any(fact.fault for fact in two.at_hub.heard(journal.Follows))


async def test_a_hub_goes_on_where_it_was_and_tells_everything_again_when_asked(two: Two) -> None:
    packs = [CodedPack.generated(seed) for seed in range(3)]
    await two.ship(packs[0])
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, pack=packs[0].pack)
    await two.ship(*packs[1:])
    async with serving(two.hub):
        for pack in packs:
            await two.at_hub.hears(journal.Held, pack=pack.pack)
        assert len(two.at_hub.heard(journal.Held)) == 3
        two.at_hub.ask(journal.Restate())
        await two.at_hub.hears(journal.Held, 6)
    assert {fact.origin for fact in two.at_hub.heard(journal.Held)} == {two.site}


async def test_the_hub_ships_its_own_under_its_own_name_and_compares_only_that(two: Two) -> None:
    foreign, own = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(foreign)
    shutil.rmtree(two.archive / two.site / "p" / foreign.pack)  # which the clinic is to find out, and to mend
    hub = keys.load(two.hub.keys).site_id
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, pack=foreign.pack)
        two.at_hub.code(own)
        (told,) = await two.at_hub.hears(journal.Held, pack=own.pack)
        assert told.origin == ""
        assert (two.archive / hub / "p" / own.pack / "sums").is_file()
        two.at_hub.ask(journal.Verify(percent=100))
        await two.at_hub.until(lambda: any(fact.ended_at for fact in two.at_hub.heard(journal.Verification)), "the end of the comparison")
        (ended,) = [fact for fact in two.at_hub.heard(journal.Verification) if fact.ended_at]
        assert (ended.damaged, ended.faults) == (0, [])
        two.at_hub.ask(journal.Recall(pack=foreign.pack, parts=[0]))
        (failed,) = await two.at_hub.hears(journal.RecallFailed, pack=foreign.pack)
        assert failed.final
    assert not two.at_hub.heard(journal.Damaged)


async def test_a_clinic_and_a_hub_follow_each_other(two: Two) -> None:
    two.share(two.hub, two.clinic)
    image, report = CodedPack.generated(1), CodedPack.generated(2)
    async with serving(two.clinic), serving(two.hub):
        two.at_clinic.code(image)
        (told,) = await two.at_hub.hears(journal.Held, pack=image.pack)
        assert told.origin == two.site
        two.at_hub.code(report)
        (told,) = await two.at_clinic.hears(journal.Held, pack=report.pack)
        assert told.origin == keys.load(two.hub.keys).site_id
        two.at_clinic.ask(journal.Recall(pack=report.pack, parts=[1]))
        await two.at_clinic.hears(journal.Here, pack=report.pack, number=1)
        assert two.at_clinic.inbox(report.pack, 1) == report.objects[1]


@asynccontextmanager
async def stopped_at(two: Two, change: Callable[[list[Path]], object]) -> AsyncIterator[journal.Follows]:
    """The hub runs, after something was done to the clinic's catalog of four segments; why it goes no further."""
    for seed in range(3):
        await two.ship(CodedPack.generated(seed))
    change(two.segments)
    async with serving(two.hub):
        await two.at_hub.until(lambda: any(fact.fault for fact in two.at_hub.heard(journal.Follows)), "the fault")
        yield next(fact for fact in two.at_hub.heard(journal.Follows) if fact.fault)


async def test_a_segment_that_was_changed_is_named_and_what_was_before_it_counts(two: Two) -> None:
    def change(segments: list[Path]) -> None:
        data = bytearray(segments[2].read_bytes())
        data[-1] ^= 1
        segments[2].write_bytes(data)

    async with stopped_at(two, change) as fault:
        assert fault.sequence == 2
        assert f"{two.site}/c/0/000000000003" in fault.fault
        await two.at_hub.hears(journal.Held)
        assert len(two.at_hub.heard(journal.Held)) == 1  # the first segment brings the keys, the second one the first pack


async def test_a_segment_that_is_missing_is_named_and_followed_once_it_is_back(two: Two, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    async with stopped_at(two, lambda segments: segments[1].rename(aside)) as fault:
        assert fault.sequence == 1
        assert f"{two.site}/c/0/000000000002 is missing" in fault.fault
        shutil.copyfile(aside, two.segments[0].with_name("000000000002"))
        await two.at_hub.hears(journal.Held, 3)
        await two.at_hub.until(lambda: not two.at_hub.heard(journal.Follows)[-1].fault, "the end of the fault")


Change = Callable[[Path, Ledger, Keys], Awaitable[Keys]]


async def changed(layout: Layout, change: Change) -> Keys:
    """A site that does not run goes on under other keys."""
    ledger = await Ledger.open(layout.ledger)
    try:
        return await change(layout.keys, ledger, await epochs.current(layout.keys, ledger))
    finally:
        await ledger.close()


async def test_an_epoch_that_was_not_shared_is_named_and_followed_once_it_is(two: Two) -> None:
    first, second = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(first)
    await changed(two.clinic, lambda directory, ledger, own: epochs.begin(directory, ledger, own, (), 2.0))
    await two.ship(second)
    async with serving(two.hub):
        await two.at_hub.until(lambda: any(fact.fault for fact in two.at_hub.heard(journal.Follows)), "the fault")
        said = two.at_hub.heard(journal.Follows)[-1]
        assert "epoch 2" in said.fault and "outpost follow" in said.fault
        await two.at_hub.hears(journal.Held)
        assert [fact.pack for fact in two.at_hub.heard(journal.Held)] == [first.pack]
    two.share(two.clinic, two.hub)
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, pack=second.pack)
        two.at_hub.ask(journal.Recall(pack=second.pack, parts=[1]))
        await two.at_hub.hears(journal.Here, pack=second.pack, number=1)


async def test_an_epoch_that_the_catalog_shares_with_the_hub_is_followed_by_itself(two: Two) -> None:
    first, second = CodedPack.generated(1), CodedPack.generated(2)
    hub = sharing.load(two.hub.keys).certificate
    await two.ship(first)
    await changed(two.clinic, lambda directory, ledger, own: epochs.share(directory, ledger, own, hub, 1.8e9))
    await changed(two.clinic, lambda directory, ledger, own: epochs.begin(directory, ledger, own, own.siblings, 1.8e9))
    await two.ship(second)
    for _ in range(2):  # it is still known after a restart
        async with serving(two.hub):
            await two.at_hub.hears(journal.Held, pack=second.pack)
            two.at_hub.ask(journal.Recall(pack=second.pack, parts=[1]), journal.Taken(pack=second.pack))
            two.at_hub.ask(journal.Recall(pack=second.pack, parts=[2]))
            await two.at_hub.hears(journal.Here, pack=second.pack, number=2)
            assert two.at_hub.inbox(second.pack, 2) == second.objects[2]
            two.at_hub.ask(journal.Taken(pack=second.pack))
            assert not any(fact.fault for fact in two.at_hub.heard(journal.Follows))
            two.at_hub.facts.clear()
            two.at_hub.ask(journal.Restate())


async def test_what_the_site_retires_answers_at_the_hub_no_more_and_no_hub_retires_it(two: Two) -> None:
    first, second, third = (CodedPack.generated(seed) for seed in (1, 2, 3))
    await two.ship(first, second)
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, 2)
    tombstone = Tombstone(pack=first.pack, at=2.0, reason="kept long enough", law="a law", by="the archivist")
    for layout, retired in ((two.hub, 0), (two.clinic, 1)):
        ledger = await Ledger.open(layout.ledger)
        assert await ledger.retiring.retire([tombstone]) == retired
        assert [pack.pack async for pack in ledger.retiring.known()] == ([] if layout is two.hub else [second.pack])
        await ledger.close()
    await two.ship(third)
    async with serving(two.hub):
        (gone,) = await two.at_hub.hears(journal.Retired)
        assert gone.pack == first.pack
        two.at_hub.ask(journal.Recall(pack=first.pack, parts=[1]))
        (failed,) = await two.at_hub.hears(journal.RecallFailed, pack=first.pack)
        assert failed.final


async def test_a_site_that_is_followed_no_more_is_forgotten_and_may_be_followed_anew(two: Two) -> None:
    pack, own = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(pack)
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, pack=pack.pack)
        two.at_hub.code(own)
        await two.at_hub.hears(journal.Held, pack=own.pack)
    assert followed.drop(two.hub.followed, two.site)
    assert not followed.drop(two.hub.followed, two.site)
    for _ in range(2):
        async with serving(two.hub):
            (gone,) = await two.at_hub.hears(journal.Retired)
            assert gone.pack == pack.pack
            two.at_hub.ask(journal.Recall(pack=pack.pack, parts=[1]))
            await two.at_hub.hears(journal.RecallFailed, pack=pack.pack)
    two.at_hub.facts.clear()
    two.share(two.clinic, two.hub)
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, pack=pack.pack)
        two.at_hub.ask(journal.Restate())
        await two.at_hub.hears(journal.Held, pack=own.pack)
        assert not two.at_hub.heard(journal.Retired)
        two.at_hub.ask(journal.Recall(pack=pack.pack, parts=[1]))
        await two.at_hub.hears(journal.Here, pack=pack.pack, number=1)


async def test_what_was_held_before_the_site_was_followed_is_no_news_and_stays_none(two: Two) -> None:
    history, new = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(history)
    followed.drop(two.hub.followed, two.site)
    two.share(two.clinic, two.hub, now=time.time())
    two.share(two.clinic, two.hub, now=4e9)  # it shares once more: that changes nothing
    await two.ship(new)
    async with serving(two.hub):
        await two.at_hub.hears(journal.Held, 2)
        two.at_hub.ask(journal.Restate())
        await two.at_hub.hears(journal.Held, 4)
    assert {(fact.pack, fact.news) for fact in two.at_hub.heard(journal.Held)} == {(history.pack, False), (new.pack, True)}


async def test_a_site_that_cannot_be_opened_keeps_nothing_else_from_going_on(two: Two) -> None:
    (two.hub.keys / "sibling.key").unlink()
    own = CodedPack.generated(1)
    async with serving(two.hub):
        (said, *_) = await two.at_hub.hears(journal.Follows)
        assert said.site == two.site
        assert "sibling.key" in said.fault and "outpost follow" in said.fault
        two.at_hub.code(own)
        await two.at_hub.hears(journal.Held, pack=own.pack)


def entry(**changes: object) -> Held:
    values: dict[str, object] = {
        "pack": "a" * 26,
        "held_at": 1.0,
        "instances": 1,
        "raw_bytes": 1,
        "sealed_bytes": 1,
        "sha256": "0" * 64,
        "study": {},
        "series": [],
        "objects": 2,
        "head": "000000",
        "head_digest": "0" * 64,
        "sums_digest": "0" * 64,
    }
    return Held(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"pack": "../../../../../../../../tmp"},
        {"pack": ""},
        {"replaces": "../" * 8 + "ab"},
        {"sha256": "0"},
        {"sums_digest": "z" * 64},
        {"instances": -1},
        {"instances": 1 << 70},
        {"objects": 0},
        {"raw_bytes": 1 << 63},
        {"sealed_bytes": -1},
        {"held_at": -1.0},
        {"held_at": 1e300},
        {"held_at": float("nan")},
    ],
)
async def test_what_a_signed_catalog_cannot_mean_is_not_taken(changes: dict[str, object]) -> None:
    assert not broken_rule(entry())
    assert broken_rule(entry(**changes))


class Shelved(Folder):
    """An archive that has moved the objects of one site to an archive tier."""

    site = ""

    async def get(self, name: str) -> bytes:
        if self.site and name.startswith(f"{self.site}/"):
            raise ObjectRefused(f"the archive refuses {name} (HTTP 409 BlobArchived)")
        return await super().get(name)


async def test_a_site_whose_segment_the_archive_will_not_give_keeps_nothing_else_from_going_on(two: Two) -> None:
    pack, own = CodedPack.generated(1), CodedPack.generated(2)
    await two.ship(pack)
    archive = Shelved(two.archive)
    archive.site = two.site
    async with serving(two.hub, archive):
        (said, *_) = await two.at_hub.hears(journal.Follows)
        assert "BlobArchived" in said.fault
        two.at_hub.code(own)
        await two.at_hub.hears(journal.Held, pack=own.pack)
        archive.site = ""
        await two.at_hub.hears(journal.Held, pack=pack.pack)


async def test_what_was_shared_is_kept_sealed_and_only_of_the_site_that_was_compared(two: Two) -> None:
    own, sibling = keys.load(two.clinic.keys), sharing.load(two.hub.keys)
    path = two.hub.followed / f"{two.site}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert own.kek.key.hex().encode() not in path.read_bytes()
    kept = path.read_bytes()
    with pytest.raises(AnotherRoot):
        followed.keep(two.hub.followed, sharing.share(own, sibling.certificate), two.site, Digest("0" * 64), sibling, 1.0)
    other = replace(own, trust_root=Digest("0" * 64))  # who forges a share begins the catalog anew
    with pytest.raises(AnotherRoot):
        followed.keep(two.hub.followed, sharing.share(other, sibling.certificate), two.site, own.trust_root, sibling, 1.0)
    with pytest.raises(NotOurs):
        followed.keep(two.hub.followed, sharing.share(own, sibling.certificate), "aaaaaaaaaa", own.trust_root, sibling, 1.0)
    assert path.read_bytes() == kept
    path.write_bytes(kept[:-20])
    found = followed.load(two.hub.followed, two.hub.keys)
    assert found.sites == () and "outpost follow" in found.faults[two.site]
