"""A box rebuilt over a weak line, from the generated catalog of a clinic's ten years: how long until last year's studies answer, and all.

The archive is in memory, behind a line of 512 kbit/s with a round trip of 600 ms, on which headers and listings cost what Azure's cost; the
reading, both processes of the box, and its disk are real. A study answers when edge's catalogue has it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cloudsync.archive.port import Archive, Stat
from cloudsync.link.pacing import Way
from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal.kit import Kit
from cloudsync.service import Service
from cloudsync.setup import setup
from edge.clock import SystemClock
from edge.config import Layout, load
from edge.store.site import SiteState
from tests.bench.lifetime import Lifetime, lifetime
from tests.bench.table import Row
from tests.servers import edge_alone

BITS_PER_SECOND, ROUND_TRIP_SECONDS = 512_000, 0.6
STUDIES, YEARS = 75_000, 10
YEAR_SECONDS, ALL_SECONDS = 180.0, 600.0
"""Promised of so many studies."""
_ANSWER_BYTES = 900
"""Of an answer's head, with what TLS adds."""
_NAME_BYTES, _NAMES_A_PAGE = 700, 5000
"""Of one name in Azure's listing."""


@dataclass(slots=True)
class Line:
    """An archive behind a line; what came over it is counted."""

    inner: Archive
    way: Way = field(default_factory=lambda: Way(SystemClock(), lambda: BITS_PER_SECOND / 8))
    requests: int = 0

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        await self._answered(0)
        await self.inner.put(name, data, md5)

    async def get(self, name: str) -> bytes:
        await asyncio.sleep(ROUND_TRIP_SECONDS)
        try:
            data = await self.inner.get(name)
        except Exception:
            await self._comes(_ANSWER_BYTES)
            raise
        await self._comes(_ANSWER_BYTES + len(data))
        return data

    async def head(self, name: str) -> Stat | None:
        await self._answered(0)
        return await self.inner.head(name)

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        found = [each async for each in self.inner.list(prefix)]
        for page in range(0, max(1, len(found)), _NAMES_A_PAGE):
            await self._answered(len(found[page : page + _NAMES_A_PAGE]) * _NAME_BYTES)
        for each in found:
            yield each

    async def close(self) -> None: ...

    async def _answered(self, size: int) -> None:
        await asyncio.sleep(ROUND_TRIP_SECONDS)
        await self._comes(_ANSWER_BYTES + size)

    async def _comes(self, size: int) -> None:
        self.requests += 1
        while size > 0:
            piece = min(size, self.way.piece_bytes)
            await self.way.take(piece)
            size -= piece


@dataclass(frozen=True, slots=True)
class Restored:
    """Seconds since the command began, and what crossed the line."""

    works: float
    """Until modalities can store."""
    year: float
    everything: float
    wire_bytes: float
    requests: int


def rows(studies: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        kit, clinic = _clinic(place, studies)
        found = asyncio.run(_restored(place, kit, clinic))
    promise = float(studies >= STUDIES)
    what = f"{clinic.studies:,} studies, {clinic.instances:,} instances"
    print(f"{what}: {found.wire_bytes / 1e6:.1f} MB over the line, {found.requests} requests", file=sys.stderr)
    for name, seconds, promised in (
        ("modalities can store", found.works, YEAR_SECONDS),
        (f"last year's of {studies:,} studies answer", found.year, YEAR_SECONDS),
        (f"all of {studies:,} studies answer", found.everything, ALL_SECONDS),
    ):
        yield Row(f"restore: {name}", seconds, promised, "what is promised of 75,000", "s", promised / seconds, promise)
    line = found.wire_bytes * 8 / BITS_PER_SECOND
    yield Row("restore: all of them", found.everything, line, "the line alone, for these bytes", "s", line / found.everything, 0)


def _clinic(place: Path, studies: int) -> tuple[Kit, Lifetime]:
    """A clinic that was lost: its kit, and what lies in its archive."""
    made = setup(place / "lost", _settings(place), place / "kit")
    with closing(SiteState(place / "site.db")) as state:
        decided = state.copy()
    clinic = lifetime(seal_keys.load(Layout(place / "lost").keys), studies, decided)
    return recovery_kit.read(place / "kit", made.passphrase), clinic


def _settings(place: Path) -> str:
    return f'[archive]\nkind = "folder"\npath = "{place / "archive"}"\nverify_days = 0\n'


async def _restored(place: Path, kit: Kit, clinic: Lifetime) -> Restored:
    layout, line = Layout(place / "rebuilt"), Line(clinic.vault)
    begin = time.monotonic()
    await rebuild(layout.state, _settings(place), kit, lambda _: None, archive=line, whole=False)
    settings = layout.config.read_text()
    stop, ready = asyncio.Event(), asyncio.Event()
    with edge_alone(layout.state, settings="max_bytes = 900000000000000\n"):
        works = time.monotonic() - begin
        layout.config.write_text(settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(Service(load(layout.config), layout, archive=line).run(stop, ready.set))
            year = await _answer(layout, clinic.studies // YEARS) - begin
            everything = await _answer(layout, clinic.studies) - begin
            stop.set()
    return Restored(works, year, everything, line.way.wire_bytes, line.requests)


async def _answer(layout: Layout, studies: int) -> float:
    """When so many studies answered."""
    while await asyncio.to_thread(_known, layout) < studies:
        await asyncio.sleep(0.2)
    return time.monotonic()


def _known(layout: Layout) -> int:
    with closing(sqlite3.connect(f"file:{layout.catalogue}?mode=ro", uri=True)) as connection:
        (found,) = connection.execute("SELECT COUNT(*) FROM study").fetchone()
    return int(found)
