"""An archive that does not give up: a deadline for each call, and waiting between attempts until the fault is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from cloudsync.archive.port import Archive, CredentialRefused, LinkDown, QuotaExceeded, Stat, Throttled, same
from cloudsync.link.backoff import Backoff
from cloudsync.link.unreached import LASTS
from edge.errors import OutpostError, Transient

T = TypeVar("T")

LARGEST_BYTES = 65 << 20
"""The size that a deadline assumes where it is not known: a sealed head."""


class Watcher(Protocol):
    """Who is told how calls end. Called in the loop; must not block."""

    def answered(self) -> None:
        """The archive answered as it should."""
        ...

    def failed(self, fault: OutpostError) -> None:
        """An attempt failed, and is tried again later."""
        ...


class Wake:
    """Rings all who wait at once: the link is back, so nobody sits out the rest of a long pause."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or as soon as somebody rings."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


def _slowest(size: int) -> float:
    """A minute, and what a living link moves at least: 1 KiB/s."""
    return 60.0 + size / 1024


class Insisting:
    """Tries again for as long as the fault is one of `patient`, for ever; other errors rise at once.

    `deadline` gives the seconds that a call may take for a number of bytes; a call that takes longer counts as LinkDown.
    """

    def __init__(
        self,
        watcher: Watcher,
        wake: Wake,
        *,
        backoff: Backoff | None = None,
        deadline: Callable[[int], float] = _slowest,
        patient: tuple[type[OutpostError], ...] = (Transient,),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._watcher = watcher
        self._wake = wake
        self._backoff = backoff or Backoff()
        self._deadline = deadline
        self._patient = patient
        self._jitter = jitter

    async def on(self, call: Callable[[], Awaitable[T]], size: int) -> T:
        """What the call, which moves so many bytes, gives in the end."""
        attempt = 0
        while True:
            try:
                answer = await self._once(call, self._deadline(size))
            except self._patient as fault:
                attempt += 1
                self._watcher.failed(fault)
                await self._wake.wait(pause_seconds(self._backoff, fault, attempt, self._jitter()))
            else:
                self._watcher.answered()
                return answer

    async def _once(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call()
        except TimeoutError as fault:
            raise LinkDown(f"the archive did not answer within {seconds:.0f} s: {LASTS}") from fault


class Retrying:
    """An archive whose every call is insisted on; the arguments are those of Insisting."""

    def __init__(
        self,
        inner: Archive,
        watcher: Watcher,
        wake: Wake,
        *,
        backoff: Backoff | None = None,
        deadline: Callable[[int], float] = _slowest,
        patient: tuple[type[OutpostError], ...] = (Transient,),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._insisting = Insisting(watcher, wake, backoff=backoff, deadline=deadline, patient=patient, jitter=jitter)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        """As the port says. Before an object is sent again, the archive is asked whether it arrived, and only the answer was lost.

        So, too, a link that is still down, or a credential that is still refused, costs a question each time and not the whole object.
        """
        sent = False

        async def once() -> None:
            nonlocal sent
            if sent:
                found = await self._inner.head(name)
                if found is not None and same(found, data, md5):
                    return
            sent = True
            await self._inner.put(name, data, md5)

        await self._insisting.on(once, len(data))

    async def get(self, name: str) -> bytes:
        return await self._insisting.on(lambda: self._inner.get(name), LARGEST_BYTES)

    async def head(self, name: str) -> Stat | None:
        return await self._insisting.on(lambda: self._inner.head(name), 0)

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        """As the port says. What was found is handed on only once the listing is whole."""
        for found in await self._insisting.on(lambda: self._gather(prefix), LARGEST_BYTES):
            yield found

    async def close(self) -> None:
        await self._inner.close()

    async def _gather(self, prefix: str) -> tuple[Stat, ...]:
        return tuple([found async for found in self._inner.list(prefix)])


def pause_seconds(backoff: Backoff, fault: OutpostError, attempt: int, jitter: float) -> float:
    """Seconds to wait after `fault`, the `attempt`-th failure in a row. `jitter` is uniform in [0, 1).

    Throttled: what the archive asked for, an hour at most. Credential and quota: about the cap, because only a person mends them.
    """
    if isinstance(fault, Throttled) and fault.retry_after_seconds is not None:
        return min(fault.retry_after_seconds, 3600.0) + jitter
    if isinstance(fault, CredentialRefused | QuotaExceeded):
        return backoff.max_seconds * (1 + jitter) / 2
    return backoff.wait_seconds(attempt, jitter)
