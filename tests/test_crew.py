"""edge.crew: tasks end with their owner; the fault of one is told, and ends none of the others."""

from __future__ import annotations

import asyncio

import pytest

from edge.crew import Crew

pytestmark = pytest.mark.asyncio


async def test_a_fault_is_told_with_the_name_and_the_others_go_on() -> None:
    told: list[tuple[str, str]] = []
    done: list[int] = []

    async def fail() -> None:
        raise ValueError("so")

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async with Crew(2, lambda name, fault: told.append((name, str(fault)))) as crew:
        for one in (fail(), work(), work()):
            await crew.room()
            crew.start(one, "the work")
        for _ in range(2):  # there is room for as many as may run when all have ended
            await crew.room()
    assert (told, done) == ([("the work", "so")], [1, 1])


async def test_what_still_runs_at_the_end_is_cancelled_and_waited_for() -> None:
    ended: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleared up")

    async with Crew(1, lambda name, fault: ended.append(name)) as crew:
        await crew.room()
        crew.start(wait_for_ever(), "for ever")
        await asyncio.sleep(0)
    assert ended == ["cleared up"]


async def test_who_lines_up_begins_when_there_is_room() -> None:
    go, running = asyncio.Event(), []

    async def work() -> None:
        running.append(1)
        await go.wait()

    async with Crew(2, lambda name, fault: None) as crew:
        for _ in range(5):
            crew.line_up(work, "the work")
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(running) == 2
        go.set()
        while len(running) < 5:
            await asyncio.sleep(0)
