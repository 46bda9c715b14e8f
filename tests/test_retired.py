"""A pack that the archive's catalog says is retired: nothing of it answers, counts or lies here any more, and all else is as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from edge.code.worker import Coder
from edge.dimse.ports import Outcome
from edge.facts import Facts
from edge.journal import Retired
from edge.journalfiles import JournalWriter
from edge.model import Level, PackId, Query
from edge.refusals import Refusals
from edge.store import eviction
from edge.store.sql import statements
from edge.unread import UnreadFacts
from edge.wall import Gate
from tests.dumps import dump
from tests.rebuilding import STUDY, Box, Desk, changed, fill
from tests.test_variants import sample

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    coder = Coder()
    made = Box(tmp_path / "state", coder)
    yield made
    made.catalogue.close()
    made.site.close()
    await coder.close()


def hears(box: Box, *packs: str, desk: eviction.Desk | None = None) -> None:
    """Cloudsync says that packs are retired, and edge applies it."""
    facts, asks = JournalWriter(box.layout.facts), JournalWriter(box.layout.asks)
    upto = int(box.catalogue.figure("facts_upto"))
    following = Facts(
        Gate(box.layout.facts),
        box.catalogue,
        asks,
        box.desk,
        lambda pack: None,
        UnreadFacts(box.layout.unread),
        Refusals(),
        retired=partial(eviction.clear, box.layout, box.catalogue, desk or box.desk),
    )
    assert facts.append(*(Retired(pack=pack) for pack in packs)) > upto
    while following.apply():
        pass
    facts.close()
    asks.close()


def packs_of(box: Box, study: str) -> list[PackId]:
    return [row[0] for row in box.catalogue.rows("packs_of_study", study)]


def consistent(box: Box) -> None:
    """What is counted as rows come and go is what counting all of them finds."""
    with closing(sqlite3.connect(box.layout.catalogue)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        counted = connection.execute("SELECT studies, instances, cached_bytes FROM total").fetchone()
        assert (
            counted
            == connection.execute(
                "SELECT (SELECT count(*) FROM study), (SELECT coalesce(sum(instances), 0) FROM figures WHERE counted = 1),"
                " (SELECT coalesce(sum(bytes), 0) FROM pack WHERE here != 'no' AND closed_at IS NOT NULL)"
            ).fetchone()
        )
        assert connection.execute("SELECT count(*) FROM figures LEFT JOIN study USING (study) WHERE study.study IS NULL").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM patient WHERE patient NOT IN (SELECT patient FROM study)").fetchone() == (0,)


async def test_a_study_goes_with_its_last_pack_and_all_others_stay_as_they_were(box: Box) -> None:
    await fill(box)
    study = box.held[3].study["0020000D"]["Value"][0]
    retired = [*packs_of(box, study), *packs_of(box, "1.2.99")]  # evicted; known without its head
    assert box.held[3].pack in retired
    with box.catalogue.change():
        before = dump(box.layout.catalogue)
    hears(box, *retired)
    hears(box, *retired)  # told again, as after a crash: no news
    for gone in (study, "1.2.99"):
        assert box.catalogue.find(Query(Level.STUDY, {"0020000D": gone}), link_up=True) == []
        assert box.catalogue.locate(Query(Level.STUDY, {"0020000D": gone})) == []
    assert len(box.catalogue.find(Query(Level.STUDY, {}), link_up=True)) == len(before["study"]) - 2
    after = dump(box.layout.catalogue)
    for table in ("instance", "series", "study", "pack", "holding", "patient"):
        gone_rows = [row for row in before[table] if row not in after[table]]
        assert [row for row in after[table] if row not in before[table]] == [], table
        assert gone_rows, table
        if table != "patient":  # whose rows name no study
            named = (study, "1.2.99", *retired)
            assert all(any(name in str(value) for name in named for value in row.values()) for row in gone_rows), table
    for pack in retired:
        assert not box.layout.cached(pack).exists()
        assert not box.layout.head(pack).exists()
    consistent(box)
    assert box.send(sample()) is Outcome.DUPLICATE


async def test_what_lies_in_the_cache_goes_as_well_and_what_is_sent_later_is_a_new_study(box: Box) -> None:
    box.send(sample())
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2)))
    (pack,) = await box.close()
    box.hold(pack)
    assert box.layout.cached(pack).exists()
    hears(box, pack)
    assert not box.layout.cached(pack).exists()
    assert box.catalogue.find(Query(Level.STUDY, {}), link_up=True) == []
    consistent(box)
    # The process remembers of each series that it was described: a series that went must not count as that.
    assert box.send(sample()) is Outcome.STORED
    assert [found.study for found in box.catalogue.locate(Query(Level.STUDY, {"0020000D": STUDY}))] == [STUDY]


async def test_a_variant_that_stays_is_looked_at_anew_when_the_visible_one_went(box: Box) -> None:
    box.send(sample())
    (first,) = await box.close()
    box.hold(first)
    box.send(sample(change=lambda read: setattr(read, "PixelData", bytes(len(read.PixelData)))), "CT2")
    await box.class_variants()
    (second,) = await box.close()
    box.hold(second)
    hears(box, first)
    await box.class_variants()
    assert [found.pack for found in box.catalogue.locate(Query(Level.STUDY, {"0020000D": STUDY}))] == [second]
    consistent(box)


async def test_a_file_that_is_being_written_to_goes_at_the_next_start(box: Box) -> None:
    class Recalling(Desk):
        def undisturbed(self, pack: str) -> AbstractContextManager[bool]:
            return nullcontext(False)

    box.send(sample())
    (pack,) = await box.close()
    box.hold(pack)
    hears(box, pack, desk=Recalling())
    assert box.layout.cached(pack).exists()
    assert box.catalogue.pack(pack) is None
    eviction.clear(box.layout, box.catalogue, box.desk)
    assert not box.layout.cached(pack).exists()
    assert not box.layout.head(pack).exists()
    assert box.catalogue.rows("leaving") == []


async def test_a_pack_that_nobody_said_is_retired_keeps_its_holding(box: Box) -> None:
    box.send(sample())
    (pack,) = await box.close()
    box.hold(pack)
    box.evict(pack)
    box.catalogue.close()
    with closing(sqlite3.connect(box.layout.catalogue)) as connection, pytest.raises(sqlite3.IntegrityError, match="only copy"):
        connection.execute(statements("retire_queries.sql")["retire_holding"], {"pack": pack})
    box.open()
