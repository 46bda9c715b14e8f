"""The ledger's file: made once, refused when it is newer or damaged, and never half changed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cloudsync.ledger.database import SCHEMA, Database
from cloudsync.ledger.ledger import Ledger
from edge import journal
from edge.errors import Corrupt
from edge.model import PackId
from edge.schema import NewerDatabase
from tests.cloudsync.edge_side import CodedPack

pytestmark = pytest.mark.asyncio


async def test_it_is_made_on_first_use_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for _ in range(2):
        await (await Ledger.open(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA.version,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA.version + 1}")
    connection.close()
    with pytest.raises(NewerDatabase):
        await Ledger.open(path)


async def test_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is not a database, but it is long enough to be one" * 100)
    with pytest.raises(Corrupt, match=r"ledger\.db"):
        await Ledger.open(path)


async def test_nothing_of_a_transaction_that_raises_or_is_cancelled_stands(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "ledger.db")

    async def queue(then: BaseException | None) -> None:
        async with database.transaction() as transaction:
            await transaction.run("entry_queued", entry=b"{}", pack=None, site=None, queued_at=0.0, urgent=False)
            if then is not None:
                raise then

    with pytest.raises(ZeroDivisionError):
        await queue(ZeroDivisionError())
    for delay in range(20):
        task = asyncio.create_task(queue(asyncio.CancelledError()))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with database.transaction() as transaction:
        assert list(await transaction.all("entries_queued", at_most=9)) == []
    await queue(None)
    async with database.transaction() as transaction:
        assert len(list(await transaction.all("entries_queued", at_most=9))) == 1
    await database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE packs SET state = 'held'",  # without sums
        "UPDATE packs SET state = 'proven', sealed_bytes = 1, proven_at = 1",  # without sums
        "UPDATE packs SET state = 'stopped'",  # without a reason
        "UPDATE packs SET state = 'lost'",
        "UPDATE parts SET confirmed = 1",  # never sealed
        "UPDATE parts SET sealed_digest = printf('%064d', 1)",  # without its size and MD5
        "UPDATE asks SET owed = 99",
        "INSERT INTO asks VALUES (2, 0, 0, 0)",
        "INSERT INTO segments VALUES (1, 'a', printf('%064d', 1), x'00', NULL, 0)",  # on its way, and not kept
        "UPDATE packs SET damage = 'a part is missing'",  # and not held
        "UPDATE packs SET stored_as = pack",  # and replaces nothing
        "INSERT INTO verification SELECT 2, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, '[]'",
        "INSERT INTO recalls (pack, number, state, asked, told) VALUES (printf('%026d', 1), 0, 'here', 1, 0)",  # without a digest
        "INSERT INTO site_states (number, state, bytes, digest, told) VALUES (1, 'proven', 1, printf('%064d', 1), 0)",
    ],
)
async def test_the_schema_refuses_what_cannot_be(tmp_path: Path, statement: str) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    ask = journal.Coded(
        **{name: getattr(CodedPack.generated(1).ask, name) for name in CodedPack.generated(1).ask.__struct_fields__} | {"seq": 1}
    )
    await ledger.asked.commit([ask], {})
    await ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


async def test_asks_are_applied_once_whatever_is_read_again(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    pack = PackId("a" * 26)
    asks: list[journal.Entry] = [journal.Recall(seq=1, pack=pack, parts=[0, 1]), journal.Taken(seq=2, pack=pack)]
    await ledger.asked.commit(asks, {})
    await ledger.asked.commit([asks[0], journal.Ack(seq=3, upto=7)], {})
    assert await ledger.recalls.wanted(9) == ()
    position = await ledger.asked.position()
    assert (position.position, position.owed) == (3, 2)
    await ledger.close()


async def test_a_second_segment_in_flight_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")
    ledger = await Ledger.open(tmp_path / "ledger.db")
    await ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    row = "INSERT INTO segments VALUES (?, ?, printf('%064d', 1), x'00', x'00', 0)"
    connection.execute(row, (1, "a"))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(row, (2, "b"))
    connection.close()
