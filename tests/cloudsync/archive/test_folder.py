"""What only a folder archive does: disks that are unplugged, full, read-only, or that lack links."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cloudsync.archive import folder
from cloudsync.archive.folder import MARK, Folder
from cloudsync.archive.port import CredentialRefused, LinkDown, QuotaExceeded, md5_of
from edge.errors import Refused

pytestmark = pytest.mark.asyncio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Folder.prepare(tmp_path / "archive")
    return tmp_path / "archive"


async def put(archive: Folder, name: str, data: bytes) -> None:
    await archive.put(name, data, md5_of(data))


async def test_an_empty_mount_point_is_a_link_that_is_down(root: Path) -> None:
    archive = Folder(root)
    await put(archive, "site/a", b"1")
    root.rename(root.with_name("unplugged"))
    for again in (None, root.mkdir()):
        assert again is None
        for call in (put(archive, "site/b", b"2"), archive.get("site/a"), archive.head("site/a")):
            with pytest.raises(LinkDown, match="plug the disk in"):
                await call
        with pytest.raises(LinkDown):
            _ = [found async for found in archive.list("")]
    assert list(root.iterdir()) == []
    root.rmdir()
    root.with_name("unplugged").rename(root)
    assert await archive.get("site/a") == b"1"


async def test_another_disk_in_the_place_of_the_archive_s_is_left_alone_until_it_is_said_to_be_the_right_one(root: Path) -> None:
    known = root.with_name("known")
    await put(Folder(root, known), "site/a", b"1")
    root.rename(root.with_name("right"))
    Folder.prepare(root)
    for archive in (Folder(root, known), Folder(root, known)):  # after a restart, too
        for call in (put(archive, "site/b", b"2"), archive.get("site/a"), archive.head("site/a"), anext(archive.list(""))):
            with pytest.raises(LinkDown, match=f"another disk .* delete {known}"):
                await call
    assert [path.name for path in root.iterdir()] == [MARK]
    known.unlink()
    await put(archive, "site/b", b"2")
    assert known.read_bytes() == (root / MARK).read_bytes()


async def test_a_copy_of_the_archive_s_disk_is_the_archive_s_disk(root: Path) -> None:
    known = root.with_name("known")
    archive = Folder(root, known)
    await put(archive, "site/a", b"1")
    root.rename(root.with_name("failing"))
    shutil.copytree(root.with_name("failing"), root)
    assert await archive.get("site/a") == b"1"


async def test_preparing_again_keeps_what_is_there(root: Path) -> None:
    mark = (root / MARK).read_bytes()
    await put(Folder(root), "site/a", b"1")
    Folder.prepare(root)
    assert (root / MARK).read_bytes() == mark
    assert await Folder(root).get("site/a") == b"1"


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a//b", ".outpost-archive", "a/.b", ""])
async def test_a_name_cannot_leave_the_archive(root: Path, name: str) -> None:
    with pytest.raises(Refused):
        await put(Folder(root), name, b"1")
    with pytest.raises(Refused):
        await Folder(root).get(name)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, QuotaExceeded),
        (errno.EDQUOT, QuotaExceeded),
        (errno.EACCES, CredentialRefused),
        (errno.EROFS, CredentialRefused),
        (errno.EIO, LinkDown),
        (errno.ESTALE, LinkDown),
        (errno.EHOSTDOWN, LinkDown),
    ],
)
async def test_what_the_disk_says_is_classed_by_what_can_be_done(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=os.strerror(number)), folder._mapped(tmp_path):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("way", ["temporary", "lock"])
async def test_without_links_a_name_is_still_never_replaced(root: Path, way: str) -> None:
    path, lock = root / "object", root / MARK
    if way == "temporary":
        assert folder._by_temporary(path, b"first", lock)
        assert not folder._by_temporary(path, b"second", lock)
    else:
        for text, created in ((b"first", True), (b"second", False)):
            (root / ".new").write_bytes(text)
            assert folder._by_lock(root / ".new", path, lock) is created
        (root / ".new").unlink()
    assert path.read_bytes() == b"first"
    assert {each.name for each in root.iterdir()} == {"object", MARK}


async def test_a_full_disk_keeps_what_it_has_and_takes_no_half_object(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("only root can mount a small disk")
        pytest.skip("only root can mount a small disk")
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root], check=True)
    try:
        Folder.prepare(root)
        archive = Folder(root)
        await put(archive, "site/p/a/000000", b"first")
        with pytest.raises(QuotaExceeded, match="disk is full"):
            await put(archive, "site/p/a/000001", bytes(2 << 20))
        assert [found.name async for found in archive.list("site/")] == ["site/p/a/000000"]
        await put(archive, "site/p/a/000001", b"second")
        await archive.close()
    finally:
        subprocess.run(["umount", root], check=True)
