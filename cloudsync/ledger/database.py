"""The SQLite file of the ledger: one connection, one transaction at a time, queries by name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from sqlite3 import Row

import aiosqlite

from edge.durable import flush_directory
from edge.errors import Corrupt, StoreFull
from edge.schema import backup_of, load

Value = str | int | float | bytes | None

FULL = "the disk of the state directory is full: free space there"
"""What is said of it, with the cure."""
_HERE = Path(__file__).parent
SCHEMA = load(_HERE / "schema.sql", _HERE / "migrations")


def named_queries(text: str) -> Mapping[str, str]:
    """The statements of a queries.sql: each follows a line `-- name: purpose`."""
    return {name: body.strip() for name, body in re.findall(r"^-- (\w+): .*\n((?:(?!-- ).*\n?)+)", text, re.MULTILINE)}


class Transaction:
    """Statements that commit together."""

    def __init__(self, connection: aiosqlite.Connection, queries: Mapping[str, str]) -> None:
        self._connection = connection
        self._queries = queries

    async def run(self, name: str, /, **values: Value) -> int:
        """Run a statement; returns how many rows it changed."""
        async with self._connection.execute(self._queries[name], values) as cursor:
            return cursor.rowcount

    async def many(self, name: str, rows: Iterable[Mapping[str, Value]], /) -> None:
        """Run a statement once for each row of values."""
        await self._connection.executemany(self._queries[name], rows)

    async def one(self, name: str, /, **values: Value) -> Row | None:
        """The first row of an answer, or None."""
        async with self._connection.execute(self._queries[name], values) as cursor:
            return await cursor.fetchone()

    async def all(self, name: str, /, **values: Value) -> Iterable[Row]:
        """All rows of an answer."""
        async with self._connection.execute(self._queries[name], values) as cursor:
            return await cursor.fetchall()


class Database:
    """An open ledger file. `transaction` is the only way in; tasks take turns."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._queries = named_queries((_HERE / "queries.sql").read_text("utf-8"))
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the ledger, made on first use, mode 0600; where an older Outpost made it, it is brought up to date, whole or not at all.

        A copy as it was stays beside it then. Raises NewerDatabase, StoreFull, and Corrupt when it is no ledger or damaged.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = await aiosqlite.connect(path, isolation_level=None)
        try:
            connection.row_factory = Row
            await _prepare(connection, path)
        except aiosqlite.DatabaseError as fault:
            await connection.close()
            if _is_full(fault):
                raise StoreFull(FULL) from fault
            raise Corrupt(f"{path.name}: {fault}. Set the file aside and run `outpost restore` with the recovery kit") from fault
        except BaseException:
            await connection.close()
            raise
        return cls(connection)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits, flushed, when the block ends; nothing of it stands when the block raises or is cancelled. Raises StoreFull."""
        async with self._turn:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield Transaction(self._connection, self._queries)
            except BaseException as fault:
                await asyncio.shield(self._connection.rollback())
                if _is_full(fault):
                    raise StoreFull(FULL) from fault
                raise
            await asyncio.shield(self._commit())

    async def _commit(self) -> None:
        try:
            await self._connection.commit()
        except aiosqlite.DatabaseError as fault:  # a commit that fails leaves the transaction open
            await self._connection.rollback()
            if _is_full(fault):
                raise StoreFull(FULL) from fault
            raise

    async def close(self) -> None:
        async with self._turn:
            await self._connection.close()


def _is_full(fault: BaseException) -> bool:
    """Whether SQLite found no room: for a page, or for what it shares of its log."""
    if not isinstance(fault, aiosqlite.DatabaseError):
        return False
    code = getattr(fault, "sqlite_errorcode", 0)  # an error of the driver itself has none
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


async def _prepare(connection: aiosqlite.Connection, path: Path) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        async with connection.execute(f"PRAGMA {pragma}"):
            pass  # what answers with a row is in progress until it is closed, and no transaction ends meanwhile
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    found = row[0] if row else 0
    script = SCHEMA.script(found, path.name)
    if found and script:
        await _back_up(connection, backup_of(path))
    if script:
        await _bring_up(connection, script, path.name)
    await connection.execute("PRAGMA foreign_keys = ON")


async def _bring_up(connection: aiosqlite.Connection, script: str, name: str) -> None:
    """One transaction. A migration may make a table anew, so foreign keys are looked at when all is done."""
    await connection.execute("PRAGMA foreign_keys = OFF")
    await connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {SCHEMA.version};")
    async with connection.execute("PRAGMA foreign_key_check") as cursor:
        contradicts = await cursor.fetchone()
    if contradicts:
        await connection.rollback()
        raise Corrupt(f"{name} contradicts itself and cannot be brought up to this version of Outpost. Install the one before again.")
    await connection.commit()


async def _back_up(connection: aiosqlite.Connection, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        async with aiosqlite.connect(fresh, isolation_level=None) as copy:
            await connection.backup(copy)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(target)
    flush_directory(target.parent)
