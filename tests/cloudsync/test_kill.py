"""kill -9 at any moment, then a start: nothing is lost, nothing is sent twice under two names, nothing is overwritten."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Held, Here, Link, Stopped
from tests import azurite
from tests.cloudsync.edge_side import CodedPack, EdgeSide

pytestmark = pytest.mark.asyncio

MOMENTS = 8
SYSCALLS = ("fsync", "fdatasync", "rename", "linkat", "unlink", "pwrite64")
"""Where cloudsync is killed before the N-th call: whatever makes something durable, visible or gone."""


async def start(layout: Layout, *wrapper: str) -> asyncio.subprocess.Process:
    """cloudsync as a process of its own, which ends with this one."""
    # strace follows the real binary better than a launcher that execs it.
    python = os.path.realpath(sys.executable) if wrapper else sys.executable
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if not wrapper:
        environment["OUTPOST_SUPERVISOR"] = str(os.getpid())
    command = (*wrapper, python, "-m", "cloudsync", "--state", str(layout.state))
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


async def kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and the loop has yet to hear of it
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def comes_back(edge: EdgeSide, packs: list[CodedPack]) -> None:
    """Every pack is held, and every object of it comes back as it was."""
    for pack in packs:
        await edge.hears(Held, pack=pack.pack, seconds=60)
        edge.ask(journal.Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
    for pack in packs:
        wanted = set(range(len(pack.objects)))
        await edge.until(lambda: {fact.number for fact in edge.heard(Here, pack=pack.pack)} >= wanted, f"all of {pack.pack}")  # noqa: B023
        assert tuple(edge.inbox(pack.pack, number) for number in sorted(wanted)) == pack.objects
    assert edge.heard(Stopped) == []


def each_once(archive: Path, site: NewSite, packs: list[CodedPack]) -> bool:
    """The archive has each object under one name, and the sums."""
    names = Counter(path.name.partition(".")[0] for path in (archive / site.site_id / "p").rglob("0*"))
    return names == Counter(f"{number:06d}" for pack in packs for number in range(len(pack.objects)))


async def test_killed_at_random_moments_it_ships_everything_once(
    edge: EdgeSide, layout: Layout, site: NewSite, archive_folder: Path
) -> None:
    chance = random.Random(20)
    packs = [CodedPack.generated(seed, parts=12, part_bytes=200_000) for seed in range(MOMENTS)]
    for pack in packs:
        edge.code(pack)
        process = await start(layout)
        await asyncio.sleep(0.35 + chance.random() * 0.25)
        await kill(process)
    process = await start(layout)
    await comes_back(edge, packs)
    assert each_once(archive_folder, site, packs)
    process.terminate()
    assert await process.wait() == 0


@pytest.mark.parametrize("syscall", SYSCALLS)
async def test_killed_at_a_syscall_it_goes_on_where_it_was(
    edge: EdgeSide, layout: Layout, site: NewSite, archive_folder: Path, syscall: str
) -> None:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is needed in CI")
        pytest.skip("strace is not installed")
    packs = []
    killed = 0
    for number in (1, 3, 8, 21):
        packs.append(CodedPack.generated(number, parts=2))
        edge.code(packs[-1])
        edge.site_state(f"state {number}".encode())
        inject = f"inject={syscall}:signal=SIGKILL:when={number}"
        process = await start(layout, "strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", f"trace={syscall}", "-e", inject)
        ended = asyncio.create_task(process.wait())
        await edge.until(lambda: ended.done() or edge.heard(Held, pack=packs[-1].pack) != [], "its end")  # noqa: B023
        killed += ended.done()
        await kill(process)
        await ended
    assert killed
    process = await start(layout)
    await comes_back(edge, packs)
    assert each_once(archive_folder, site, packs)
    process.terminate()
    assert await process.wait() == 0


async def test_killed_while_shipping_to_azurite_it_sends_again_at_most_what_was_in_flight(
    edge: EdgeSide, layout: Layout, site: NewSite, tmp_path: Path, emulator: azurite.Azurite
) -> None:
    emulator.make_container("killed")
    credential = emulator.credential(tmp_path, emulator.sas_address("killed", "crl"))
    text = layout.config.read_text().replace(
        'kind = "folder"', f'kind = "azure_blob"\ncontainer = "killed"\ncredential_file = "{credential}"'
    )
    layout.config.write_text(text)
    packs = [CodedPack.generated(seed, parts=20, part_bytes=100_000) for seed in range(3)]
    for pack in packs:
        edge.code(pack)
        process = await start(layout)
        await edge.hears(Link, state="up")
        await asyncio.sleep(0.2)
        await kill(process)
    process = await start(layout)
    await comes_back(edge, packs)
    process.terminate()
    assert await process.wait() == 0
