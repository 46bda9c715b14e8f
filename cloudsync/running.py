"""What every service of cloudsync does besides its work: it waits for room on the disk, listens for the bell, and says farewell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

from cloudsync.archive.port import ClockWrong, CredentialRefused, Damaged, ObjectRefused, QuotaExceeded
from cloudsync.archive.retrying import Wake
from cloudsync.teller import Teller
from cloudsync.watch import DISK_SECONDS, Watch, disk_full
from edge.doorbell import Doorbell
from edge.errors import OutpostError, StoreFull, Transient

log = logging.getLogger(__name__)

PATIENT = (Transient, CredentialRefused, QuotaExceeded, ClockWrong)
"""Faults that end by themselves, or that a person ends without touching Outpost: they are waited for."""
_FAREWELL_SECONDS = 5.0


async def until_room(begin: Callable[[], Awaitable[None]], watch: Watch, wake: Wake) -> None:
    """Do it, and begin it once more whenever the disk was full: what is to be done is a query of the ledger, so nothing is lost by that."""
    while True:
        try:
            return await begin()
        except (OutpostError, OSError, BaseExceptionGroup) as fault:
            full = disk_full(fault)
            if full is None:
                raise
            log.warning("%s", full)
            watch.failed(full)
            await wake.wait(DISK_SECONDS)


async def repeat(watch: Watch) -> NoReturn:
    """Say again how the link is, for ever."""
    while True:
        due_in = watch.again()
        await asyncio.sleep(due_in)


async def probe(ask: Callable[[], Awaitable[object]], watch: Watch, offline_after_seconds: float) -> NoReturn:
    """Ask the archive something small when it has been quiet, so that availability is known before somebody needs it."""
    interval = max(offline_after_seconds / 3, 1.0)
    while True:
        if not watch.up or watch.quiet_seconds >= interval:
            try:
                await ask()
            except (Damaged, ObjectRefused):  # which is an answer, too
                watch.answered()
        await asyncio.sleep(max(interval - watch.quiet_seconds, 1.0))


@contextlib.contextmanager
def listening(path: Path) -> Iterator[asyncio.Event]:
    """An event that the doorbell at `path` sets."""
    loop, event, doorbell = asyncio.get_running_loop(), asyncio.Event(), Doorbell(path)

    def rang() -> None:
        doorbell.drain()
        event.set()

    loop.add_reader(doorbell.fileno(), rang)
    try:
        yield event
    finally:
        loop.remove_reader(doorbell.fileno())
        doorbell.close()


async def farewell(teller: Teller) -> None:
    """Tell what is still untold; what cannot be told in time is told after the next start."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await unless_full(teller.flush)


async def unless_full(last: Callable[[], Awaitable[None]]) -> None:
    """What is done when everything else has ended; a full disk does not keep it from ending."""
    with contextlib.suppress(StoreFull):
        await last()
