"""SIGKILL at the N-th write, flush, rename or unlink of cloudsync: everything is in the archive once, and comes back to a new box."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cloudsync.setup import setup
from cloudsync.span import FAN
from edge.config import Layout
from edge.journal import Held, Verification, Verify
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.cloudsync.growing import grow
from tests.cloudsync.test_kill import comes_back, each_once, kill, start
from tests.rig.injection import killing, strace
from tests.servers import ROOT

SYSCALLS = ("pwrite64", "write", "fdatasync", "fsync", "rename", "linkat", "unlink")
SHIPPING, SHIPPING_FULL = (2, 9), tuple(range(1, 22))
REFUSED = 77
RESTORING, RESTORING_FULL = (2,), tuple(range(1, 13))


def test_killed_at_any_call_it_ships_everything_once_and_restores_all(
    tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    strace()
    begin = time.monotonic()
    layout, archive = Layout(tmp_path / "state"), tmp_path / "archive"
    site = setup(layout.state, settings(archive), tmp_path / "kit")
    shipping, packs = asyncio.run(ship(layout, archive, SHIPPING_FULL if full else SHIPPING))
    assert each_once(archive, site, packs)
    restoring = Counter[str]()
    (tmp_path / "words").write_text(site.passphrase)
    (tmp_path / "settings.toml").write_text(settings(archive))
    for syscall in SYSCALLS:
        for when in RESTORING_FULL if full else RESTORING:
            other = Layout(tmp_path / f"other-{syscall}-{when}")
            killed = restoring[syscall]
            restoring[syscall] += restore(tmp_path, other, *killing(syscall, when)) != 0
            if restoring[syscall] > killed:
                # The settings appear last: one that was killed while it told of its end is done, and is refused a second time.
                done = other.config.exists()
                assert restore(tmp_path, other) == (REFUSED if done else 0), (syscall, when)
            assert told(other) == {pack.pack for pack in packs}, (syscall, when)
    with capsys.disabled():
        print(f"\nshipping: {shipping.total()} kills {dict(shipping)}; restoring: {restoring.total()} kills {dict(restoring)}")
        print(f"{len(packs)} packs, each once in the archive, 0 lost; {time.monotonic() - begin:.0f} s")
    assert shipping.total() and restoring.total()


async def ship(layout: Layout, archive: Path, calls: tuple[int, ...]) -> tuple[Counter[str], list[CodedPack]]:
    """A pack for each point, during which cloudsync is killed there, or while it merges segments; then all of them come back from the
    archive, which is as it should be. Kills, and packs.
    """
    edge = EdgeSide(layout)
    kills, packs = Counter[str](), [CodedPack.generated(1_000)]
    edge.code(packs[0])
    process = await start(layout)
    await edge.hears(Held, pack=packs[0].pack)
    process.terminate()
    await process.wait()
    for syscall in SYSCALLS:
        for when in calls:
            if len(packs) % 4 == 1:
                await grow(layout, archive, FAN)
            packs.append(CodedPack.generated(len(packs), parts=2))
            edge.code(packs[-1])
            edge.site_state(f"state {len(packs)}".encode())
            process = await start(layout, *killing(syscall, when))
            ended = asyncio.create_task(process.wait())
            await edge.until(lambda: ended.done() or edge.heard(Held, pack=packs[-1].pack) != [], "its end", 60)  # noqa: B023
            kills[syscall] += ended.done()
            await kill(process)
            await ended
    process = await start(layout)
    await comes_back(edge, packs)
    edge.ask(Verify(percent=100))
    await edge.until(lambda: any(fact.ended_at for fact in edge.heard(Verification, asked=edge.asked)), "the end of a comparison", 60)
    assert [(fact.damaged, fact.faults) for fact in edge.heard(Verification)][-1] == (0, [])
    await edge.until(lambda: len([*archive.glob("*/c/1/*")]) >= len(packs) // 4, "as many merges as segments make")
    process.terminate()
    assert await process.wait() == 0
    edge.close()
    return kills, packs


def told(other: Layout) -> set[str]:
    """The packs that a restored box says are held."""
    rebuilt = EdgeSide(other)
    rebuilt.listen()
    rebuilt.close()
    return {fact.pack for fact in rebuilt.heard(Held)}


def restore(place: Path, other: Layout, *wrapper: str) -> int:
    """The exit code of `outpost restore` into a state directory."""
    options = ["--config", place / "settings.toml", "--kit", place / "kit", "--passphrase-file", place / "words"]
    command = [*wrapper, sys.executable, ROOT / "outpost.py", "restore", "--whole", "--state", other.state, *options]
    return subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60).returncode
