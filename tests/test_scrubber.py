"""edge.scrubber: the whole cache is re-read within its period; what rotted comes back from the archive, or is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.audit import Repaired, Rotted
from edge.config import Cache, Config, Layout
from edge.control.scrub import GetScrub, Rot, Scrubbing, StartScrub
from edge.errors import StoreFailed
from edge.model import PackId
from edge.scrubber import Scrubber
from edge.store.scrubs import Scrubs
from tests.desks import Desk
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store import boxes
from tests.store.boxes import instance

DAY = 86_400.0


class Box(boxes.Box):
    """A cache of packs of two instances, one pack a study, and a scrubber over it that a test drives step by step."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        super().__init__(self.layout.edge)
        self.desk = Desk()
        self.audit = FakeAudit()
        self.link = True
        self.stops: list[StoreFailed] = []
        self.scrubber = self.another()

    def another(self) -> Scrubber:
        """A scrubber, as after a restart."""
        config = Config(cache=Cache(scrub_days=7.0))
        return Scrubber(
            config, self.layout, self.catalogue, self.desk, lambda: self.link, self.audit, self.clock, self.stops.append, look_seconds=0.01
        )

    def closed_pack(self, number: int) -> PackId:
        for place in (1, 2):
            pack = self.receive(instance(place, study=f"1.2.{number}"))
        self.close_due(everything=True)
        return pack.id

    def hold(self, pack: PackId) -> None:
        with self.catalogue.facts(1):
            self.catalogue.hold(pack, 3000.0, 5000)

    def rot(self, pack: PackId, which: int = 0) -> int:
        """Flip a bit in the dataset of an instance; where that lies."""
        offset = Scrubs(self.catalogue).pack(pack).members[which].dataset_offset  # type: ignore[union-attr]
        with self.layout.cached(pack).open("r+b") as file:
            byte = os.pread(file.fileno(), 1, offset + 40)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1]), offset + 40)
            os.fsync(file.fileno())
        return offset

    def come_back(self, pack: PackId, offsets: list[int]) -> None:
        """What a recall does to the catalogue."""
        self.catalogue.recalled(pack, offsets)
        self.catalogue.set_whole(pack)

    def scrub(self) -> None:
        """To the end of the scrub that is due or under way."""
        while self.scrubber.step() == 0.0:
            pass

    @property
    def told(self) -> Scrubbing:
        (found, *_) = answers(self.scrubber, GetScrub())
        assert isinstance(found, Scrubbing)
        return found

    @property
    def rots(self) -> list[tuple[str, int, bool]]:
        return [(row.study, row.instances, row.held) for row in answers(self.scrubber, GetScrub()) if isinstance(row, Rot)]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.stop()
    assert made.stops == []


def test_before_the_first_scrub_nothing_is_known_and_after_it_when_the_next_one_begins(box: Box) -> None:
    packs = [box.closed_pack(number) for number in range(5)]
    assert (box.told.began_at, box.told.under_way, box.told.next_at) == (None, False, None)
    box.scrub()
    told = box.told
    assert (told.packs, told.bytes, told.rotten, told.under_way) == (
        5,
        sum(box.layout.cached(pack).stat().st_size for pack in packs),
        0,
        False,
    )
    assert (told.began_at, told.ended_at, told.next_at) == (1_000_000.0, 1_000_000.0, 1_000_000.0 + 7 * DAY)
    assert box.scrubber.step() == 3600.0
    box.clock.time += 7 * DAY
    assert box.scrubber.step() == 0.0
    assert (box.told.under_way, box.told.packs, box.told.last_ended_at) == (True, 0, 1_000_000.0)


def test_a_scrub_goes_on_behind_the_last_pack_after_a_restart(box: Box) -> None:
    for number in range(6):
        box.closed_pack(number)
    for _ in range(4):
        assert box.scrubber.step() == 0.0
    assert box.told.packs == 3
    box.scrubber = box.another()
    box.scrub()
    assert (box.told.packs, box.told.ended_at is not None) == (6, True)


def test_what_rotted_in_a_held_pack_is_recalled_alone_and_is_repaired_when_it_is_back(box: Box) -> None:
    pack = box.closed_pack(1)
    box.hold(pack)
    offset = box.rot(pack)
    box.scrub()
    assert box.rots == [("1.2.1", 1, True)]
    assert box.desk.wanted == [(pack, [offset])]
    assert [row[0] for row in box.catalogue.rows("instances_here", pack)] != [offset]
    assert box.catalogue.pack(pack).here == "some"  # type: ignore[union-attr]
    assert box.scrubber.alarms() == []
    box.come_back(pack, [offset])
    box.scrubber.step()
    assert box.rots == []
    assert (box.told.rotten, box.told.repaired) == (1, 1)
    assert box.audit.events == [
        Rotted(pack=pack, study="1.2.1", instances=1, held=True),
        Repaired(pack=pack, study="1.2.1", instances=1),
    ]


def test_what_rotted_and_is_not_in_the_archive_is_an_alarm_and_nothing_is_deleted(box: Box) -> None:
    pack = box.closed_pack(1)
    box.rot(pack)
    before = box.layout.cached(pack).read_bytes()
    box.scrub()
    assert box.layout.cached(pack).read_bytes() == before
    assert box.desk.wanted == []
    assert box.rots == [("1.2.1", 1, False)]
    (alarm,) = box.scrubber.alarms()
    assert "1 instance of study 1.2.1 has rotted in the cache, and the archive has no copy." in alarm
    assert len(box.catalogue.rows("instances_here", pack)) == 1
    box.clock.time += 8 * DAY
    box.scrub()
    assert (box.told.packs, box.told.rotten, len(box.audit.events)) == (1, 0, 1)


def test_what_is_received_again_is_rotten_no_longer(box: Box) -> None:
    pack = box.closed_pack(1)
    box.rot(pack)
    box.scrub()
    assert box.closed_pack(1) != pack
    box.scrubber.step()
    assert (box.rots, box.scrubber.alarms(), box.told.repaired) == ([], [], 0)


def test_what_waits_in_the_outbox_mends_it_once_the_archive_has_it(box: Box) -> None:
    pack = box.closed_pack(1)
    box.catalogue.mark_coded(pack, 1.0, 100, "{}", 3)
    offset = box.rot(pack)
    box.scrub()
    (alarm,) = box.scrubber.alarms()
    assert "it is mended then" in alarm
    assert box.desk.wanted == []
    box.hold(pack)
    box.scrubber.step()
    assert box.desk.wanted == [(pack, [offset])]


def test_a_flaw_around_the_instances_of_a_pack_that_is_not_held_is_told_and_mended_when_it_is(box: Box) -> None:
    pack = box.closed_pack(1)
    path = box.layout.cached(pack)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"\1", path.stat().st_size - 1)
        os.fsync(file.fileno())
    box.scrub()
    assert box.rots == [("1.2.1", 0, False)]
    assert len(box.catalogue.rows("instances_here", pack)) == 2
    box.hold(pack)
    for _ in range(3):
        box.scrubber.step()
    assert [(one, len(offsets)) for one, offsets in box.desk.wanted] == [(pack, 2)]


def test_a_file_that_is_gone_comes_back_from_the_archive(box: Box) -> None:
    pack = box.closed_pack(1)
    box.hold(pack)
    box.layout.cached(pack).unlink()
    box.scrub()
    assert [(one, len(offsets)) for one, offsets in box.desk.wanted] == [(pack, 2)]


def test_a_pack_that_is_evicted_with_its_rot_is_forgotten(box: Box) -> None:
    pack = box.closed_pack(1)
    box.hold(pack)
    box.rot(pack)
    box.scrub()
    box.catalogue.evict(pack)
    box.scrubber.step()
    assert (box.rots, box.told.repaired) == ([], 0)


def test_what_is_being_recalled_is_left_alone(box: Box) -> None:
    pack = box.closed_pack(1)
    box.hold(pack)
    box.rot(pack)
    box.desk.recalled = pack[0]
    box.scrub()
    assert (box.rots, box.desk.wanted) == ([], [])


def test_a_few_packs_are_recalled_at_a_time_and_none_while_the_link_is_down(box: Box) -> None:
    packs = [box.closed_pack(number) for number in range(6)]
    for pack in packs:
        box.hold(pack)
        box.rot(pack)
    box.link = False
    box.scrub()
    assert (len(box.rots), box.desk.wanted) == (6, [])
    box.link = True
    box.scrubber.step()
    assert len(box.desk.wanted) == 4
    box.scrubber.step()
    assert {pack for pack, _ in box.desk.wanted} == set(packs)
    box.scrubber.step()
    assert len(box.desk.wanted) == 6
    box.clock.time += 601
    box.scrubber.step()
    assert len(box.desk.wanted) == 10


def test_a_pack_that_is_suspected_is_looked_at_first(box: Box) -> None:
    packs = [box.closed_pack(number) for number in range(3)]
    last = max(packs)
    box.hold(last)
    box.rot(last)
    box.scrubber.suspect(last)
    assert box.scrubber.step() == 0.0
    assert [study for study, *_ in box.rots] == [f"1.2.{packs.index(last)}"]
    assert (box.told.packs, box.told.rotten) == (0, 0)


def test_a_scrub_that_a_person_wants_begins_anew_at_once_whatever_the_thread_waits_for(box: Box, tmp_path: Path) -> None:
    for number in range(3):
        box.closed_pack(number)
    box.scrubber.start()
    try:
        assert _until(lambda: box.told.ended_at is not None)
        answers(box.scrubber, StartScrub())
        assert _until(lambda: box.told.hurried and box.told.ended_at is not None)
        assert box.told.packs == 3
    finally:
        box.scrubber.stop()


def test_the_pace_is_such_that_the_period_is_kept(box: Box) -> None:
    assert box.scrubber.pace_of(hurried=True, cached_bytes=0) == 64 << 20
    assert box.scrubber.pace_of(hurried=False, cached_bytes=0) == 64 << 10
    assert box.scrubber.pace_of(hurried=False, cached_bytes=200 << 30) * 7 * DAY == pytest.approx(200 << 30)


def _until(happened: Callable[[], bool]) -> bool:
    """Whether it happens within 20 s; the thread that does it tells nobody."""
    pause = threading.Event()
    return any(happened() or pause.wait(0.01) for _ in range(2000))
