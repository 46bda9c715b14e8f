"""The month's budget: as a function of values, and kept by the service."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from cloudsync.ledger.ledger import Ledger
from cloudsync.link.budget import Budget, Hold, hold
from cloudsync.permit import Permit
from cloudsync.setup import setup
from edge.config import Layout, Link
from edge.journal import Allowance, Held, Progress, Recall, RecallFailed
from tests import azurite
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings
from tests.store.rows import Clock


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "first_day", "began", "ends"),
    [
        ("2027-01-31 23:59:59", 1, "2027-01-01", "2027-02-01"),
        ("2027-02-01 00:00:00", 1, "2027-02-01", "2027-03-01"),
        ("2027-02-14 12:00:00", 15, "2027-01-15", "2027-02-15"),
        ("2027-01-03 12:00:00", 28, "2026-12-28", "2027-01-28"),
        ("2026-12-30 12:00:00", 28, "2026-12-28", "2027-01-28"),
    ],
)
def test_the_month_begins_where_the_provider_s_does(now: str, first_day: int, began: str, ends: str) -> None:
    budget = Budget(1, first_day)
    assert budget.began(local(now)) == local(began)
    assert budget.ends(local(began)) == local(ends)


def test_what_is_left_of_the_budget_is_for_stat_and_once_it_is_used_nothing_goes() -> None:
    budget = Budget(1000, 1, 10)
    assert [budget.hold(used) for used in (0, 899, 900, 999, 1000, 5000)] == [
        Hold.NONE,
        Hold.NONE,
        Hold.RESERVE,
        Hold.RESERVE,
        Hold.SPENT,
        Hold.SPENT,
    ]
    assert Budget().hold(10**15) is Hold.NONE
    assert Budget(1000, 1, 0).hold(999) is Hold.NONE


def test_a_pause_keeps_back_stat_too_and_a_used_budget_recalls_too() -> None:
    assert hold(True, Hold.NONE) is hold(True, Hold.RESERVE) is Hold.PAUSED
    assert hold(True, Hold.SPENT) is hold(False, Hold.SPENT) is Hold.SPENT
    assert hold(False, Hold.RESERVE) is Hold.RESERVE


@pytest.mark.asyncio
async def test_a_new_month_begins_by_the_clock_and_what_went_is_counted_with_it(tmp_path: Path) -> None:
    clock = Clock(local("2027-01-31 23:00").timestamp())
    ledger = await Ledger.open(tmp_path / "ledger.db")
    permit = Permit(Link(monthly_budget_bytes=1000, budget_stat_percent=10), clock)
    await permit.begin(ledger.allowances)
    await permit.pacing.up.take(600)
    await permit.pacing.down.take(600)
    assert permit.hold is Hold.SPENT
    assert "the next one begins on 2027-02-01" in permit.refusal
    await permit.record(ledger.allowances)
    again = Permit(Link(monthly_budget_bytes=1000), clock)
    await again.begin(ledger.allowances)
    assert (await ledger.allowances.now()).used_bytes >= 1200
    assert again.hold is Hold.SPENT
    clock.time = local("2027-02-01 00:00").timestamp()
    assert (again.hold, again.refusal) == (Hold.NONE, "")
    await again.pacing.up.take(100)
    await again.record(ledger.allowances)
    recorded = await ledger.allowances.now()
    assert (recorded.month, 100 <= recorded.used_bytes < 110) == ("2027-02-01", True)
    await ledger.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["folder", "azure_blob"])
async def test_a_budget_stops_what_can_wait_stat_still_goes_and_a_used_up_one_stops_all(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    layout = Layout(tmp_path / "state")
    text = settings(tmp_path / "archive", monthly_budget_bytes=300_000, budget_stat_percent=50)
    if kind == "azure_blob":
        emulator: azurite.Azurite = request.getfixturevalue("emulator")
        emulator.make_container("budget")
        credential = emulator.credential(tmp_path, emulator.sas_address("budget", "crl"))
        text = text.replace('kind = "folder"', f'kind = "azure_blob"\ncontainer = "budget"\ncredential_file = "{credential}"')
    await asyncio.to_thread(setup, layout.state, text, tmp_path / "kit")
    edge = EdgeSide(layout)
    first = CodedPack.generated(1, parts=8, part_bytes=40_000)
    waits = CodedPack.generated(2)
    async with serving(layout):
        edge.code(first)
        await edge.hears(Allowance, hold="reserve")
        edge.code(waits)
        stat = CodedPack.generated(3, parts=1, part_bytes=1_000, urgency="stat")
        edge.code(stat)
        await edge.hears(Held, pack=stat.pack)
        assert not edge.heard(Held, pack=waits.pack)
        assert not edge.heard(Progress, pack=waits.pack)
        large = CodedPack.generated(4, parts=20, part_bytes=40_000, urgency="stat")
        edge.code(large)
        await edge.hears(Allowance, hold="spent")
        edge.ask(Recall(pack=stat.pack, parts=[1]))
        (refused,) = await edge.hears(RecallFailed, pack=stat.pack)
        assert (refused.final, refused.parts) == (False, [1])
        assert "budget of this month is used up" in refused.reason
    used = edge.heard(Allowance)[-1].used_bytes
    assert 300_000 <= used < 300_000 + 5 * 45_000, "what was under way is ended"
    ledger = await Ledger.open(layout.ledger)
    recorded = await ledger.allowances.now()
    await ledger.close()
    assert recorded.used_bytes >= used
    config = layout.config.read_text().replace("monthly_budget_bytes = 300000", "monthly_budget_bytes = 5000000")
    layout.config.write_text(config)
    async with serving(layout):
        for pack in (first, waits, large):
            await edge.hears(Held, pack=pack.pack)
        assert edge.heard(Allowance)[-1].used_bytes > recorded.used_bytes - 1, "a restart forgets nothing of what went"
    edge.close()
