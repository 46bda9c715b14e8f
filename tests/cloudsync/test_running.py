"""What every service of cloudsync does besides its work."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cloudsync.archive.port import Damaged, ObjectRefused
from cloudsync.archive.retrying import Wake
from cloudsync.running import probe
from cloudsync.watch import Watch
from edge.clock import SystemClock
from edge.errors import OutpostError

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("fault", [ObjectRefused("it lies in an archive tier"), Damaged("it is cut short")])
async def test_an_archive_that_answers_a_probe_with_a_refusal_is_there(fault: OutpostError) -> None:
    states: list[str] = []
    watch = Watch(SystemClock(), Wake(), lambda: 0.0, lambda link: states.append(link.state), 0)
    asked = asyncio.Event()

    async def refuse() -> None:
        asked.set()
        raise fault

    task = asyncio.create_task(probe(refuse, watch, 3600.0))
    await asked.wait()
    assert watch.up and states == ["up"]
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
