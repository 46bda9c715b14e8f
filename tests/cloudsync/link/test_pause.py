"""A person pauses shipping: nothing begins until it is over, and a restart does not end it."""

from __future__ import annotations

import time

import pytest

from edge.journal import Allowance, Held, Here, Pause, Recall, Resume
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide

pytestmark = pytest.mark.asyncio


async def test_while_it_is_paused_nothing_is_shipped_and_what_somebody_asks_for_comes(edge: EdgeSide, running: Running) -> None:
    before, after = CodedPack.generated(1), CodedPack.generated(2, urgency="stat")
    async with running():
        edge.code(before)
        await edge.hears(Held, pack=before.pack)
        edge.ask(Pause(until=None))
        (said,) = await edge.hears(Allowance, hold="paused")
        assert (said.asked, said.paused_until) == (edge.asked, None)
    async with running():
        edge.code(after)
        edge.ask(Recall(pack=before.pack, parts=[1]))
        await edge.hears(Here, pack=before.pack)
        assert not [fact for fact in edge.facts if getattr(fact, "pack", "") == after.pack]
        edge.ask(Resume())
        await edge.hears(Held, pack=after.pack)
    assert edge.heard(Allowance)[-1].hold == ""


async def test_a_pause_ends_at_its_time_by_itself(edge: EdgeSide, running: Running) -> None:
    pack, until = CodedPack.generated(1), time.time() + 1.0
    async with running():
        edge.ask(Pause(until=until))
        edge.code(pack)
        (held,) = await edge.hears(Held, pack=pack.pack)
    assert held.held_at >= until
    assert {said.paused_until for said in edge.heard(Allowance, hold="paused")} <= {until}, "none is said where the start took longer"


async def test_a_pause_until_a_time_that_has_passed_is_none(edge: EdgeSide, running: Running) -> None:
    pack = CodedPack.generated(1)
    async with running():
        edge.ask(Pause(until=time.time() - 5))
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
    assert not edge.heard(Allowance, hold="paused")
