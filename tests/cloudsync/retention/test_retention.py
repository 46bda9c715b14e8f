"""What is due is planned, approved, and deleted elsewhere: in this order alone, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
import zstandard
from azure.storage.blob import BlobClient
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

import outpost
from cloudsync.ledger.ledger import Ledger
from cloudsync.rebuild import rebuild
from cloudsync.retention import paper, planner
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal import signed
from cloudsync.seal.certificates import fingerprint
from cloudsync.seal.keys import load
from cloudsync.setup import NewSite, setup
from edge import journal, process
from edge.config import Layout
from edge.journal import Held, Retired, Verification, Verify
from edge.model import Digest, PackId, successor
from tests import azurite
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

pytestmark = pytest.mark.asyncio

OLD, CHILD, YOUNG = "1.2.840.1", "1.2.840.2", "1.2.840.3"
PACKS = {name: CodedPack.generated(seed, parts=1) for seed, name in enumerate(("old", "older", "child", "young"))}


def ask(pack: CodedPack, study: str, on: str, born: str = "19500101") -> journal.Coded:
    attributes = pack.ask.study | {
        "0020000D": {"vr": "UI", "Value": [study]},
        "00080020": {"vr": "DA", "Value": [on]},
        "00100030": {"vr": "DA", "Value": [born]},
    }
    series = [{"0020000E": {"vr": "UI", "Value": [f"{study}.1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}]
    return msgspec.structs.replace(pack.ask, study=attributes, series=series)


async def ship(edge: EdgeSide) -> None:
    for name, study, on, born in (
        ("old", OLD, "20000105", "19500101"),
        ("older", OLD, "20000105", "19500101"),
        ("child", CHILD, "20000105", "19990101"),
        ("young", YOUNG, "20250105", "19500101"),
    ):
        edge.put(PACKS[name])
        edge.ask(ask(PACKS[name], study, on, born))
    await edge.hears(Held, count=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NewSite]:
    """A site whose archive has four packs; it does not run."""
    place = tmp_path_factory.mktemp("made")
    site = setup(place / "state", settings(place / "archive"), place / "kit")

    async def fill() -> None:
        edge = EdgeSide(Layout(place / "state"))
        async with serving(edge.layout):
            await ship(edge)
        edge.close()

    asyncio.run(fill())
    return place, site


@pytest.fixture
def site(made: tuple[Path, NewSite], tmp_path: Path) -> NewSite:
    """A copy of it for each test."""
    place, site = made
    for name in ("archive", "kit", "state"):
        shutil.copytree(place / name, tmp_path / name, ignore=shutil.ignore_patterns("bell"))
    (tmp_path / "state" / "outpost.toml").write_text(settings(tmp_path / "archive"))
    return site


@pytest.fixture
def shipped(site: NewSite, edge: EdgeSide) -> EdgeSide:
    edge.listen()
    return edge


class Desk:
    """Who types the commands."""

    def __init__(self, layout: Layout, place: Path) -> None:
        self.layout = layout
        self.plan, self.list = place / "plan", place / "list"
        self.signing = Digest(fingerprint(load(layout.keys).signing))

    async def types(self, *arguments: object, code: int = 0) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, outpost.app, ["retention", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    async def plans(self, *more: object, code: int = 0) -> Result:
        told = ("--law", "Section 85", "--reason", "time is over", "--by", "Officer", "--state", self.layout.state, "--out", self.plan)
        return await self.types("plan", "--years", 10, "--minors-until", 30, *told, *more, code=code)

    async def approves(self, *more: object, code: int = 0) -> Result:
        told = ("--by", "Director", "--state", self.layout.state, "--out", self.list)
        return await self.types("approve", self.plan, *told, *more, code=code)

    async def applies(self, *more: object, code: int = 0) -> Result:
        return await self.types("apply", self.list, "--signing-sha256", self.signing, *more, code=code)


@pytest.fixture
def desk(site: NewSite, layout: Layout, tmp_path: Path) -> Desk:
    return Desk(layout, tmp_path)


def objects(archive: Path) -> dict[str, bytes]:
    return {str(path.relative_to(archive)): path.read_bytes() for path in archive.rglob("*") if path.is_file()}


def of(site: NewSite, *names: str) -> tuple[str, ...]:
    return tuple(f"{site.site_id}/p/{PACKS[name].pack}/" for name in names)


async def test_the_whole_way(shipped: EdgeSide, desk: Desk, site: NewSite, archive_folder: Path, tmp_path: Path) -> None:
    before = objects(archive_folder)
    planned = json.loads((await desk.plans("--json")).stdout)
    assert (planned["studies"], planned["packs"], planned["instances"]) == (1, 2, 6)
    shown = await desk.types("show", desk.plan, "--state", desk.layout.state)
    assert f"{OLD}  2000-01-05  CT  kept until 2010-01-05" in shown.stdout
    assert objects(archive_folder) == before
    approved = json.loads((await desk.approves("--json")).stdout)
    assert (approved["studies"], approved["retired"], approved["changed"]) == (1, 2, [])
    assert {fact.pack for fact in await shipped.hears(Retired, count=2)} == {PACKS["old"].pack, PACKS["older"].pack}
    only_said = objects(archive_folder)
    assert {name.split("/")[1] for name in only_said.keys() - before.keys()} == {"c"}
    dry = json.loads((await desk.applies("--archive-folder", archive_folder, "--dry-run", "--json")).stdout)
    assert objects(archive_folder) == only_said
    done = json.loads((await desk.applies("--archive-folder", archive_folder, "--json")).stdout)
    assert (done["objects"], done["bytes"], done["packs"], done["kept"]) == (dry["objects"], dry["bytes"], 2, [])
    gone = only_said.keys() - objects(archive_folder).keys()
    assert gone == {name for name in before if name.startswith(of(site, "old", "older"))}
    assert objects(archive_folder) == {name: data for name, data in only_said.items() if name not in gone}
    again = json.loads((await desk.applies("--archive-folder", archive_folder, "--json")).stdout)
    assert (again["objects"], again["absent"]) == (0, 2)
    async with serving(desk.layout):
        shipped.ask(Verify(percent=100))
        await shipped.until(lambda: any(fact.ended_at for fact in shipped.heard(Verification, asked=shipped.asked)), "the end of it")
        (ended,) = [fact for fact in shipped.heard(Verification, asked=shipped.asked) if fact.ended_at]
        assert (ended.damaged, ended.faults) == (0, [])
    other = Layout(tmp_path / "other")
    kit = recovery_kit.read(tmp_path / "kit", site.passphrase)
    rebuilt = await rebuild(other.state, settings(archive_folder), kit, lambda _: None)
    assert rebuilt.holdings == 2
    second = EdgeSide(other)
    second.listen()
    assert {fact.pack for fact in second.heard(Held)} == {PACKS["child"].pack, PACKS["young"].pack}
    second.close()


async def test_what_is_retired_is_neither_shipped_nor_recalled_nor_held_again(shipped: EdgeSide, desk: Desk, archive_folder: Path) -> None:
    await desk.plans()
    await desk.approves()
    await desk.applies("--archive-folder", archive_folder)
    await shipped.hears(Retired, count=2)
    heard = len(shipped.facts)
    async with serving(desk.layout):
        shipped.put(PACKS["old"])
        shipped.ask(ask(PACKS["old"], OLD, "20000105"))  # as of a box whose catalogue was put back
        await shipped.hears(Retired, count=2, pack=PACKS["old"].pack)
        shipped.ask(journal.Recall(pack=PACKS["older"].pack, parts=[0]), journal.Restate())
        await shipped.hears(journal.RecallFailed, pack=PACKS["older"].pack, final=True)
        await shipped.hears(Retired, count=2, pack=PACKS["older"].pack)
        await shipped.hears(Held, count=6)
    assert {fact.pack for fact in shipped.facts[heard:] if isinstance(fact, Held)} == {PACKS["child"].pack, PACKS["young"].pack}
    assert not any(PACKS["old"].pack in name for name in objects(archive_folder))


async def test_papers_name_no_person_are_for_the_owner_alone_and_open_by_hand(shipped: EdgeSide, desk: Desk, tmp_path: Path) -> None:
    await desk.plans()
    await desk.approves()
    certificate = tmp_path / "signing.pem"
    certificate.write_bytes(load(desk.layout.keys).signing.public_bytes(Encoding.PEM))
    for path in (desk.plan, desk.list):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        command = [
            "openssl",
            "cms",
            "-verify",
            "-inform",
            "DER",
            "-in",
            path,
            "-certfile",
            certificate,
            "-nointern",
            "-noverify",
            "-binary",
        ]
        opened = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        content, _ = await opened.communicate()
        assert opened.returncode == 0
        text = zstandard.decompress(content)
        assert b"Section 85" in text
        assert b"CANARY" not in text
        assert b"1950" not in text
    assert OLD.encode() not in text


async def test_nothing_is_deleted_that_was_not_approved_by_the_one_who_is_trusted(
    shipped: EdgeSide, desk: Desk, archive_folder: Path, tmp_path: Path
) -> None:
    before = objects(archive_folder)
    await desk.plans()
    assert (
        "is no retention list"
        in (await desk.types("apply", desk.plan, "--signing-sha256", desk.signing, "--archive-folder", archive_folder, code=65)).output
    )
    await desk.approves()
    after = objects(archive_folder)
    assert before.items() <= after.items()
    stranger = await asyncio.to_thread(setup, tmp_path / "stranger", settings(tmp_path / "elsewhere"), tmp_path / "its-kit")
    assert (
        "is trusted"
        in (await desk.types("apply", desk.list, "--kit", tmp_path / "its-kit", "--archive-folder", archive_folder, code=65)).output
    )
    assert stranger.site_id != load(desk.layout.keys).site_id
    # Signed by another site's key, and saying that it was ours
    keys, theirs = load(desk.layout.keys), load(Layout(tmp_path / "stranger").keys)
    honest = paper.read(desk.list, paper.Deletions, desk.signing)
    content = zstandard.compress(msgspec.json.encode(honest))
    desk.list.write_bytes(signed.sign(content, theirs.signing_key, keys.signing))
    assert "not signed" in (await desk.applies("--archive-folder", archive_folder, code=65)).output
    # More packs than were approved
    more = msgspec.structs.replace(honest, packs=[*honest.packs, PACKS["young"].pack])
    whole = signed.sign(content, keys.signing_key, keys.signing)
    forged = signed.sign(zstandard.compress(msgspec.json.encode(more)), theirs.signing_key, theirs.signing)
    desk.list.write_bytes(forged)
    await desk.applies("--archive-folder", archive_folder, code=65)
    for place in (0, len(whole) // 2, len(whole) - 1):
        desk.list.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        await desk.applies("--archive-folder", archive_folder, code=65)
    assert objects(archive_folder) == after
    desk.list.write_bytes(whole)
    await desk.types("apply", desk.list, "--kit", tmp_path / "kit", "--archive-folder", archive_folder)
    assert len(objects(archive_folder)) < len(after)


async def test_a_study_that_is_excepted_or_of_which_more_came_stays(shipped: EdgeSide, desk: Desk, archive_folder: Path) -> None:
    await desk.plans("--years", 1, "--minors-until", 18)
    late = CodedPack.generated(17, parts=1)
    async with serving(desk.layout):
        shipped.put(late)
        shipped.ask(ask(late, CHILD, "20000105"))
        await shipped.hears(Held, pack=late.pack)
    done = json.loads((await desk.approves("--except", OLD, "--json")).stdout)
    assert (done["excepted"], done["changed"], done["packs"]) == ([OLD], [CHILD], 1)
    await shipped.hears(Retired, pack=PACKS["young"].pack)
    assert len(shipped.heard(Retired)) == 1
    desk.list.unlink()
    assert "not in" in (await desk.approves("--except", "1.2.9", code=78)).output


async def test_an_approval_that_was_broken_off_is_run_again_and_the_list_names_it_all(
    shipped: EdgeSide, desk: Desk, archive_folder: Path
) -> None:
    await desk.plans()
    away = archive_folder.with_name("away")
    ledger = await Ledger.open(desk.layout.ledger)
    plan = paper.read(desk.plan, paper.Plan, desk.signing)
    await planner.approve(ledger, plan, (), "Director", 1.0)  # and the power went
    assert await ledger.telling.retired(9) == ()  # not before the catalog says it
    await ledger.close()
    archive_folder.rename(away)
    assert "plug the disk in" in (await desk.approves(code=75)).output
    assert not desk.list.exists()
    away.rename(archive_folder)
    done = json.loads((await desk.approves("--json")).stdout)
    assert (done["studies"], done["packs"], done["retired"]) == (1, 2, 0)
    await shipped.hears(Retired, count=2)
    await desk.applies("--archive-folder", archive_folder)


async def test_copies_that_were_replaced_because_they_were_damaged_are_named_too(
    shipped: EdgeSide, desk: Desk, archive_folder: Path
) -> None:
    pack = PACKS["old"]
    place = archive_folder / load(desk.layout.keys).site_id / "p"
    (place / pack.pack / "000001").unlink()
    async with serving(desk.layout):
        shipped.ask(Verify(percent=100))
        await shipped.hears(journal.Damaged, pack=pack.pack)
        shipped.put(pack)
        shipped.ask(ask(pack, OLD, "20000105"))
        await shipped.hears(Held, count=3, pack=pack.pack, seconds=30)  # when shipped, beside the damage, and when shipped anew
    anew = successor(PackId(pack.pack))
    assert (place / pack.pack).is_dir()
    assert (place / anew).is_dir()
    await desk.plans()
    await desk.approves()
    await desk.applies("--archive-folder", archive_folder)
    assert {path.name for path in place.iterdir()} == {PACKS["child"].pack, PACKS["young"].pack}


async def test_while_cloudsync_runs_nothing_is_planned_or_approved(shipped: EdgeSide, desk: Desk) -> None:
    descriptor = process.lock(desk.layout.cloudsync_lock)
    try:
        assert "Stop it first" in (await desk.plans(code=3)).output
    finally:
        os.close(descriptor)


async def test_in_azure_a_credential_of_its_own_deletes_and_what_is_locked_is_named_and_left(
    emulator: azurite.Azurite, tmp_path: Path
) -> None:
    emulator.make_container("retention")
    (tmp_path / "box").mkdir()
    own = emulator.credential(tmp_path / "box", emulator.sas_address("retention", "crl"))
    text = settings(tmp_path).replace('kind = "folder"', f'kind = "azure_blob"\ncontainer = "retention"\ncredential_file = "{own}"')
    layout = Layout(tmp_path / "state")
    site = await asyncio.to_thread(setup, layout.state, text, tmp_path / "kit")
    edge, desk = EdgeSide(layout), Desk(layout, tmp_path)
    async with serving(layout):
        await ship(edge)
    await desk.plans()
    await desk.approves()
    where = ("--azure-container", "retention", "--credential-file")
    assert "refuses our credential" in (await desk.applies(*where, own, code=77)).output
    (tmp_path / "officer").mkdir()
    deleting = emulator.credential(tmp_path / "officer", emulator.sas_address("retention", "dl"))
    locked = f"{site.site_id}/p/{PACKS['old'].pack}/000001"
    with BlobClient.from_connection_string(emulator.connection_string, "retention", locked) as blob:
        lease = blob.acquire_lease()
        kept = await desk.applies(*where, deleting, "--json", code=77)
        done = json.loads(kept.stdout)
        assert [locked in reason for reason in done["kept"]] == [True]
        assert (done["packs"], done["absent"]) == (1, 0)
        assert blob.exists()
        lease.release()
    rest = json.loads((await desk.applies(*where, deleting, "--json")).stdout)
    assert (rest["objects"], rest["packs"], rest["absent"]) == (1, 2, 1)
    async with serving(layout):
        edge.ask(Verify(percent=100))
        await edge.until(lambda: any(fact.ended_at for fact in edge.heard(Verification, asked=edge.asked)), "the end of it")
        (ended,) = [fact for fact in edge.heard(Verification, asked=edge.asked) if fact.ended_at]
        assert (ended.damaged, ended.faults) == (0, [])
    edge.close()
