"""edge.keeper and edge.pinning: what leaves the cache at a person's word or for want of room, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import Cache, Config, Layout
from edge.control.cache import Evict, Evicted, ListPins, NoteUse, Pinned, PinStudy, Stays, UnpinStudy
from edge.errors import Refused
from edge.keeper import Keeper
from edge.model import UID
from edge.pinning import Pinning
from edge.store.catalogue import Catalogue
from edge.store.eviction import evictable
from edge.store.pins import Pin, Pins
from edge.store.room import Room
from edge.store.site import SiteState
from tests.desks import Desk
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store.rows import Clock, admission, close, hold, pack_id, put

STUDIES = {"a": "1.1", "b": "1.2", "c": "1.2", "d": "1.3", "e": "1.4"}


class Box:
    """Packs of 100 bytes: a is open, b is not held, c, d and e are; c is of the study of b."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        self.layout.cache.mkdir(parents=True)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.site = SiteState(self.layout.site)
        self.clock = Clock()
        self.audit = FakeAudit()
        self.pins = Pins(self.site)
        settings = Cache(max_bytes=400, reserve_bytes=0, minimum_age_seconds=10.0)
        self.wanted = asyncio.Event()
        self.room = Room([self.layout.cache], 0, state / "ballast", 1 << 16)
        desk = Desk("e")
        self.keeper = Keeper(
            Config(cache=settings), self.layout, self.catalogue, self.pins, desk, self.room, self.wanted, self.clock, look_seconds=3600.0
        )
        self.pinning = Pinning(self.catalogue, self.pins, self.audit, self.clock)
        for number, (letter, study) in enumerate(STUDIES.items()):
            instance = f"{study}.1.{number}"
            put(self.catalogue, admission(letter, study=study, series=f"{study}.1", instance=instance, received_at=1000.0 + number))
            if letter != "a":
                close(self.catalogue, letter, size=100)
            if letter in "cde":
                hold(self.catalogue, letter)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.catalogue.close()
    made.site.close()


def test_who_evicts_everything_is_told_why_studies_stay(box: Box) -> None:
    box.pins.put(Pin(UID("1.3"), None, 0.0))
    found = answers(box.keeper, Evict())
    assert [(row.pack[0], row.study, row.bytes) for row in found if isinstance(row, Evicted)] == [("c", "1.2", 100)]
    assert [(row.reason, row.studies) for row in found if isinstance(row, Stays)] == [
        ("pinned", 1),
        ("being received", 1),
        ("not in the archive yet", 1),
        ("being recalled", 1),
    ]


@pytest.mark.parametrize(
    ("study", "gone", "reasons"),
    [("1.1", "", ["being received"]), ("1.2", "c", ["not in the archive yet"]), ("1.3", "d", []), ("1.4", "", ["being recalled"])],
)
def test_who_evicts_one_study_is_told_about_that(box: Box, study: str, gone: str, reasons: list[str]) -> None:
    for dry_run in (True, False):
        found = answers(box.keeper, Evict(study=study, dry_run=dry_run))
        assert "".join(row.pack[0] for row in found if isinstance(row, Evicted)) == gone
        assert [row.reason for row in found if isinstance(row, Stays)] == reasons


def test_a_study_that_is_not_known_is_an_error(box: Box) -> None:
    with pytest.raises(Refused, match=r"no study 9\.9 here"):
        answers(box.keeper, Evict(study="9.9"))
    with pytest.raises(Refused, match=r"no study 9\.9 here"):
        answers(box.pinning, PinStudy(study="9.9"))


def test_over_the_mark_what_may_go_goes_and_what_is_pinned_or_recalled_stays(box: Box) -> None:
    assert [one.pack[0] for one in box.keeper.look()] == ["c"]
    box.clock.time = 1_000_000.0
    for letter in "fg":
        put(box.catalogue, admission(letter, study="1.5", series="1.5.1", instance=f"1.5.1.{ord(letter)}"))
        close(box.catalogue, letter, size=100)
    box.pins.put(Pin(UID("1.3"), 1_000_001.0, 0.0))
    assert box.keeper.look() == []
    box.clock.time += 1
    assert [one.pack[0] for one in box.keeper.look()] == ["d"]


@pytest.mark.asyncio
async def test_whoever_is_turned_away_for_want_of_room_has_it_made_at_once(box: Box) -> None:
    async def until(holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.01)

    box.room.give_way()
    keeping = asyncio.create_task(box.keeper.keep_below_mark())
    await until(lambda: not box.room.ballast_gone)  # it has looked, evicted, and has no look ahead for an hour
    for letter in "fg":
        put(box.catalogue, admission(letter, study="1.5", series="1.5.1", instance=f"1.5.1.{ord(letter)}"))
        close(box.catalogue, letter, size=100)
    box.wanted.set()
    await until(lambda: [one.pack[0] for one in evictable(box.catalogue)] == ["e"])
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


def test_what_was_retrieved_over_the_web_is_used(box: Box) -> None:
    assert [one.pack[0] for one in evictable(box.catalogue)] == ["c", "d", "e"]
    assert answers(box.keeper, NoteUse(packs=[pack_id("c"), "no pack"])) == []
    assert [one.pack[0] for one in evictable(box.catalogue)] == ["d", "e", "c"]


def test_a_pin_is_set_listed_and_taken_back_and_each_is_audited(box: Box) -> None:
    with pytest.raises(Refused, match="is over already"):
        answers(box.pinning, PinStudy(study="1.2", until=999_999.0))
    pinned = answers(box.pinning, PinStudy(study="1.2", until=1_000_010.0), user=7)
    assert pinned == [Pinned(study="1.2", until=1_000_010.0, pinned_at=1_000_000.0, here=2, packs=2)]
    assert answers(box.pinning, ListPins()) == pinned
    box.clock.time += 10
    assert answers(box.pinning, ListPins()) == []
    answers(box.pinning, UnpinStudy(study="1.2"), user=7)
    with pytest.raises(Refused, match="is not pinned"):
        answers(box.pinning, UnpinStudy(study="1.2"))
    assert [(event.user, event.study, event.change) for event in box.audit.events] == [(7, "1.2", "pinned"), (7, "1.2", "unpinned")]
