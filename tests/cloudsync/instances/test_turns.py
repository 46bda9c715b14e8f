"""Turns: so many at once, the most urgent first, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from cloudsync.instances.turns import Turns

pytestmark = pytest.mark.asyncio


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Sender:
    """Takes turns and keeps each until it is told to go on."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.under_way: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def send(self, name: str, urgency: int) -> None:
        self._ends[name] = asyncio.Event()
        async with self._turns.one(urgency):
            self.under_way.append(name)
            await self._ends[name].wait()
            self.under_way.remove(name)

    def end(self, name: str) -> None:
        self._ends[name].set()


async def test_so_many_at_once_and_an_urgent_one_next() -> None:
    sender = Sender(Turns(lambda: 2))
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(sender.send(name, 1))
        await settled()
        group.create_task(sender.send("stat", 0))
        await settled()
        assert sender.under_way == ["a", "b"]
        sender.end("a")
        await settled()
        assert sender.under_way == ["b", "stat"]
        for name in ("stat", "b", "c"):
            sender.end(name)


async def test_fewer_are_given_while_somebody_else_needs_the_link_and_more_again_after() -> None:
    at_once = 1
    turns = Turns(lambda: at_once)
    sender = Sender(turns)
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(sender.send(name, 1))
        await settled()
        assert sender.under_way == ["a"]
        at_once = 3
        turns.changed()
        await settled()
        assert sender.under_way == ["a", "b", "c"]
        for name in ("a", "b", "c"):
            sender.end(name)


async def test_none_but_stat_gets_a_turn_where_only_the_reserve_is_left() -> None:
    reserve = True
    turns = Turns(lambda: 2, lambda: reserve)
    sender = Sender(turns)
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send("routine", 1))
        group.create_task(sender.send("stat", 0))
        await settled()
        assert sender.under_way == ["stat"]
        reserve = False
        turns.changed()
        await settled()
        assert sender.under_way == ["stat", "routine"]
        for name in ("stat", "routine"):
            sender.end(name)


async def test_who_gives_up_waiting_takes_no_turn_with_it() -> None:
    sender = Sender(Turns(lambda: 1))
    async with asyncio.TaskGroup() as group:
        group.create_task(sender.send("a", 1))
        await settled()
        given_up = group.create_task(sender.send("b", 1))
        group.create_task(sender.send("c", 1))
        await settled()
        sender.end("a")  # b's turn is given in the same instant as it gives up
        await asyncio.sleep(0)
        given_up.cancel()
        await settled()
        await settled()
        assert sender.under_way == ["c"]
        sender.end("c")
