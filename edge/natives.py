"""Instances in a form that every destination takes: their pixels are decoded in worker processes, beside everything else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from edge.code.jobs import NativeJob
from edge.code.worker import Coder
from edge.dimse.classes import EXPLICIT_LE
from edge.dimse.ports import Ready
from edge.durable import read_errors
from edge.errors import Transient
from edge.store.room import Room

WORKERS = 2
"""One instance that takes long, or kills its worker, keeps nobody from the other."""
_MEMORY_BYTES = 640 << 20
"""Address space: the largest frame that is decoded takes 330 MiB of it, and 230 MiB of memory."""
_CPU_SECONDS = 300
_JOB_SECONDS = 600.0


class Dropped(Transient):
    """Outpost is ended, or whoever wanted this instance does not any more."""


class Natives:
    """Worker processes that are there while they are needed. `begin` may be called by any thread, the rest by that of the loop."""

    def __init__(self, place: Path, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        """What is made lies in files without a name on the disk of `place`, as far as the reserve leaves room."""
        self._place = place
        self._room = room
        self._loop = loop
        self._coders = [Coder(_MEMORY_BYTES, _CPU_SECONDS, _JOB_SECONDS) for _ in range(WORKERS)]
        self._idle: asyncio.LifoQueue[Coder] = asyncio.LifoQueue()
        self._tasks: set[asyncio.Task[int]] = set()
        self._ended = False
        for coder in self._coders:
            self._idle.put_nowait(coder)

    def begin(self, ready: Ready) -> Underway:
        """Raises StoreFull, and Exhausted; Dropped while Outpost ends."""
        self._room.demand(ready.length)
        with contextlib.ExitStack() as held, read_errors():
            source = os.dup(ready.descriptor)
            held.callback(os.close, source)
            target = _unnamed(self._place)
            held.callback(os.close, target)
            underway = Underway(ready, self._loop)
            try:
                self._loop.call_soon_threadsafe(self._start, underway, source, target)
            except RuntimeError as fault:
                raise Dropped from fault
            held.pop_all()
        return underway

    async def close(self) -> None:
        """End what is under way, and the workers. Idempotent."""
        self._ended = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for coder in self._coders:
            await coder.close()

    def _start(self, underway: Underway, source: int, target: int) -> None:
        task = self._loop.create_task(self._make(underway.ready, source, target))
        self._tasks.add(task)
        underway.task = task
        if self._ended:
            task.cancel()

        def over(task: asyncio.Task[int]) -> None:
            self._tasks.discard(task)
            os.close(source)
            if not task.cancelled() and (fault := task.exception()) is None:
                underway.made.set_result((target, task.result()))
                return
            os.close(target)
            underway.made.set_exception(Dropped() if task.cancelled() or fault is None else fault)

        task.add_done_callback(over)

    async def _make(self, ready: Ready, source: int, target: int) -> int:
        coder = await self._idle.get()
        try:
            job = NativeJob(
                pack=ready.located.pack,
                dataset_offset=ready.offset,
                dataset_length=ready.length,
                transfer_syntax=ready.located.transfer_syntax,
                at_most_bytes=self._room.left() // WORKERS,
            )
            with read_errors():
                return await coder.native(job, (source, target))
        finally:
            self._idle.put_nowait(coder)


class Underway:
    """An instance that is being made native. Used by one thread; ended by exactly one of `take` and `drop`."""

    def __init__(self, ready: Ready, loop: asyncio.AbstractEventLoop) -> None:
        self.ready = ready
        self.made: Future[tuple[int, int]] = Future()
        """A descriptor, and the length of the dataset in it."""
        self.task: asyncio.Task[int] | None = None
        """Of the loop's thread."""
        self._loop = loop

    def wait(self, seconds: float) -> bool:
        """Whether it is over, one way or the other; waits for that up to `seconds`."""
        return bool(wait({self.made}, seconds).done)

    def take(self) -> Ready:
        """The same instance in Explicit VR Little Endian, when it is over; its descriptor is the caller's to close.

        Raises what kept it from being made.
        """
        descriptor, length = self.made.result()
        return Ready(replace(self.ready.located, transfer_syntax=EXPLICIT_LE), descriptor, 0, length)

    def drop(self) -> None:
        """It is not wanted any more: what is under way ends, what was made goes."""
        self.made.add_done_callback(_close)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everything with it
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


def _close(made: Future[tuple[int, int]]) -> None:
    if made.exception() is None:
        os.close(made.result()[0])


def _unnamed(place: Path) -> int:
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        return os.dup(file.fileno())
