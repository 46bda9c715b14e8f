"""edge.rebuild and edge.restating: the catalogue is made again, row for row, from what it is derived of."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import pytest
import pytest_asyncio
from pydicom.dataset import Dataset

from edge import heads
from edge.asks import Asks
from edge.code.jobs import DecodeJob
from edge.code.manifest import covering
from edge.code.worker import Coder
from edge.config import Cache, Config, Layout
from edge.dimse.ports import Outcome
from edge.errors import Corrupt, StoreFailed
from edge.facts import Facts
from edge.journal import Ack, Held, JournalReader, JournalWriter, Restate
from edge.model import UID, Correction, Level, PackId
from edge.outbox import Outbox
from edge.rebuild import BrokenOff, Rebuilt, needed, rebuild
from edge.refusals import Refusals
from edge.restating import Restating
from edge.store import eviction
from edge.store.anew import Standing, standing
from edge.store.catalogue import Catalogue
from edge.store.room import Room
from edge.store.sql import damage_mark
from edge.store.variants import Choice
from edge.wall import Gate
from tests import test_variants
from tests.dumps import dump
from tests.store.rows import admission, ask, put
from tests.test_variants import named, sample

pytestmark = pytest.mark.asyncio

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


class Desk(test_variants.Desk):
    def arrived(self, pack: str, number: int, digest: str, size: int) -> None: ...
    def failed(self, pack: str, reason: str, final: bool) -> None: ...
    def heard(self, pack: str) -> None: ...
    def undisturbed(self, pack: str) -> AbstractContextManager[bool]:
        return nullcontext(True)


class Trail:
    def __init__(self) -> None:
        self.events: list[object] = []

    def record(self, event: object) -> None:
        self.events.append(event)

    def demand(self) -> None: ...


class Box(test_variants.Box):
    """As for variants; and its packs are closed, coded, held, evicted and recalled. It remembers what cloudsync would tell of them."""

    def __init__(self, state: Path, coder: Coder) -> None:
        for directory in ("edge/outbox", "cloudsync/facts"):
            (state / directory).mkdir(parents=True, exist_ok=True)
        self.held: list[Held] = []
        super().__init__(state, coder)
        self.desk = Desk()
        self.open_variants()

    def copy(self, to: Path) -> Box:
        """Another box of the same files, as after a power cut."""
        shutil.copytree(self.layout.state, to, ignore=shutil.ignore_patterns("*.sock"))
        shutil.copystat(self.layout.state, to)
        other = Box.__new__(Box)
        other.held = list(self.held)
        other.clock = test_variants.Clock(self.clock.time)
        other.coder = self.coder
        other.desk = Desk()
        other.layout = type(self.layout)(to)
        other.site = test_variants.SiteState(other.layout.site)
        return other

    async def close(self, *, code: bool = True) -> list[PackId]:
        """Close every open pack, and code them; the packs."""
        due = self.packs.take_due(everything=True)
        for pack in due:
            self.packs.close(pack)
        if code:
            outbox = self.outbox()
            while rows := self.catalogue.rows("next_to_code"):
                await outbox._code(PackId(rows[0][0]))
        return [pack.id for pack in due]

    def outbox(self) -> Outbox:
        self.journal = JournalWriter(self.layout.asks)
        config = Config(cache=Cache(reserve_bytes=0))
        asks = Asks(self.journal, lambda: None)
        return Outbox(config, self.layout, self.catalogue, Room([self.layout.cache], 0), self.coder, asks, self.clock)

    def hold(self, pack: PackId) -> None:
        state = self.catalogue.pack(pack)
        assert state is not None and state.sha256 is not None and state.bytes is not None
        self.held.append(
            Held(
                pack=pack,
                held_at=self.clock.time + 0.25,
                instances=state.instances,
                raw_bytes=state.bytes,
                sealed_bytes=1234,
                sha256=state.sha256,
                study={"0020000D": {"vr": "UI", "Value": [state.study]}},
                series=[],
            )
        )
        with self.catalogue.facts(0):
            self.catalogue.hold(pack, self.held[-1].held_at, 1234)
        (self.layout.outbox / pack).rename(self.layout.state / f"archived-{pack}")

    def evict(self, pack: PackId) -> None:
        (one,) = (one for one in eviction.evictable(self.catalogue) if one.pack == pack)
        assert list(eviction.evict(self.layout, self.catalogue, self.desk, [one]))

    async def recall(self, pack: PackId, members: list[int]) -> None:
        """Some members of an evicted pack come back."""
        head = heads.load(self.layout, pack)
        parts = {number: str(self.layout.state / f"archived-{pack}" / f"{number:06d}") for number in covering(head.manifest, members)}
        self.catalogue.begin_recall(pack)
        job = DecodeJob(
            pack=pack, head_path=str(self.layout.head(pack)), parts=parts, target_path=str(self.layout.cached(pack)), members=members
        )
        restored = await self.coder.restore(job)
        self.catalogue.recalled(pack, [head.manifest.members[one.index].dataset_offset for one in restored if one.digest_ok])

    def hear(self, letter: str) -> None:
        """A pack that only the archive has, head included."""
        told = Held(
            pack=letter * 26,
            held_at=5000.25,
            instances=7,
            raw_bytes=1,
            sealed_bytes=99,
            sha256="5" * 64,
            study={"0020000D": {"vr": "UI", "Value": ["1.2.99"]}, "00100020": {"vr": "LO", "Value": ["P99"]}},
            series=[{"0020000E": {"vr": "UI", "Value": ["1.2.99.1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}],
        )
        self.held.append(told)
        with self.catalogue.facts(0):
            self.catalogue.hear_of(PackId(told.pack), told.study, told.series, told.sha256, told.instances, told.held_at)
            self.catalogue.hold(PackId(told.pack), told.held_at, told.sealed_bytes)
            self.catalogue.settle_archived(PackId(told.pack))

    async def class_variants(self) -> None:
        while await self.variants.class_some():
            pass

    def make_again(self, why: Standing = Standing.MISSING) -> Rebuilt:
        """Lose the catalogue, make it again, and start on it."""
        said: list[tuple[int, int]] = []
        made = rebuild(
            self.layout, why, test_variants.Decisions(self.site).corrections(), self.site.issuer_of, lambda *step: said.append(step)
        )
        assert [done for done, _ in said] == list(range(1, len(said) + 1))
        assert {total for _, total in said} <= {len(said)}
        self.open()
        self.restate(made)
        return made

    def restate(self, made: Rebuilt) -> None:
        """Cloudsync tells its holdings again, because it is asked to."""
        asks, facts = JournalWriter(self.layout.asks), JournalWriter(self.layout.facts)
        told = []
        self.trail = Trail()
        self.restating = Restating(self.catalogue, Asks(asks, lambda: None), self.trail, made, lambda: None)
        self.restating.begin()
        assert any("not told again yet" in notice for notice in self.restating.notices())
        assert self.catalogue.rows("next_to_code") == []
        reader = JournalReader(Gate(self.layout.asks), 0)
        (asked,) = [one for one in reader.read() if isinstance(one, Restate)][-1:]
        facts.append(*self.held, Ack(upto=asked.seq))
        following = Facts(Gate(self.layout.facts), self.catalogue, asks, self.desk, told.append, Refusals(), self.restating.told)
        while following.apply():
            pass
        assert set(told) == {one.pack for one in self.held}
        assert self.catalogue.figure("restating") is None
        asks.close()
        facts.close()


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


def changed(**attributes: object) -> Callable[[Dataset], object]:
    def change(read: Dataset) -> None:
        for name, value in attributes.items():
            setattr(read, name, value)
            if name == "SOPInstanceUID":
                read.file_meta.MediaStorageSOPInstanceUID = value

    return change


async def fill(box: Box) -> None:
    """Everything that the catalogue tells apart."""
    box.send(sample())
    box.send(sample())  # a duplicate
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2)))
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.9", PatientID="9OTHER")))  # of somebody else
    (first,) = await box.close()
    box.hold(first)
    box.evict(first)
    box.clock.time += 1000
    box.send(sample(change=named("Corrected^By^Sender")))
    box.send(sample(change=lambda read: setattr(read, "PixelData", bytes(len(read.PixelData)))), "CT2")  # a conflict
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2, SeriesDescription="Other")), "CT2")  # another
    await box.class_variants()
    (second,) = await box.close()
    box.hold(second)
    await box.recall(first, [1])
    # People: the same ID, another birth date; a dummy ID; an issuer that the peer's row says
    box.site.put_peer(test_variants.Peer(test_variants.AETitle("MR1"), default_issuer="CLINIC"))
    for number, more in enumerate(
        ({"PatientBirthDate": "19500505"}, {"PatientBirthDate": "19600606"}, {"PatientID": "0"}, {"PatientID": ""})
    ):
        uid = f"1.2.50.{number}"
        box.send(
            sample("MR_small.dcm", changed(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", **more)), "MR1"
        )
    whole = await box.close()
    box.hold(whole[0])
    box.hold(whole[1])
    box.evict(whole[1])
    # Coded and not held; closed and not coded
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.60", SeriesInstanceUID="1.2.60.1", SOPInstanceUID="1.2.60.1.1")))
    await box.close()
    cut = sample("CT_small.dcm", changed(StudyInstanceUID="1.2.61", SeriesInstanceUID="1.2.61.1", SOPInstanceUID="1.2.61.1.1"))
    box.send(cut[:-1000])  # a fault
    await box.close()
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.62", SeriesInstanceUID="1.2.62.1", SOPInstanceUID="1.2.62.1.1"))[:-500])
    await box.close(code=False)
    # What people said
    box.clock.time += 100
    series = next(row for row in box.catalogue.rows("variants_in_conflict", study=STUDY) if row[1] == "1.2.3.4.2")
    choice = Choice(UID(STUDY), series[0], series[1], series[2], box.clock.time)
    box.decisions.put_choice(choice)
    box.catalogue.rows("class_again", choice.instance, choice.series, choice.study)
    await box.class_variants()
    for study, attributes, rejected in (
        ("1.2.50.0", {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^Name"}]}}, False),
        ("1.2.50.3", {"00100020": {"vr": "LO", "Value": ["4MR1"]}, "00100030": {"vr": "DA", "Value": ["19600606"]}}, False),
        ("1.2.60", {}, True),
    ):
        box.clock.time += 1
        correction = Correction(UID(study), attributes, box.clock.time, rejected)
        box.decisions.put_correction(correction)
        box.catalogue.remember([correction])
    box.clock.time += 1
    box.send(sample("MR_small.dcm", changed(StudyInstanceUID="1.2.50.0", SeriesInstanceUID="1.2.50.0.1", SOPInstanceUID="1.2.50.0.1.2")))
    # Quarantine
    assert box.send(sample().replace(STUDY.encode(), b"..".ljust(len(STUDY), b"\0"))) is Outcome.UNIDENTIFIED
    box.hear("h")
    # Still open
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.63", SeriesInstanceUID="1.2.63.1", SOPInstanceUID="1.2.63.1.1")))


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
    assert other.catalogue.rows("next_to_code") == other.catalogue.rows("unclassed", most=9) == []
    other.restate(Rebuilt(Standing.MISSING, 2, 3, 0))
    assert other.catalogue.rows("next_to_code") == [(pack,)]
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
