"""edge.rebuild and edge.restating: the catalogue is made again, row for row, from what it is derived of."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from edge.code.worker import Coder
from edge.config import Layout
from edge.errors import BrokenOff, Corrupt, StoreFailed
from edge.journal import Ack
from edge.journalfiles import JournalWriter
from edge.model import Level
from edge.rebuild import Rebuilt, needed, rebuild
from edge.store.anew import Standing, standing
from edge.store.catalogue import Catalogue
from edge.store.sql import damage_mark
from tests.dumps import dump
from tests.rebuilding import Box, changed, fill
from tests.store.rows import admission, ask, put
from tests.test_variants import named, sample

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def coder() -> AsyncIterator[Coder]:
    made = Coder()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def box(tmp_path: Path, coder: Coder) -> AsyncIterator[Box]:
    made = Box(tmp_path / "state", coder)
    yield made
    made.catalogue.close()
    made.site.close()


async def test_it_is_made_again_row_for_row(box: Box, tmp_path: Path) -> None:
    await fill(box)
    other = box.copy(tmp_path / "other")
    other.layout.catalogue.unlink()
    box.catalogue.close()
    box.open()
    await box.class_variants()
    made = other.make_again()
    await other.class_variants()
    # Away and held, its file has no mtime any more; never held, what the archive has proven of it is told again by and by.
    unknown = frozenset({("pack", "urgency")})
    was, now = dump(box.layout.catalogue, but=unknown), dump(other.layout.catalogue, but=unknown)
    away = {row["pack"] for row in was["pack"] if row["here"] != "whole"}
    for rows in (was["pack"], now["pack"]):
        for row in rows:
            if row["pack"] in away and row["pack"] != "h" * 26:
                assert row["closed_at"] <= row["coded_at"]
                del row["closed_at"]
    assert was.keys() == now.keys()
    for table in was:
        assert was[table] == now[table], table
    assert len(was["pack"]) == made.packs + 1
    assert (made.unproven, made.why) == (0, Standing.MISSING)
    assert {row["variant"] for row in now["instance"]} == {None, "correction", "conflict", "decided"}
    assert any(row["stranger"] for row in now["instance"])
    assert sum(row["fault"] is not None for row in now["instance"]) == 2
    assert any(row["identity"].count("\x1f") == 2 for row in now["patient"])
    assert [row["source_ae"] for row in now["quarantine"]] == ["CT1"]
    assert {row["here"] for row in now["pack"]} == {"whole", "some", "no"}
    assert sum(row["rejected"] for row in now["study"]) == 1
    other.catalogue.close()
    other.site.close()


async def test_what_was_made_again_is_told_and_recorded(box: Box, tmp_path: Path) -> None:
    box.send(sample())
    (pack,) = await box.close()
    box.hold(pack)
    other = box.copy(tmp_path / "other")
    made = other.make_again(Standing.DAMAGED)
    assert made == Rebuilt(Standing.DAMAGED, 1, 1, 0)
    assert [(event.why, event.packs, event.instances) for event in other.trail.events] == [("was damaged", 1, 1)]
    assert other.restating.notices() == [
        "The catalogue was damaged when Outpost started, and was made again from 1 packs with 1 instances."
    ]
    other.catalogue.close()
    other.site.close()


async def test_nothing_is_coded_or_classed_before_the_holdings_are_told_and_what_nobody_holds_is_coded_again(
    box: Box, tmp_path: Path
) -> None:
    box.send(sample())
    box.send(sample(change=named("Another^Name")))
    (pack,) = await box.close()
    shutil.rmtree(box.layout.outbox / pack)  # as if it was held, but the archive has nothing of it
    gone = sample(change=changed(StudyInstanceUID="1.2.70", SeriesInstanceUID="1.2.70.1", SOPInstanceUID="1.2.70.1.1"))
    box.send(gone)
    (lost,) = await box.close()
    shutil.rmtree(box.layout.outbox / lost)
    box.layout.cached(lost).unlink()
    other = box.copy(tmp_path / "other")
    rebuild(other.layout, Standing.MISSING, [], other.site.issuer_of, lambda *_: None)
    other.open()
    assert other.catalogue.rows("next_to_code", since=0.0) == other.catalogue.rows("unclassed", most=9) == []
    other.restate(Rebuilt(Standing.MISSING, 2, 3, 0))
    assert other.catalogue.rows("next_to_code", since=0.0) == [(pack,)]
    assert len(other.catalogue.rows("unclassed", most=9)) == 1
    state = other.catalogue.pack(lost)
    assert state is not None
    assert "Have its study sent again" in str(state.stopped)
    other.catalogue.close()
    other.site.close()


async def test_a_pack_file_that_is_not_what_the_archive_has_waits_for_its_head(box: Box, tmp_path: Path) -> None:
    box.send(sample())
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2)))
    (pack,) = await box.close()
    box.hold(pack)
    box.layout.head(pack).write_bytes(b"rotten")
    with box.layout.cached(pack).open("r+b") as file:
        file.seek(2000)
        file.write(b"\xa5" * 8)
    other = box.copy(tmp_path / "other")
    other.make_again()
    state, told = other.catalogue.pack(pack), box.catalogue.pack(pack)
    assert state is not None and told is not None
    assert (state.here, state.has_head, state.sha256, state.held) == ("some", False, told.sha256, True)
    assert other.catalogue.rows("headless", study=None) == [(pack,)]
    assert len(other.catalogue.rows("instances_here", pack)) == 1
    other.catalogue.close()
    other.site.close()


async def test_packs_that_prove_nothing_are_counted_and_the_rest_is_there(box: Box, tmp_path: Path) -> None:
    box.send(sample())
    await box.close()
    other = box.copy(tmp_path / "other")
    (other.layout.cache / "zz").mkdir()
    (other.layout.cache / "zz" / f"{'z' * 26}.tar").write_bytes(b"no tar at all")
    (other.layout.cache / "zz" / "a person's.tar").write_bytes(b"no pack of ours")
    (other.layout.heads / "yy").mkdir()
    (other.layout.heads / "yy" / f"{'y' * 26}.tar.zst").write_bytes(b"no head")
    assert other.make_again() == Rebuilt(Standing.MISSING, 1, 1, 2)
    assert len(ask(other.catalogue, Level.IMAGE)) == 1
    other.catalogue.close()
    other.site.close()


async def test_a_catalogue_is_made_again_where_it_is_lost_and_nowhere_else(box: Box, tmp_path: Path) -> None:
    layout = box.layout
    fresh = type(layout)(tmp_path / "fresh")
    for directory in (fresh.open_packs, fresh.heads, fresh.quarantine, fresh.asks, fresh.facts):
        directory.mkdir(parents=True)
    assert needed(fresh) is None
    Catalogue(fresh.catalogue).close()
    assert needed(fresh) is None
    box.send(sample())
    assert needed(layout) is None
    box.catalogue.close()
    assert needed(layout) is None
    whole = layout.catalogue.read_bytes()
    for content, found in (
        (None, Standing.MISSING),
        (b"", Standing.EMPTY),
        (b"\xa5" * 8192, Standing.DAMAGED),
        (whole[:100], Standing.DAMAGED),
    ):
        for path in layout.edge.glob("catalogue.db*"):
            path.unlink()
        if content is not None:
            layout.catalogue.write_bytes(content)
        assert needed(layout) is found
    layout.catalogue.write_bytes(whole)
    assert needed(layout) is None
    damage_mark(layout.catalogue).touch()
    assert needed(layout) is Standing.DAMAGED
    rebuild(layout, Standing.DAMAGED, [], lambda _: "", lambda *_: None)
    assert needed(layout) is None
    box.open()


async def test_a_box_that_has_only_spoken_over_the_wall_has_lost_its_catalogue_too(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    journal = JournalWriter(layout.facts)
    journal.append(Ack(upto=1))
    assert needed(layout) is None  # a restored box starts so
    journal.close()
    (layout.facts / "000000000001.jsonl").rename(layout.facts / "000000000007.jsonl")
    assert needed(layout) is Standing.MISSING


async def test_a_catalogue_that_is_found_damaged_when_it_is_read_stops_outpost_and_is_made_again(box: Box) -> None:
    for number in range(60):
        box.send(sample(change=changed(SOPInstanceUID=f"1.2.3.4.{number}", InstanceNumber=number)))
    until_closed = frozenset({("study", "received_at")})
    before = dump(box.layout.catalogue, but=until_closed)
    box.catalogue.close()
    with sqlite3.connect(box.layout.catalogue) as beside:
        (page,) = beside.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'instance'").fetchone()
    beside.close()
    with box.layout.catalogue.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    assert needed(box.layout) is None
    stops: list[StoreFailed] = []
    catalogue = Catalogue(box.layout.catalogue, failed=stops.append)
    with pytest.raises(Corrupt, match="made again from the packs when Outpost starts"):
        ask(catalogue, Level.IMAGE)
    catalogue.close()
    assert len(stops) == 1
    assert needed(box.layout) is Standing.DAMAGED
    rebuild(box.layout, Standing.DAMAGED, [], box.site.issuer_of, lambda *_: None)
    assert not damage_mark(box.layout.catalogue).exists()
    assert dump(box.layout.catalogue, but=until_closed) == before
    box.open()


async def test_broken_off_it_leaves_the_catalogue_as_it_was_and_begins_anew(box: Box, tmp_path: Path) -> None:
    for number in range(3):
        uid = f"1.2.80.{number}"
        box.send(sample(change=changed(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1")))
    await box.close()
    before = dump(box.layout.catalogue)
    box.catalogue.close()

    def end(done: int, packs: int) -> None:
        if done == 2:
            raise BrokenOff

    for _ in range(2):
        with pytest.raises(BrokenOff):
            rebuild(box.layout, Standing.GOOD, [], box.site.issuer_of, end)
        assert dump(box.layout.catalogue) == before
    rebuild(box.layout, Standing.GOOD, [], box.site.issuer_of, lambda *_: None)
    assert [path.name for path in box.layout.edge.glob("*catalogue.db*")] == ["catalogue.db"]
    now = dump(box.layout.catalogue)
    for row in [*before["pack"], *now["pack"]]:
        row.pop("urgency")
    assert now == before
    box.open()


@pytest.mark.parametrize("step", range(6))
async def test_killed_while_it_is_swapped_there_is_the_old_one_the_new_one_or_none(tmp_path: Path, step: int) -> None:
    path, fresh = tmp_path / "catalogue.db", tmp_path / ".catalogue.db.new"
    for place, uid in ((path, "1.2.3"), (fresh, "1.2.4")):
        made = Catalogue(place)
        put(made, admission(study=uid, series=f"{uid}.1", instance=f"{uid}.1.1"))
        made.close()
    open_one = Catalogue(path)  # its log is beside it
    put(open_one, admission("b", study="1.2.5", series="1.2.5.1", instance="1.2.5.1.1"))
    program = """
import os, signal, sys
from pathlib import Path
from edge.store import anew
left = int(sys.argv[2])
def dying(name):
    real = getattr(Path, name)
    def call(self, *arguments, **named):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(self, *arguments, **named)
    setattr(Path, name, call)
for name in ("rename", "unlink"):
    dying(name)
directory = Path(sys.argv[1])
anew.swap(directory / ".catalogue.db.new", directory / "catalogue.db")
"""
    command = [sys.executable, "-c", program, str(tmp_path), str(step)]
    run = await asyncio.to_thread(subprocess.run, command, cwd=Path(__file__).parents[1], check=False)
    assert run.returncode == -signal.SIGKILL
    found = standing(path)
    assert found in {Standing.GOOD, Standing.MISSING}
    if found is Standing.GOOD:
        with closing(sqlite3.connect(path)) as beside:
            assert [row[0] for row in beside.execute("SELECT uid FROM study ORDER BY uid")] in (["1.2.3", "1.2.5"], ["1.2.4"])
    open_one.close()
