"""Somebody who holds the site's KEK and can write to the archive makes parts that open. Not one of them is taken for the site's own."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit, sums
from cloudsync.seal.part import NotOurs
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Held, RecallFailed
from edge.model import Digest
from tests.cloudsync.conftest import Running, serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.seal.forgery import forged

pytestmark = pytest.mark.asyncio

FORGERY = b"Another man's pixels."


def forge(layout: Layout, path: Path, place: str, data: bytes = FORGERY) -> bytes:
    """Put forged bytes into the archive; the test is of nothing unless the site's own key opens them there."""
    keys = seal_keys.load(layout.keys)
    path.write_bytes(forged(keys.kek, path.read_bytes(), data))
    assert keys.open(path.read_bytes(), place) == data
    return path.read_bytes()


async def shipped(edge: EdgeSide, running: Running) -> CodedPack:
    pack = CodedPack.generated(1)
    async with running():
        edge.site_state(b"the decisions")
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
    return pack


@pytest.mark.parametrize("number", [0, 2], ids=["head", "part"])
async def test_a_forged_object_is_not_recalled(
    edge: EdgeSide, running: Running, site: NewSite, layout: Layout, archive_folder: Path, number: int
) -> None:
    pack = await shipped(edge, running)
    place = f"{site.site_id}/p/{pack.pack}/{number:06d}"
    forge(layout, archive_folder / place, place, bytes(len(pack.objects[number])))
    async with running():
        edge.ask(journal.Recall(pack=pack.pack, parts=[number]))
        (failed,) = await edge.hears(RecallFailed, pack=pack.pack)
    assert failed.final
    assert failed.reason == f"{place} is not what the sums say"
    assert not (layout.inbox / pack.pack).exists()


async def test_forged_sums_do_not_help(
    edge: EdgeSide, running: Running, site: NewSite, layout: Layout, archive_folder: Path, tmp_path: Path
) -> None:
    """A rebuilt box has no sums yet; those in the archive count by the digest that the signed catalog names."""
    pack = await shipped(edge, running)
    place = f"{site.site_id}/p/{pack.pack}/000001"
    sealed = forge(layout, archive_folder / place, place)
    file = archive_folder / site.site_id / "p" / pack.pack / "sums"
    whole = sums.parse(file.read_bytes(), site.site_id, pack.pack)
    changed = replace(whole.objects[1], bytes=len(sealed), digest=Digest(sha256(sealed).hexdigest()))
    file.write_bytes(sums.write(replace(whole, objects=(whole.objects[0], changed, *whole.objects[2:]))))
    other = Layout(tmp_path / "other")
    await rebuild(other.state, settings(archive_folder), kit.read(tmp_path / "kit", site.passphrase), lambda _: None)
    second = EdgeSide(other)
    async with serving(other):
        second.ask(journal.Recall(pack=pack.pack, parts=[1]))
        (failed,) = await second.hears(RecallFailed, pack=pack.pack)
    second.close()
    assert failed.final
    assert failed.reason == f"{whole.place} is not what the catalog says"
    assert not (other.inbox / pack.pack).exists()


@pytest.mark.parametrize("name", ["e/000000000001", "c/0/000000000001", "c/0/000000000002"], ids=["site state", "first segment", "segment"])
async def test_a_box_is_not_rebuilt_from_what_was_forged(
    edge: EdgeSide, running: Running, site: NewSite, layout: Layout, archive_folder: Path, tmp_path: Path, name: str
) -> None:
    await shipped(edge, running)
    place = f"{site.site_id}/{name}"
    forge(layout, archive_folder / place, place)
    other = Layout(tmp_path / "other")
    with pytest.raises(NotOurs, match=f"^{re.escape(place)}"):
        await rebuild(other.state, settings(archive_folder), kit.read(tmp_path / "kit", site.passphrase), lambda _: None)
    assert list(other.inbox.iterdir()) == []
