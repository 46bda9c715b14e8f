"""The catalogue as edge-web reads it: never writing, beside its one writer in another process (SQLite, WAL, mode=ro)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import aiosqlite

from edge import tarblock
from edge.clock import Clock
from edge.errors import Corrupt, Refused, Transient
from edge.link import LinkState, reachable
from edge.model import UID, Json, Located, Query
from edge.store.catalogue import SCHEMA_VERSION
from edge.store.leads import Statement
from edge.store.located import located
from edge.store.search import answer, search
from edge.store.sql import statements

_ROWS = 256


class NotThere(Transient):
    """The catalogue is not there yet. Start Outpost on this state directory; edge makes it within a second."""


@dataclass(frozen=True, slots=True)
class Target:
    """A study, one series of it, or one instance of that."""

    study: UID
    series: UID | None = None
    instance: UID | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A visible instance, and where its Part 10 file begins in the pack file; the dataset ends that file."""

    located: Located
    content_offset: int

    @property
    def content_length(self) -> int:
        """Bytes of file meta and dataset."""
        return self.located.dataset_offset + self.located.dataset_length - self.content_offset


class CatalogueReader:
    """Reads `catalogue.db`. Used in one event loop; opens the database when it is first needed, and again when edge has made it anew.

    Every method raises NotThere while there is no catalogue, Refused for a schema that this release does not know, and Corrupt for a
    damaged file.
    """

    def __init__(self, path: Path, offline_after_seconds: float, clock: Clock) -> None:
        self._path = path
        self._offline_after = offline_after_seconds
        self._clock = clock
        self._began = clock.now()
        self._sql = statements("reader_queries.sql")
        self._connection: aiosqlite.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Idempotent."""
        connection, self._connection, self._opened = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def find(self, query: Query) -> AsyncGenerator[Json, None]:
        """The answers to a query, newest study first; everything held at its level and above. Close the iterator to end early."""
        link_up = await self.link_up()
        async with self._reading() as connection:
            text, parameters = await _statement(query, connection)
            async with connection.execute(text, parameters) as cursor:
                while rows := list(await cursor.fetchmany(_ROWS)):
                    for row in rows:
                        yield answer(query, tuple(row), link_up)

    async def instances(self, target: Target) -> list[Stored]:
        """The visible instances of a target, in series and instance order."""
        name = "instances" if target.instance is None else "instance"
        keys = {"study": target.study, "series": target.series}
        rows = await self._all(name, keys if target.instance is None else keys | {"instance": target.instance})
        return [_stored(row) for row in rows]

    async def here(self, one: Located) -> Literal["pack", "instance", "no"]:
        """Whether the cache has all of the pack of an instance now, or the instance at least, or not even that."""
        rows = await self._all("here", {"instance": one.sop_instance, "pack": one.pack, "offset": one.dataset_offset})
        return rows[0][0] if rows else "no"

    async def headless(self, study: UID) -> int:
        """How many packs of a study have instances that are not catalogued, because their heads are not here yet."""
        return int((await self._all("headless", {"study": study}))[0][0])

    async def link_up(self) -> bool:
        """Whether the archive counts as reachable: not once the link was down, or cloudsync silent, for `link.offline_after_seconds`."""
        rows = await self._all("link", {})
        return reachable(LinkState(*rows[0]) if rows else None, self._offline_after, self._began, self._clock.now())

    async def _all(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with self._reading() as connection, connection.execute(self._sql[name], dict(parameters)) as cursor:
            return [tuple(row) for row in await cursor.fetchall()]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[aiosqlite.Connection]:
        try:
            yield await self._current()
        except sqlite3.OperationalError as fault:
            await self.close()
            raise NotThere from fault
        except sqlite3.DatabaseError as fault:
            raise Corrupt(f"The catalogue is damaged ({fault}). Move it away; edge makes it again from the packs.") from fault

    async def _current(self) -> aiosqlite.Connection:
        async with self._opening:
            try:
                found = self._path.stat()
            except FileNotFoundError as fault:
                await self.close()
                raise NotThere from fault
            place = (found.st_dev, found.st_ino)
            if self._connection is None or self._opened != place:
                await self.close()
                self._connection = await self._open()
                self._opened = place
            return self._connection

    async def _open(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None)
        try:
            async with connection.execute(self._sql["schema"]) as cursor:
                row = await cursor.fetchone()
            version = int(row[0]) if row else 0
            if version == 0:
                raise NotThere
            if version != SCHEMA_VERSION:
                raise Refused(
                    f"The catalogue has schema {version}, this release reads {SCHEMA_VERSION}. Run edge and edge-web of one release."
                )
        except BaseException:
            await connection.close()
            raise
        return connection


async def _statement(query: Query, connection: aiosqlite.Connection) -> Statement:
    """The SELECT for a query, after what has to be known before it."""
    steps = search(query)
    try:
        text, parameters = next(steps)
        while True:
            text, parameters = steps.send([tuple(row) for row in await connection.execute_fetchall(text, parameters)])
    except StopIteration as end:
        found: Statement = end.value
        return found


def _stored(row: tuple[Any, ...]) -> Stored:
    return Stored(located(row), content_offset=row[12] + tarblock.BLOCK)
