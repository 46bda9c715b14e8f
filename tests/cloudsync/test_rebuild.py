"""A box is rebuilt from the archive by the kit alone, and whatever is wrong with the archive is named."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.port import LinkDown
from cloudsync.catalog import BrokenChain
from cloudsync.fresh import NotEmpty
from cloudsync.rebuild import NothingThere, Rebuilt, RolledBack, rebuild
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal.kit import Kit
from cloudsync.seal.part import NotOurs
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Held, Here, Link, RecallFailed, SiteStateHere
from tests import azurite
from tests.cloudsync.conftest import Running, serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

pytestmark = pytest.mark.asyncio

PACKS = [CodedPack.generated(seed, parts=seed + 1) for seed in range(3)]


@pytest_asyncio.fixture
async def shipped(edge: EdgeSide, running: Running, archive_folder: Path) -> EdgeSide:
    """A site whose archive has three packs and two site states, in several segments."""
    async with running():
        await ship(edge)
    return edge


async def ship(edge: EdgeSide) -> None:
    for state, pack in zip((b"an older state", b"the newest state", None), PACKS, strict=True):
        if state is not None:
            edge.site_state(state)
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)  # which comes once there is nothing else left to send


@pytest.fixture
def kit(site: NewSite, tmp_path: Path) -> Kit:
    return recovery_kit.read(tmp_path / "kit", site.passphrase)


@pytest.fixture
def other(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "other")


async def restored(other: Layout, archive: Path, kit: Kit, last_sequence: int | None = None) -> Rebuilt:
    return await rebuild(other.state, settings(archive), kit, lambda _: None, last_sequence=last_sequence)


def without_seq(facts: list[Held]) -> list[tuple[object, ...]]:
    return sorted((fact.pack, fact.held_at, fact.instances, fact.sealed_bytes, fact.sha256, str(fact.study)) for fact in facts)


async def test_it_answers_as_the_lost_box_did_and_goes_on(
    shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path
) -> None:
    rebuilt = await restored(other, archive_folder, kit)
    assert (rebuilt.site_id, rebuilt.holdings, rebuilt.site_state) == (site.site_id, 3, True)
    for path in shipped.layout.keys.iterdir():
        assert (other.keys / path.name).read_bytes() == path.read_bytes()
    second = EdgeSide(other)
    second.listen()
    first = second.facts[0]
    assert isinstance(first, SiteStateHere)
    assert (other.inbox / "site" / first.digest).read_bytes() == b"the newest state"
    assert without_seq(second.heard(Held)) == without_seq(shipped.heard(Held))
    async with serving(other):
        for pack in PACKS:
            second.ask(journal.Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
            await second.hears(Here, count=len(pack.objects), pack=pack.pack)
            assert tuple(second.inbox(pack.pack, number) for number in range(len(pack.objects))) == pack.objects
        another = CodedPack.generated(9)
        second.code(another)
        second.site_state(b"a state of the new box")
        await second.hears(Held, pack=another.pack)
        await second.until(lambda: not (other.sealed / "site").exists(), "a shipped site state")
    second.close()


async def test_of_two_boxes_that_wrote_one_site_only_a_rebuilt_one_goes_on(
    shipped: EdgeSide, kit: Kit, other: Layout, archive_folder: Path, tmp_path: Path
) -> None:
    """docs/operations-archive.md, "Two boxes for one site"."""
    await restored(other, archive_folder, kit)
    second, by_the_second, by_the_first = EdgeSide(other), CodedPack.generated(10), CodedPack.generated(11)
    async with serving(other):
        second.code(by_the_second)
        await second.hears(Held, pack=by_the_second.pack)
    for times in (1, 2):  # a restart does not mend it
        async with serving(shipped.layout):
            shipped.code(by_the_first)
            await shipped.hears(Link, count=times, state="conflict")
    assert shipped.heard(Held, pack=by_the_first.pack) == []
    again = Layout(tmp_path / "again")
    assert (await restored(again, archive_folder, kit)).holdings == 4
    third, sent_again = EdgeSide(again), CodedPack.generated(11)
    async with serving(again):
        third.code(sent_again)
        await third.hears(Held, pack=sent_again.pack)
    assert {fact.pack for fact in third.heard(Held)} == {pack.pack for pack in (*PACKS, by_the_second, sent_again)}
    assert third.heard(Link, state="conflict") == []
    for side in (second, third):
        side.close()


async def test_it_is_rebuilt_from_azure_blob_with_read_and_list(
    edge: EdgeSide, site: NewSite, kit: Kit, other: Layout, emulator: azurite.Azurite, tmp_path: Path, running: Running
) -> None:
    emulator.make_container("rebuilt")
    writes = AzureBlob("rebuilt", emulator.credential(tmp_path, emulator.sas_address("rebuilt", "crl")))
    async with running(writes):
        await ship(edge)
    credential = emulator.credential(tmp_path, emulator.sas_address("rebuilt", "rl"))
    text = f'[archive]\nkind = "azure_blob"\ncontainer = "rebuilt"\ncredential_file = "{credential}"\n'
    rebuilt = await rebuild(other.state, text, kit, lambda _: None)
    assert (rebuilt.holdings, rebuilt.site_state) == (3, True)
    second = EdgeSide(other)
    async with serving(other):
        second.ask(journal.Recall(pack=PACKS[0].pack, parts=[0, 1]))
        await second.hears(Here, count=2)
        assert second.inbox(PACKS[0].pack, 1) == PACKS[0].objects[1]
    second.close()


async def test_a_state_directory_in_use_is_refused(shipped: EdgeSide, kit: Kit, archive_folder: Path) -> None:
    before = shipped.layout.config.read_text()
    with pytest.raises(NotEmpty):
        await restored(shipped.layout, archive_folder, kit)
    assert shipped.layout.config.read_text() == before


async def test_broken_off_it_can_be_run_again(shipped: EdgeSide, kit: Kit, other: Layout, archive_folder: Path) -> None:
    loop = asyncio.get_running_loop()
    for steps in range(1, 12, 2):
        with ThreadPoolExecutor() as threads:  # whose end is waited for: no thread of a process that is gone writes on
            loop.set_default_executor(threads)
            task = asyncio.create_task(restored(other, archive_folder, kit))
            await asyncio.sleep(0.004 * steps)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    loop.set_default_executor(ThreadPoolExecutor())
    if not other.config.exists():
        assert (await restored(other, archive_folder, kit)).holdings == 3
    assert not (other.state / "unfinished").exists()


async def test_broken_off_at_its_first_write_it_can_be_run_again(shipped: EdgeSide, kit: Kit, other: Layout, archive_folder: Path) -> None:
    other.state.mkdir()
    (other.state / ".unfinished.new").write_bytes(b"Not fin")
    assert (await restored(other, archive_folder, kit)).holdings == 3
    assert not (other.state / ".unfinished.new").exists()


async def test_an_archive_without_this_site_is_named(kit: Kit, other: Layout, archive_folder: Path) -> None:
    with pytest.raises(NothingThere):
        await restored(other, archive_folder, kit)


async def test_a_missing_segment_is_named(shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path) -> None:
    (archive_folder / site.site_id / "c/0/000000000002").unlink()
    with pytest.raises(BrokenChain, match=r"c/0/000000000002 is missing"):
        await restored(other, archive_folder, kit)


@pytest.mark.parametrize("name", ["000000000999", "000000000999~", "readme"])
@pytest.mark.parametrize("planted", ["noise", "an old segment"])
async def test_what_somebody_put_among_the_segments_is_named_and_not_used(
    shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path, name: str, planted: str
) -> None:
    segments = archive_folder / site.site_id / "c/0"
    (segments / name).write_bytes(b"noise" if planted == "noise" else (segments / "000000000001").read_bytes())
    said: list[str] = []
    rebuilt = await rebuild(other.state, settings(archive_folder), kit, said.append)
    assert (rebuilt.holdings, rebuilt.site_state) == (3, True)
    assert [sentence for sentence in said if f"c/0/{name} is no" in sentence and "find out who writes" in sentence]


async def test_an_archive_that_was_rolled_back_is_found_out_by_the_last_number(
    shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path
) -> None:
    segments = sorted((archive_folder / site.site_id / "c/0").iterdir())
    segments[-1].unlink()
    with pytest.raises(RolledBack):
        await restored(other, archive_folder, kit, last_sequence=len(segments))
    assert (await restored(other, archive_folder, kit, last_sequence=len(segments) - 1)).sequence == len(segments) - 1


@pytest.mark.parametrize("name", ["c/0/000000000002", "e/000000000002"])
async def test_a_changed_object_is_named(
    shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path, name: str
) -> None:
    path = archive_folder / site.site_id / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotOurs, match=name):
        await restored(other, archive_folder, kit)


async def test_changed_sums_are_refused_when_they_are_first_needed(
    shipped: EdgeSide, site: NewSite, kit: Kit, other: Layout, archive_folder: Path
) -> None:
    await restored(other, archive_folder, kit)
    path = archive_folder / site.site_id / "p" / PACKS[0].pack / "sums"
    path.write_bytes(path.read_bytes().replace(b"bytes", b"Bytes", 1))
    second = EdgeSide(other)
    async with serving(other):
        await second.hears(Link, state="up")
        second.ask(journal.Recall(pack=PACKS[0].pack, parts=[0]))
        (failed,) = await second.hears(RecallFailed)
        assert failed.final
        assert "not what the catalog says" in failed.reason
    second.close()


async def test_the_link_may_fail_meanwhile(shipped: EdgeSide, kit: Kit, other: Layout, archive_folder: Path) -> None:
    mark = archive_folder / ".outpost-archive"
    unplugged = mark.rename(archive_folder.parent / "unplugged")
    said: list[str] = []
    heard = asyncio.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        heard.set()

    task = asyncio.create_task(rebuild(other.state, settings(archive_folder), kit, say))
    await asyncio.wait_for(heard.wait(), 60)
    assert said[0].startswith(f"Waiting until the archive folder:{archive_folder} answers: there is no archive at")
    unplugged.rename(mark)
    assert (await task).holdings == 3
    assert "The archive answers again." in said


async def test_who_waits_is_reminded_of_it_and_may_give_up(kit: Kit, other: Layout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    said: list[str] = []
    patience = {"patience_seconds": 0.25, "reminder_seconds": 0.1}
    with pytest.raises(LinkDown, match=rf"archive folder:{tmp_path}/elsewhere did not answer for 0 s: there is no archive at"):
        await rebuild(other.state, settings(tmp_path / "elsewhere"), kit, said.append, **patience)
    assert 2 <= len(said) <= 3  # a slow machine skips one
    assert all("Is that the right place?" in sentence for sentence in said)
    assert all("Ctrl-C ends the waiting; nothing is lost" in sentence for sentence in said[1:])
    assert not other.config.exists()
