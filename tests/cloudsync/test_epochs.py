"""A new epoch begins whole or not at all, wherever it is broken off, and whoever may read finds the next key."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from cloudsync import epochs
from cloudsync.catalog import CatalogChain, Entry, EpochEntry, SharedEntry, epoch_entry
from cloudsync.ledger.ledger import Ledger
from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal import part, sharing
from cloudsync.seal.epoch import open_epoch
from cloudsync.seal.keys import Keys, RecoveryKey
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Held, Here
from tests.cloudsync import rotating
from tests.cloudsync.conftest import Running, serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.servers import ROOT

NOW = 1_767_225_600.0

Change = Callable[[Path, Ledger, Keys], Awaitable[Keys]]


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """The keys and the ledger of a site whose first segment is not shipped yet."""

    place: Path
    recovery: RecoveryKey

    @property
    def keys(self) -> Path:
        return self.place / "keys"

    def changed(self, change: Change) -> Keys:
        async def run() -> Keys:
            ledger = await Ledger.open(self.place / "ledger.db")
            try:
                return await change(self.keys, ledger, await epochs.current(self.keys, ledger))
            finally:
                await ledger.close()

        return asyncio.run(run())

    def owed(self) -> list[Entry]:
        async def run() -> tuple[bytes, ...]:
            ledger = await Ledger.open(self.place / "ledger.db")
            try:
                return await ledger.chain.owed()
            finally:
                await ledger.close()

        return [msgspec.json.decode(entry, type=Entry) for entry in asyncio.run(run())]


async def nothing(directory: Path, ledger: Ledger, own: Keys) -> Keys:
    return own


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> sharing.Sibling:
    return sharing.make(tmp_path_factory.mktemp("hub"), "k7q2abcdef", now=NOW)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made, recovery = seal_keys.make(tmp_path / "box" / "keys", now=NOW)

    async def owe() -> None:
        ledger = await Ledger.open(tmp_path / "box" / "ledger.db")
        await ledger.chain.owe([msgspec.json.encode(epoch_entry(made, NOW))], NOW)
        await ledger.close()

    asyncio.run(owe())
    return Box(tmp_path / "box", recovery)


def state(own: Keys) -> tuple[object, ...]:
    return own.epoch, own.keks, own.began, own.siblings


def share_with(sibling: sharing.Sibling) -> Change:
    async def change(directory: Path, ledger: Ledger, own: Keys) -> Keys:
        return await epochs.share(directory, ledger, own, sibling.certificate, NOW + 1)

    return change


def test_killed_at_any_write_an_epoch_has_begun_whole_or_not_at_all(box: Box, hub: sharing.Sibling, tmp_path: Path) -> None:
    box.changed(share_with(hub))
    command = [sys.executable, "-m", "tests.cloudsync.rotating", str(box.place), str(tmp_path / "killed")]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    moments = sorted((tmp_path / "killed").iterdir(), key=lambda place: int(place.name))
    begun, finished = [], 0
    for place in moments:
        each = dataclasses.replace(box, place=place)
        before = seal_keys.load(each.keys)
        after = each.changed(nothing)  # what every start does first
        new = [entry for entry in each.owed() if isinstance(entry, EpochEntry | SharedEntry) and entry.epoch == 2]
        assert (after.epoch, state(seal_keys.load(each.keys))) == (2 if new else 1, state(after))
        assert after.siblings == (hub.certificate,)
        if new:
            epoch, shared = new
            assert isinstance(epoch, EpochEntry)
            assert isinstance(shared, SharedEntry)
            assert open_epoch(epoch.sealed, after.site_id, 2, box.recovery).kek == after.kek
            assert sharing.open_shared(shared.sealed, after.site_id, hub).keks == after.keks
        begun.append(after.epoch)
        finished += before.epoch != after.epoch
        assert asyncio.run(rotating.rotate(place)).epoch == after.epoch + 1
    assert len(moments) > 20
    assert begun == sorted(begun)
    assert set(begun) == {1, 2}
    assert finished  # what was recorded in the ledger alone, the next start has finished


def test_sharing_with_the_same_sibling_again_changes_nothing(box: Box, hub: sharing.Sibling) -> None:
    first = box.changed(share_with(hub))
    assert state(box.changed(share_with(hub))) == state(first)
    assert [type(entry) for entry in box.owed()] == [EpochEntry, SharedEntry]


def test_what_was_shared_in_an_epoch_that_ended_is_not_taken_for_the_new_one(box: Box, hub: sharing.Sibling) -> None:
    async def revoke(directory: Path, ledger: Ledger, own: Keys) -> Keys:
        return await epochs.begin(directory, ledger, own, (), NOW + 2)

    box.changed(share_with(hub))
    before = (box.keys / "site.json").read_bytes()
    assert box.changed(revoke).siblings == ()
    assert box.changed(nothing).siblings == ()
    (box.keys / "site.json").write_bytes(before)  # broken off once the ledger had it
    after = box.changed(nothing)
    assert (after.epoch, after.siblings) == (2, ())


def test_keys_of_the_first_format_are_read(box: Box) -> None:
    site = msgspec.json.decode((box.keys / "site.json").read_bytes())
    first = {name: site[name] for name in ("site_id", "epoch", "trust_root")} | {"format": 1}
    (box.keys / "site.json").write_bytes(msgspec.json.encode(first))
    assert seal_keys.load(box.keys).began == {}
    assert asyncio.run(rotating.rotate(box.place)).began == {2: rotating.AT}


def entries_for(shared: sharing.Shared, hub: sharing.Sibling, archive: Path) -> tuple[list[Entry], str]:
    """What a hub reads of a catalog with its own key alone, and why it ends."""
    chain, heard = CatalogChain(shared.site_id, shared.trust_root, shared.open), list[Entry]()
    while (path := archive / chain.next_name).exists():
        try:
            followed = chain.follow(path.read_bytes())
        except part.WrongKey as fault:
            return heard, str(fault)
        heard += followed.entries
        for entry in followed.entries:
            if isinstance(entry, SharedEntry):
                shared = sharing.open_shared(entry.sealed, shared.site_id, hub)
        chain = dataclasses.replace(chain.at(followed.state), opener=shared.open)
    return heard, ""


@pytest.mark.asyncio
async def test_parts_of_every_epoch_open_with_the_kit_alone_and_by_openssl_and_a_sibling_follows_until_it_is_revoked(
    edge: EdgeSide, layout: Layout, site: NewSite, running: Running, archive_folder: Path, tmp_path: Path, hub: sharing.Sibling
) -> None:
    packs = [CodedPack.generated(seed, parts=2) for seed in range(3)]

    async def change(siblings: tuple[sharing.Sibling, ...]) -> Keys:
        ledger = await Ledger.open(layout.ledger)
        try:
            own = await epochs.current(layout.keys, ledger)
            return await epochs.begin(layout.keys, ledger, own, [each.certificate for each in siblings], NOW)
        finally:
            await ledger.close()

    async def ship(pack: CodedPack) -> None:
        edge.code(pack)
        async with running():
            await edge.hears(Held, pack=pack.pack)

    await ship(packs[0])
    given = sharing.open_shared(sharing.share(seal_keys.load(layout.keys), hub.certificate), site.site_id, hub)
    await change((hub,))
    await ship(packs[1])
    await change(())
    await ship(packs[2])
    own = seal_keys.load(layout.keys)
    assert (own.epoch, sorted(own.keks)) == (3, [1, 2, 3])

    # A sibling: all until the epoch that it was not given.
    heard, ended = entries_for(given, hub, archive_folder)
    assert [entry.pack for entry in heard if hasattr(entry, "pack")] == [packs[0].pack, packs[1].pack]
    assert [entry.epoch for entry in heard if isinstance(entry, EpochEntry)] == [1, 2, 3]
    assert "is sealed under epoch 3; site" in ended

    # openssl, by the recovery key and by the KEK of each epoch.
    kit = recovery_kit.read(tmp_path / "kit", site.passphrase)
    (tmp_path / "recovery.key").write_bytes(seal_keys.private_pem(kit.recovery.private))
    for epoch, pack in enumerate(packs, 1):
        sealed = archive_folder / site.site_id / "p" / pack.pack / "000001"
        assert part.epoch_of(sealed.read_bytes(), f"{site.site_id}/p/{pack.pack}/000001") == epoch
        by_kek = ["-secretkey", own.keks[epoch].key.hex(), "-secretkeyid", f"epoch {epoch}".encode().hex()]
        for key in (by_kek, ["-inkey", str(tmp_path / "recovery.key"), "-recip", str(tmp_path / "kit" / "recovery.pem")]):
            command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", str(sealed), *key, "-binary"]
            assert subprocess.run(command, capture_output=True, check=True).stdout == pack.objects[1]

    # The kit alone: a rebuilt box, its keys, and every pack of every epoch.
    other = Layout(tmp_path / "other")
    await rebuild(other.state, settings(archive_folder), kit, lambda _: None)
    rebuilt = seal_keys.load(other.keys)
    assert (rebuilt.keks, rebuilt.began, rebuilt.siblings, rebuilt.epoch) == (own.keks, own.began, (), 3)
    side = EdgeSide(other)
    try:
        async with serving(other):
            for pack in packs:
                side.ask(journal.Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
                await side.hears(Here, len(pack.objects), pack=pack.pack)
                assert tuple(side.inbox(pack.pack, number) for number in range(len(pack.objects))) == pack.objects
    finally:
        side.close()
