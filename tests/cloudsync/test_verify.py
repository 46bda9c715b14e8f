"""The archive is not trusted: whatever was done to it is named, what can be mended is, and a rebuild gives the same bytes afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from azure.storage.blob import ContainerClient

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import Archive, Stat
from cloudsync.ledger.values import Verification
from cloudsync.rebuild import rebuild
from cloudsync.seal import kit as recovery_kit
from cloudsync.setup import NewSite
from cloudsync.verify.sample import Sample, steps
from cloudsync.verify.verifier import done, due_seconds
from edge import journal
from edge.config import Layout
from edge.journal import Damaged, Held, Here
from edge.model import PackId, new_pack_id, successor
from tests import azurite
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

PACKS = [CodedPack.generated(seed, parts=2) for seed in range(4)]
ANOTHER = CodedPack.generated(7)
DAY = 86_400.0


class Vault(Protocol):
    """Whoever holds the archive: it may do what Outpost may not."""

    archive: Archive

    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...
    def write(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


class Disk:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = Folder(root)

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file() and path.name[0] != ".")

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


class Account:
    def __init__(self, emulator: azurite.Azurite, place: Path) -> None:
        container = f"c{uuid.uuid4().hex}"
        emulator.make_container(container)
        self.archive = AzureBlob(container, emulator.credential(place, emulator.sas_address(container, "crl")))
        self._container = ContainerClient.from_connection_string(emulator.connection_string, container)

    def names(self) -> list[str]:
        return sorted(self._container.list_blob_names())

    def read(self, name: str) -> bytes:
        return self._container.download_blob(name).readall()

    def write(self, name: str, data: bytes) -> None:
        self._container.upload_blob(name, data, overwrite=True)

    def remove(self, name: str) -> None:
        self._container.delete_blob(name)

    def close(self) -> None:
        self._container.close()


@pytest_asyncio.fixture(params=["folder", "azure_blob"])
async def vault(request: pytest.FixtureRequest, tmp_path: Path, archive_folder: Path, site: NewSite) -> AsyncIterator[Vault]:
    """The archive of the site. cloudsync's adapter of it stays open between two services."""
    if request.param == "folder":
        disk = Disk(archive_folder)
        yield disk
        await disk.archive.close()
        return
    account = Account(request.getfixturevalue("emulator"), tmp_path)
    yield account
    await account.archive.close()
    account.close()


class Kept:
    """An archive that whoever closes it does not close: the test serves it more than once."""

    def __init__(self, inner: Archive) -> None:
        self.put, self.get, self.head, self.list = inner.put, inner.get, inner.head, inner.list

    async def close(self) -> None: ...


@pytest_asyncio.fixture
async def shipped(edge: EdgeSide, vault: Vault) -> EdgeSide:
    async with serving(edge.layout, Kept(vault.archive)):
        edge.site_state(b"decisions")
        for pack in (PACKS[0], ANOTHER):  # in segments of their own
            edge.code(pack)
            await edge.hears(Held, pack=pack.pack)
        for pack in PACKS[1:]:
            edge.code(pack)
        for pack in PACKS[1:]:
            await edge.hears(Held, pack=pack.pack)
    return edge


async def verified(edge: EdgeSide, percent: float) -> journal.Verification:
    """Ask for a comparison, and wait for its end."""
    edge.ask(journal.Verify(percent=percent))
    asked = edge.asked
    ended: Callable[[], list[journal.Verification]] = lambda: [  # noqa: E731
        fact for fact in edge.heard(journal.Verification, asked=asked) if fact.ended_at is not None
    ]
    await edge.until(lambda: bool(ended()), "the end of a comparison", 60)
    return ended()[-1]


def place(site: NewSite, number: int | str, pack: PackId = PACKS[0].pack) -> str:
    return f"{site.site_id}/p/{pack}/{number if isinstance(number, str) else f'{number:06d}'}"


def removed(vault: Vault, name: str) -> None:
    vault.remove(name)


def truncated(vault: Vault, name: str) -> None:
    vault.write(name, vault.read(name)[:-1])


def flipped(vault: Vault, name: str) -> None:
    data = bytearray(vault.read(name))
    data[len(data) // 2] ^= 1
    vault.write(name, bytes(data))


def replaced(vault: Vault, name: str) -> None:
    """By a sealed part of another pack."""
    vault.write(name, vault.read(place_in(name, ANOTHER.pack)))


def place_in(name: str, pack: PackId) -> str:
    site, kind, _, number = name.split("/")
    return f"{site}/{kind}/{pack}/{number}"


DONE = (removed, truncated, flipped, replaced)
"""To part 1 of each pack."""
SEEN_BY_NAME_AND_SIZE = (removed, truncated, replaced)


@pytest.mark.asyncio
async def test_damaged_packs_are_named_shipped_again_and_then_rebuilt_as_they_were(
    shipped: EdgeSide, vault: Vault, site: NewSite, tmp_path: Path
) -> None:
    before = vault.names()
    for what, pack in zip(DONE, PACKS, strict=True):
        what(vault, place(site, 1, pack.pack))
    after = {name: vault.read(name) for name in vault.names()}
    async with serving(shipped.layout, Kept(vault.archive)):
        assert (await verified(shipped, 0)).damaged == len(SEEN_BY_NAME_AND_SIZE)
        found = await verified(shipped, 100)
        assert (found.damaged, found.faults, found.done) == (len(PACKS), [], 1.0)
        for pack in PACKS:
            (damaged,) = await shipped.hears(Damaged, pack=pack.pack)
            assert place(site, 1, pack.pack) in damaged.reason
        assert shipped.heard(Damaged, pack=ANOTHER.pack) == []
        for pack in PACKS:
            shipped.code(pack)
        for pack in PACKS:  # first it was held, then it was held and damaged, and now it is held anew
            await shipped.hears(Held, count=3, pack=pack.pack)
        clean = await verified(shipped, 100)
        assert (clean.damaged, clean.faults, clean.read_objects) == (0, [], clean.objects)
        shipped.ask(journal.Recall(pack=PACKS[0].pack, parts=[1]))
        await shipped.hears(Here, pack=PACKS[0].pack)
        assert shipped.inbox(PACKS[0].pack, 1) == PACKS[0].objects[1]
    assert all(vault.read(name) == data for name, data in after.items()), "nothing was overwritten"
    new = {name.split("/")[2] for name in set(vault.names()) - set(before) if "/p/" in name}
    assert new == {successor(pack.pack) for pack in PACKS}
    await assert_rebuilt(vault, site, tmp_path)


async def assert_rebuilt(vault: Vault, site: NewSite, tmp_path: Path) -> None:
    """From the archive and the kit come the same bytes, under the ids that the lost box knew."""
    other = Layout(tmp_path / "other")
    kit = recovery_kit.read(tmp_path / "kit", site.passphrase)
    rebuilt = await rebuild(other.state, settings(tmp_path / "archive"), kit, lambda _: None, archive=Kept(vault.archive))
    assert (rebuilt.holdings, rebuilt.site_state) == (len(PACKS) + 1, True)
    second = EdgeSide(other)
    async with serving(other, Kept(vault.archive)):
        for pack in (*PACKS, ANOTHER):
            second.ask(journal.Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
            await second.hears(Here, count=len(pack.objects), pack=pack.pack)
            assert tuple(second.inbox(pack.pack, number) for number in range(len(pack.objects))) == pack.objects
        assert (await verified(second, 100)).damaged == 0
    second.close()


@pytest.mark.asyncio
async def test_missing_segments_and_a_rolled_back_catalog_are_named_and_put_back_as_they_were(
    shipped: EdgeSide, vault: Vault, site: NewSite, tmp_path: Path
) -> None:
    segments = [name for name in vault.names() if "/c/0/" in name]
    before = {name: vault.read(name) for name in segments}
    for gone in (segments[1:2], segments[-2:]):
        for name in gone:
            vault.remove(name)
        async with serving(shipped.layout, Kept(vault.archive)):
            found = await verified(shipped, 0)
            assert [name for name in gone if not any(f"{name} was missing. It was put back" in fault for fault in found.faults)] == []
            rolled_back = f"catalog ends at {len(segments) - 2}, and this box has written {len(segments)}"
            assert any(rolled_back in fault for fault in found.faults) == (segments[-1] in gone)
            assert (await verified(shipped, 0)).faults == []
        assert {name: vault.read(name) for name in segments} == before
    await assert_rebuilt(vault, site, tmp_path)


@pytest.mark.asyncio
async def test_an_archive_as_it_was_some_days_ago_is_brought_up_to_date(
    shipped: EdgeSide, vault: Vault, site: NewSite, tmp_path: Path
) -> None:
    for name in vault.names():
        if (name >= f"{site.site_id}/c/0/{2:012d}" and "/c/" in name) or ANOTHER.pack in name or "/e/" in name:
            vault.remove(name)
    async with serving(shipped.layout, Kept(vault.archive)):
        found = await verified(shipped, 0)
        assert found.damaged == 1
        assert any("/e/" in fault and "under the next number" in fault for fault in found.faults)
        await shipped.hears(Damaged, pack=ANOTHER.pack)
        await shipped.hears(Damaged, pack="site")
        shipped.site_state(b"decisions")
        shipped.code(ANOTHER)
        await shipped.hears(Held, count=3, pack=ANOTHER.pack)
        await shipped.until(lambda: any(name.endswith(f"/e/{2:012d}") for name in vault.names()), "site state")
        again = CodedPack.generated(12)
        shipped.code(again)  # whose segment comes behind all others
        await shipped.hears(Held, pack=again.pack)
        assert (await verified(shipped, 100)).faults == []


@pytest.mark.asyncio
@pytest.mark.parametrize("vault", ["folder"], indirect=True)
@pytest.mark.parametrize("what", [truncated, flipped], ids=lambda what: what.__name__)
async def test_a_changed_segment_and_one_that_somebody_else_wrote_are_named(
    shipped: EdgeSide, vault: Vault, site: NewSite, what: Callable[[Vault, str], None]
) -> None:
    segments = [name for name in vault.names() if "/c/0/" in name]
    what(vault, segments[1])
    stray = f"{site.site_id}/c/0/{99:012d}"
    vault.write(stray, vault.read(segments[0]))
    async with serving(shipped.layout, Kept(vault.archive)):
        found = await verified(shipped, 0)
    changed, strange = found.faults
    assert changed.startswith(segments[1])
    assert "bring it back from a copy of the archive" in changed
    assert strange.startswith(f"{stray} was not written by this box")


@pytest.mark.asyncio
@pytest.mark.parametrize("vault", ["folder"], indirect=True)
async def test_a_part_that_is_damaged_again_after_it_was_mended_is_mended_again(
    shipped: EdgeSide, vault: Vault, site: NewSite, tmp_path: Path
) -> None:
    stored_as = PACKS[0].pack
    async with serving(shipped.layout, Kept(vault.archive)):
        for times in (1, 2):
            vault.remove(place(site, "sums", stored_as))
            assert (await verified(shipped, 0)).damaged == 1
            await shipped.hears(Damaged, count=times)
            shipped.code(PACKS[0])
            await shipped.hears(Held, count=1 + 2 * times, pack=PACKS[0].pack)
            stored_as = successor(stored_as)
        assert (await verified(shipped, 100)).damaged == 0
    await assert_rebuilt(vault, site, tmp_path)


@pytest.mark.asyncio
@pytest.mark.parametrize("vault", ["folder"], indirect=True)
async def test_what_is_damaged_stays_so_for_edge_whatever_is_told_again_until_it_is_found_whole(
    shipped: EdgeSide, vault: Vault, site: NewSite
) -> None:
    part = vault.read(place(site, 1))
    vault.remove(place(site, 1))
    async with serving(shipped.layout, Kept(vault.archive)):
        await verified(shipped, 0)
        await shipped.hears(Damaged)
        shipped.ask(journal.Restate())
        await shipped.hears(Damaged, count=2)
        vault.write(place(site, 1), part)  # brought back from a copy
        assert (await verified(shipped, 0)).damaged == 1
        assert (await verified(shipped, 100)).damaged == 0
        await shipped.until(lambda: isinstance(last_of(shipped, PACKS[0].pack), Held), "a sound holding")


def last_of(edge: EdgeSide, pack: PackId) -> journal.Entry:
    return [fact for fact in edge.facts if isinstance(fact, Held | Damaged) and fact.pack == pack][-1]


class Stopping(Kept):
    """Its listings of packs wait until they are let go."""

    def __init__(self, inner: Archive) -> None:
        super().__init__(inner)
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.listed: list[str] = []
        self._inner = inner
        self.list = self._list  # type: ignore[method-assign]

    async def _list(self, prefix: str) -> AsyncIterator[Stat]:
        self.listed.append(prefix)
        if "/p/" in prefix:
            self.reached.set()
            await self.go.wait()
        async for found in self._inner.list(prefix):
            yield found


@pytest.mark.asyncio
@pytest.mark.parametrize("vault", ["folder"], indirect=True)
async def test_after_a_restart_it_goes_on_behind_the_step_that_it_had_done(shipped: EdgeSide, vault: Vault) -> None:
    stopping = Stopping(vault.archive)
    async with serving(shipped.layout, stopping):
        shipped.ask(journal.Verify(percent=0))
        asked = shipped.asked
        await asyncio.wait_for(stopping.reached.wait(), 20)
        assert any("/c/" in prefix for prefix in stopping.listed)
    onwards = Stopping(vault.archive)
    onwards.go.set()
    async with serving(shipped.layout, onwards):
        await shipped.until(
            lambda: any(fact.ended_at for fact in shipped.heard(journal.Verification, asked=asked)), "the end of the comparison"
        )
    assert [prefix for prefix in onwards.listed if "/c/" in prefix] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("vault", ["folder"], indirect=True)
async def test_nobody_has_to_ask_for_a_comparison(shipped: EdgeSide, vault: Vault, site: NewSite) -> None:
    vault.remove(place(site, 0))
    config = shipped.layout.config
    config.write_text(config.read_text().replace("verify_days = 0", "verify_days = 1"))
    async with serving(shipped.layout, Kept(vault.archive)):
        await shipped.hears(Damaged, pack=PACKS[0].pack)
        await shipped.until(lambda: any(fact.ended_at for fact in shipped.heard(journal.Verification, asked=0, damaged=1)), "its end")


def test_a_comparison_begins_by_itself_when_it_is_due() -> None:
    assert due_seconds(Verification(0, 0, 0, 0, "", 0.0, 0.0), DAY, now=1e9) == 0
    last = Verification(1, 0, 0, 0, "", 1e9, 1e9 + 60)
    assert due_seconds(last, DAY, now=1e9 + 3600) == DAY - 3600
    assert due_seconds(last, DAY, now=1e9 - 3600) == 0  # the clock was set back
    assert due_seconds(last, 0.0, now=2e9) is None


def test_samples_that_follow_each_other_come_round_to_every_name() -> None:
    names = [f"site/p/{number:026d}/000001" for number in range(2000)]
    found = [[name for name in names if Sample(start / 4, 25).has(name)] for start in range(4)]
    assert sorted(name for one in found for name in one) == names
    assert all(400 < len(one) < 600 for one in found)
    assert [name for name in names if Sample(0.3, 0).has(name)] == []
    assert [name for name in names if Sample(0.3, 100).has(name)] == names


@pytest.mark.parametrize(("packs", "count"), [(0, 1), (500, 1), (501, 32), (20_000, 1024), (10**6, 1024)])
def test_the_steps_hold_every_pack_once(packs: int, count: int) -> None:
    found = steps(packs)
    assert len(found) == count
    assert found == sorted(found)
    for _ in range(50):
        pack = new_pack_id()
        assert sum(pack.startswith(prefix) for prefix in found) == 1


def test_steps_that_were_cut_otherwise_before_a_restart_leave_nothing_out() -> None:
    assert [step for step in ["c", "pa", "pb", "pc"] if not done(step, "pbx")] == ["pb", "pc"]
    assert [step for step in ["c", "pa2", "paz", "pb2"] if not done(step, "pa")] == ["pa2", "paz", "pb2"]
    assert [step for step in ["c", "p"] if not done(step, "")] == ["c", "p"]
