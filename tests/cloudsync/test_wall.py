"""Nobody is led across the wall: what is no plain file of edge's is refused, reported, and nothing is read through it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudsync.setup import NewSite
from edge.journal import Held, Stopped
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide

pytestmark = pytest.mark.asyncio


def symbolic_link(path: Path, keys: Path) -> None:
    path.symlink_to(keys / "kek-000001")


def linked_directory(path: Path, keys: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(path.parent.with_name("elsewhere"))


def hard_link(path: Path, keys: Path) -> None:
    path.hardlink_to(keys / "kek-000001")


def fifo(path: Path, keys: Path) -> None:
    os.mkfifo(path)


def device(path: Path, keys: Path) -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("only root can make a device")
        pytest.skip("only root can make a device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


def directory(path: Path, keys: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [symbolic_link, linked_directory, hard_link, fifo, device, directory])
async def test_what_is_no_plain_file_of_edges_is_refused_and_reported(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path, plant: Callable[[Path, Path], None]
) -> None:
    pack, other = CodedPack.generated(1), CodedPack.generated(2)
    edge.put(pack)
    path = edge.layout.outbox / pack.pack / "000001"
    path.unlink()
    plant(path, edge.layout.keys)
    async with running():
        edge.ask(pack.ask)
        (stopped, *_) = await edge.hears(Stopped, pack=pack.pack)
        assert f"outbox/{pack.pack}/" in stopped.reason
        edge.code(other)
        await edge.hears(Held, pack=other.pack)
    assert not (archive_folder / site.site_id / "p" / pack.pack / "000001").exists()


async def test_a_file_of_another_user_is_refused(edge: EdgeSide, site: NewSite, archive_folder: Path, running: Running) -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("only root can give files away")
        pytest.skip("only root can give files away")
    with edge.layout.config.open("a") as settings:
        settings.write('[wall]\nedge_user = "root"\n')
    pack = CodedPack.generated(3)
    edge.put(pack)
    os.chown(edge.layout.outbox / pack.pack / "000002", 65534, -1)
    async with running():
        edge.ask(pack.ask)
        (stopped,) = await edge.hears(Stopped, pack=pack.pack)
        assert "owned by user 65534" in stopped.reason


async def test_what_is_longer_or_other_than_asked_is_not_shipped(edge: EdgeSide, running: Running, site: NewSite) -> None:
    longer, other, missing = (CodedPack.generated(seed) for seed in (4, 5, 6))
    for pack in (longer, other, missing):
        edge.put(pack)
    with (edge.layout.outbox / longer.pack / "000001").open("ab") as file:
        file.write(b"x")
    (edge.layout.outbox / other.pack / "000001").write_bytes(bytes(len(other.objects[1])))
    (edge.layout.outbox / missing.pack / "000001").unlink()
    async with running():
        edge.ask(longer.ask, other.ask, missing.ask)
        assert "at most" in (await edge.hears(Stopped, pack=longer.pack))[0].reason
        assert "not what was asked" in (await edge.hears(Stopped, pack=other.pack))[0].reason
        assert "not there" in (await edge.hears(Stopped, pack=missing.pack))[0].reason
        edge.code(missing)
        await edge.hears(Held, pack=missing.pack)
