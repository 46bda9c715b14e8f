"""Tasks that are done beside each other for those who asked: they end with their owner, and the fault of one ends none of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Crew:
    """The tasks of one owner, in one event loop. Use it as an asynchronous context: at its end all are cancelled, and waited for."""

    def __init__(self, most: int, failed: Callable[[str, BaseException], None]) -> None:
        """`failed` is told the name of a task and the fault that ended it."""
        self._failed = failed
        self._seats = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def room(self) -> None:
        """Wait until a task more may run; the next `start` takes its place."""
        await self._seats.acquire()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin, in the place that `room` found."""
        self._keep(work, name).add_done_callback(lambda _: self._seats.release())

    def line_up(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Begin as soon as there is room."""
        self._keep(self._in_turn(work), name)

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._seats:
            await work()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._failed(task.get_name(), fault)
