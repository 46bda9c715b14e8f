"""SIGKILL at the N-th write, flush, rename or unlink of a hub's cloudsync while it follows a clinic: all that it ships comes there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from cloudsync.setup import setup
from edge.journal import Follows, Held, RecallFailed, Retired
from tests.cloudsync.edge_side import CodedPack, settings
from tests.cloudsync.test_follow import Two
from tests.cloudsync.test_kill import comes_back, kill, start
from tests.rig.injection import killing, strace

SYSCALLS = ("pwrite64", "write", "fdatasync", "fsync", "rename", "unlink")
CALLS, CALLS_FULL = (3,), tuple(range(1, 22))


def test_killed_at_any_call_a_hub_hears_of_all_that_the_clinic_ships_and_recalls_it(
    tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    strace()
    begin = time.monotonic()
    for name in ("clinic", "hub"):
        setup(tmp_path / "made" / name, settings(tmp_path / "made" / "archive"), tmp_path / "made" / f"{name}-kit")
    two = Two(tmp_path / "made", tmp_path / "two")
    kills, packs = asyncio.run(followed(two, CALLS_FULL if full else CALLS))
    two.at_clinic.close()
    two.at_hub.close()
    assert {fact.origin for fact in two.at_hub.heard(Held)} == {two.site}
    assert not two.at_hub.heard(RecallFailed) and not two.at_hub.heard(Retired)
    assert not any(fact.fault for fact in two.at_hub.heard(Follows))
    with capsys.disabled():
        print(f"\nfollowing: {kills.total()} kills {dict(kills)}; {len(packs)} packs, all of them came; {time.monotonic() - begin:.0f} s")
    assert kills.total()


async def followed(two: Two, calls: tuple[int, ...]) -> tuple[Counter[str], list[CodedPack]]:
    """A pack for each point, during the following of which the hub is killed there; then all of them come. Kills, and packs."""
    kills, packs = Counter[str](), [CodedPack.generated(1_000)]
    await two.ship(packs[0])
    for syscall in SYSCALLS:
        for when in calls:
            packs.append(CodedPack.generated(len(packs), parts=2))
            await two.ship(packs[-1])
            process = await start(two.hub, *killing(syscall, when))
            ended = asyncio.create_task(process.wait())
            await two.at_hub.until(lambda: ended.done() or two.at_hub.heard(Held, pack=packs[-1].pack) != [], "its end", 60)  # noqa: B023
            kills[syscall] += ended.done()
            await kill(process)
            await ended
    process = await start(two.hub)
    await comes_back(two.at_hub, packs)
    process.terminate()
    assert await process.wait() == 0
    return kills, packs
