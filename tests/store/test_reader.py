"""edge.store.reader: the catalogue beside its writer, never writing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from edge.errors import Corrupt, Refused
from edge.link import LinkState
from edge.model import UID, Level, Query
from edge.store.catalogue import SCHEMA_VERSION, Catalogue
from edge.store.reader import CatalogueReader, NotThere, Target
from tests.store.rows import Clock, admission, close, hear, hold, pack_id, put

STUDY = Target(UID("1.2.3"))


@pytest_asyncio.fixture
async def reader(tmp_path: Path) -> AsyncIterator[CatalogueReader]:
    made = CatalogueReader(tmp_path / "catalogue.db", 900.0, Clock(10_000.0))
    yield made
    await made.close()
    await made.close()


@pytest.mark.asyncio
async def test_there_is_no_catalogue_before_edge_made_it(reader: CatalogueReader, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NotThere):
            await reader.link_up()
    (tmp_path / "catalogue.db").touch()
    with pytest.raises(NotThere):
        await reader.link_up()
    assert (tmp_path / "catalogue.db").read_bytes() == b""


@pytest.mark.asyncio
async def test_it_finds_what_its_writer_finds_while_that_goes_on_writing(reader: CatalogueReader, catalogue: Catalogue) -> None:
    for number in range(3):
        put(catalogue, admission("a", number * 4096, instance=f"1.2.3.1.{number}", number=number))
        for level in Level:
            query = Query(level, {"00100020": "P1"})
            assert [answer async for answer in reader.find(query)] == catalogue.find(query, link_up=True)
    stored = await reader.instances(STUDY)
    assert [one.located for one in stored] == catalogue.locate(Query(Level.STUDY, {"0020000D": "1.2.3"}))
    assert [one.content_offset for one in stored] == [512, 4608, 8704]
    assert {one.content_length - one.located.dataset_length for one in stored} == {512}


@pytest.mark.asyncio
async def test_targets_are_a_study_a_series_or_an_instance(reader: CatalogueReader, catalogue: Catalogue) -> None:
    put(catalogue, admission("a", 0), admission("a", 4096, series="1.2.3.2", instance="1.2.3.2.1"))
    for target, count in (
        (STUDY, 2),
        (Target(UID("1.2.3"), UID("1.2.3.2")), 1),
        (Target(UID("1.2.3"), UID("1.2.3.2"), UID("1.2.3.2.1")), 1),
        (Target(UID("1.2.3"), UID("1.2.3.1"), UID("1.2.3.2.1")), 0),
        (Target(UID("9.9")), 0),
    ):
        assert len(await reader.instances(target)) == count


@pytest.mark.asyncio
async def test_the_link_counts_as_up_until_it_was_down_for_long(reader: CatalogueReader, catalogue: Catalogue) -> None:
    assert await reader.link_up()
    for state, since, up in (
        ("up", 1.0, True),
        ("down", 9_101.0, True),
        ("down", 9_100.0, False),
        ("credential", 1.0, False),
        ("conflict", 1.0, True),
    ):
        with catalogue.facts(1):
            catalogue.set_link(LinkState(state, since, 0.0, "", 0.0, 0, 0.0))
        assert await reader.link_up() == up, (state, since)


@pytest.mark.asyncio
async def test_what_only_the_archive_has_is_headless_or_not_here(reader: CatalogueReader, catalogue: Catalogue) -> None:
    hear(catalogue, "h", {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}, [], 4)
    assert await reader.headless(UID("1.2.3")) == 1
    put(catalogue, admission())
    close(catalogue, "a")
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    assert [one.located.present for one in await reader.instances(STUDY)] == [False]


@pytest.mark.asyncio
async def test_a_catalogue_that_was_made_anew_is_opened_anew(reader: CatalogueReader, tmp_path: Path) -> None:
    first = Catalogue(tmp_path / "catalogue.db")
    put(first, admission())
    assert len(await reader.instances(STUDY)) == 1
    first.close()
    for path in tmp_path.glob("catalogue.db*"):
        path.unlink()
    with pytest.raises(NotThere):
        await reader.instances(STUDY)
    Catalogue(tmp_path / "catalogue.db").close()
    assert await reader.instances(STUDY) == []


@pytest.mark.asyncio
async def test_another_schema_is_refused_and_damage_is_corrupt(reader: CatalogueReader, tmp_path: Path) -> None:
    Catalogue(tmp_path / "catalogue.db").close()
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as beside:
        beside.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(Refused, match=f"schema {SCHEMA_VERSION + 1}"):
        await reader.link_up()
    (tmp_path / "catalogue.db").write_bytes(b"no database" * 400)
    with pytest.raises(Corrupt, match="damaged"):
        await reader.link_up()
