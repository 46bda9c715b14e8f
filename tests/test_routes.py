"""edge.routes: what a route owes, that one destination's trouble is nobody else's, and that nothing is forgotten or sent for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge.audit import Sent
from edge.destinations import Destination, Told
from edge.dimse.ports import Lost, Ready, Retrieval
from edge.errors import StoreFailed, Transient
from edge.model import UID, Level, Query, Urgency
from edge.routes import BATCH, Routes
from edge.store.catalogue import Catalogue
from edge.store.routes import Forwards, Route, RouteTable
from edge.store.site import SiteState
from tests.desks import Desk
from tests.dimse.fakes import CT, FakeAudit, instances
from tests.servers import until
from tests.store.rows import Clock, admission, put

ALL = Route("all", "PACS", "", "", "", "", (), "", "", "", 0.0)
EVERYTHING = Query(Level.STUDY, {})
DAY = 86_400.0


class Fake:
    """A destination that takes everything, but for instances named in `refused`, and while `down` nothing."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.refused: set[str] = set()
        self.down = ""
        self.skip: frozenset[UID] = frozenset()
        self.hung: threading.Event | None = None
        self.calls = 0
        self.closed = False

    def skipped(self) -> frozenset[UID]:
        return self.skip

    def send(self, retrieval: Retrieval, outcome: Told) -> None:
        self.calls += 1
        if self.hung is not None:
            self.hung.wait(20)
        while retrieval.remaining:
            item = retrieval.next(0)
            assert isinstance(item, Ready)
            if self.down:
                raise Transient(self.down)
            taken = item.located.sop_instance not in self.refused
            if taken:
                self.got.append(item.located.sop_instance)
            outcome(item.located, None if taken else "status A900")

    def interrupt(self) -> None:
        if self.hung is not None:
            self.hung.set()

    def close(self) -> None:
        self.closed = True


class Here:
    """Hands out whatever is asked for by UID, without bytes."""

    def begin(self, query: Query, skipped: frozenset[UID] = frozenset()) -> Handed:
        return Handed(query.matching["00080018"].split("\\"), query.matching["0020000D"])


class Handed:
    def __init__(self, uids: list[str], study: str) -> None:
        (self._like,) = instances(CT)
        self._uids, self._study = uids, UID(study)
        self.total = len(uids)
        self.missing = 0
        self.syntaxes: frozenset[tuple[UID, UID]] = frozenset()

    @property
    def remaining(self) -> int:
        return len(self._uids)

    def next(self, timeout_seconds: float) -> Ready | Lost | None:
        return Ready(replace(self._like.located, sop_instance=UID(self._uids.pop(0)), study=self._study), 0, 0, 0)

    def close(self) -> None:
        self._uids = []


class Box:
    """A catalogue, site state and routes on them; `destinations` by name of the route."""

    def __init__(self, place: Path, destinations: Mapping[str, Destination], clock: Clock) -> None:
        self.clock = clock
        self.catalogue, self.site = Catalogue(place / "catalogue.db"), SiteState(place / "site.db")
        self.table, self.forwards = RouteTable(self.site), Forwards(self.catalogue)
        self.faults: list[StoreFailed] = []
        self.audit = FakeAudit()
        self.desk = Desk()
        self.routes = Routes(
            self.table,
            self.forwards,
            Here(),
            self.desk,
            lambda route: destinations[route.name],
            self.audit,
            clock,
            self.faults.append,
            lambda: 0.0,
        )

    def owes(self, route: Route) -> list[str]:
        """What a route finds that it owes."""
        self.forwards.know(route.name)
        self.forwards.match(route)
        return [one.sop_instance for one in self.forwards.due(route.name, float("inf"), 100)]

    def settled(self, name: str, count: int = 1) -> Callable[[], bool]:
        """Whether a route has sent so many, and owes nothing."""

        def holds() -> bool:
            standing = self.forwards.standing(name)
            return (standing.sent, standing.owed) == (count, 0)

        return holds


@contextmanager
def boxed(place: Path, destinations: Mapping[str, Destination] | None = None, clock: Clock | None = None) -> Iterator[Box]:
    made = Box(place, destinations or {}, clock or Clock(2000.0))
    try:
        yield made
    finally:
        made.routes.stop()
        made.catalogue.close()
        made.site.close()
    assert made.faults == []


def arrive(catalogue: Catalogue, number: int, pack: str = "a", study: str = "1.2.3", received_at: float = 1000.0, **more: object) -> str:
    """One more instance; its UID."""
    uid = f"{study}.1.{number}"
    one = admission(pack, number * 4096, study=study, series=f"{study}.1", instance=uid, number=number, received_at=received_at, **more)
    put(catalogue, one)
    return uid


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"from_ae": "CT99"}, True),
        ({"from_ae": "MR1"}, False),
        ({"urgency": "routine"}, True),
        ({"urgency": "stat"}, False),
        ({"modalities": ("MR", "CT")}, True),
        ({"modalities": ("MR",)}, False),
        ({"description": "*thorax*"}, True),
        ({"description": "thorax"}, False),
        ({"description": "*[5mm*"}, True),
        ({"description": "*kidney*"}, False),
        ({"since": 1000.0}, True),
        ({"since": 1000.5}, False),
        ({"from_ae": "CT99", "modalities": ("MR",)}, False),
    ],
    ids=str,
)
def test_a_route_owes_what_meets_every_condition(tmp_path: Path, condition: dict[str, object], expected: bool) -> None:
    with boxed(tmp_path) as ours:
        more = {0x00081030: ("LO", b"CT Thorax nativ"), 0x0008103E: ("LO", b"Lung [5mm]"), 0x00080060: ("CS", b"CT")}
        uid = arrive(ours.catalogue, 1, more=more)
        assert ours.owes(replace(ALL, **condition)) == [uid] * expected


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        ("07:00", "18:00", ["noon"]),
        ("18:00", "07:00", ["night"]),
        ("12:00", "12:01", ["noon"]),
        ("11:00", "12:00", []),
        ("", "", ["noon", "night"]),
    ],
)
def test_the_time_of_day_may_run_over_midnight(tmp_path: Path, begins: str, ends: str, expected: list[str]) -> None:
    noon = time.mktime((2026, 3, 2, 12, 0, 30, 0, 0, -1))
    with boxed(tmp_path) as ours:
        names = {arrive(ours.catalogue, 1, received_at=noon): "noon", arrive(ours.catalogue, 2, received_at=noon + 12 * 3600): "night"}
        assert [names[uid] for uid in ours.owes(replace(ALL, begins=begins, ends=ends))] == expected


def test_a_stat_study_is_known_by_its_class(tmp_path: Path) -> None:
    with boxed(tmp_path) as ours:
        put(ours.catalogue, admission("a"), urgency=Urgency.STAT)
        assert ours.owes(replace(ALL, urgency="stat")) == ["1.2.3.1.1"]


def test_what_only_the_archive_has_is_not_owed(tmp_path: Path) -> None:
    """A rebuilt box learns of years of instances; nobody wants them sent again."""
    with boxed(tmp_path) as ours:
        put(ours.catalogue, admission("a", here=False))
        assert ours.owes(ALL) == []


def test_what_arrived_is_looked_at_once(tmp_path: Path) -> None:
    with boxed(tmp_path) as ours:
        uid = arrive(ours.catalogue, 1)
        assert ours.owes(ALL) == [uid]
        ours.forwards.forwarded("all", [1], 0.0)
        assert ours.owes(ALL) == []
        assert ours.owes(ALL) == []
        later = arrive(ours.catalogue, 2)
        assert ours.owes(ALL) == [later]


def test_more_than_a_batch_of_several_studies_is_sent_whole(tmp_path: Path) -> None:
    pacs = Fake()
    with boxed(tmp_path, {"all": pacs}) as ours:
        sent = [arrive(ours.catalogue, number, study="1.2.3") for number in range(BATCH)]
        sent += [arrive(ours.catalogue, number, pack="b", study="1.2.4") for number in range(30)]
        ours.table.put(ALL)
        ours.routes.start()
        until(ours.settled("all", len(sent)), "everything is sent")
        standing = ours.forwards.standing("all")
    assert pacs.got == sent
    assert (standing.sent, standing.owed, standing.failures) == (len(sent), 0, 0)
    assert ours.audit.events == [
        Sent(by="route all", destination="PACS", study="1.2.3", completed=BATCH, failed=0),
        Sent(by="route all", destination="PACS", study="1.2.4", completed=30, failed=0),
    ]


def test_a_hung_destination_keeps_nothing_from_another(tmp_path: Path) -> None:
    hung, well = Fake(), Fake()
    hung.hung = threading.Event()
    with boxed(tmp_path, {"hung": hung, "well": well}) as ours:
        uid = arrive(ours.catalogue, 1)
        ours.table.put(replace(ALL, name="hung"))
        ours.table.put(replace(ALL, name="well"))
        ours.routes.start()
        until(ours.settled("well"), "the other destination has it")
        assert well.got == [uid]
        assert ours.forwards.standing("hung").owed == 1


def test_a_destination_that_fails_is_tried_ever_more_rarely_and_without_end(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(2000.0)
    pacs.down = "No connection."
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        uid = arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        waits = []
        for failures in range(1, 12):
            until(lambda failures=failures: ours.forwards.standing("all").failures == failures, "another failure")
            standing = ours.forwards.standing("all")
            assert (standing.owed, standing.fault) == (1, "No connection.")
            waits.append(standing.next_at - clock.time)
            clock.time = standing.next_at
            ours.routes._senders["all"].wake()
        assert waits == [2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0, 300.0]
        assert ours.routes.notices() == ["Route all: 1 instances wait. No connection."]
        pacs.down = ""
        assert ours.routes.retry("all")
        until(ours.settled("all"), "it is sent at last")
        assert (pacs.got, ours.forwards.standing("all").failures, ours.routes.notices()) == ([uid], 0, [])


def test_who_asks_for_a_retry_during_a_try_that_fails_gets_another_at_once(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(2000.0)
    pacs.down, pacs.hung = "No connection.", threading.Event()
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: pacs.calls == 1, "it is being tried")
        assert ours.routes.retry("all")
        pacs.hung.set()
        until(lambda: pacs.calls == 2, "it is tried again, although the clock stands still")


def test_an_instance_that_is_not_taken_stops_no_other_and_is_shown(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(2000.0)
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        bad, good = arrive(ours.catalogue, 1), arrive(ours.catalogue, 2)
        pacs.refused = {bad}
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: ours.forwards.standing("all").refused == 1, "it is refused")
        until(lambda: pacs.got == [good], "the other is sent")
        assert ours.routes.notices() == ["Route all: 1 instances are not taken (status A900)."]
        pacs.refused = set()
        assert ours.routes.retry("all")
        until(ours.settled("all", 2), "it is taken in the end")
        assert pacs.got == [good, bad]


def test_a_restart_forgets_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    pacs = Fake()
    with boxed(tmp_path, {"all": pacs}) as ours:
        first = arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        until(ours.settled("all"), "the first is sent")
        until(lambda: pacs.got == [first], "the first is there")
    with boxed(tmp_path, {"all": pacs}) as ours:
        second = arrive(ours.catalogue, 2)
        ours.routes.start()
        until(lambda: pacs.got == [first, second], "the second is there")
        until(lambda: ours.forwards.standing("all").sent == 2, "and counted")


def test_a_catalogue_that_was_made_anew_sends_a_day_again_and_no_more(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(100 * DAY)
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        arrive(ours.catalogue, 1, received_at=50 * DAY)
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: ours.table.all()[0].since == 99 * DAY, "the books are closed")
    (tmp_path / "catalogue.db").unlink()
    pacs.got.clear()
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        arrive(ours.catalogue, 1, received_at=50 * DAY)
        recent = arrive(ours.catalogue, 2, received_at=99.5 * DAY)
        ours.routes.start()
        until(lambda: pacs.got == [recent], "the last day is sent again")


def test_a_variant_that_becomes_the_visible_one_is_sent_too(tmp_path: Path) -> None:
    with boxed(tmp_path) as ours:
        uid = arrive(ours.catalogue, 1)
        assert ours.owes(ALL) == [uid]
        (first,) = [one.instance for one in ours.forwards.due("all", 1.0, 10)]
        ours.forwards.forwarded("all", [first], 1.0)
        put(ours.catalogue, admission("b", 0, study="1.2.3", series="1.2.3.1", instance=uid, number=2))
        assert ours.owes(ALL) == []
        with ours.catalogue.change():
            ours.catalogue.rows("class_variant", 0, "correction", None, first)
            ours.catalogue.rows("class_variant", 1, "correction", None, first + 1)
        assert ours.owes(ALL) == [uid]


def test_one_that_a_peer_cannot_bear_is_told_and_the_others_have_their_turn_first(tmp_path: Path) -> None:
    with boxed(tmp_path) as ours:
        poison, other = arrive(ours.catalogue, 1), arrive(ours.catalogue, 2, study="1.2.4")
        assert ours.owes(ALL) == [poison, other]
        (instance,) = [one.instance for one in ours.forwards.due("all", 1.0, 10) if one.sop_instance == poison]
        ours.forwards.failed("all", instance, "status 0110", 0.0)
        assert ours.owes(ALL) == [other, poison]


def test_classes_that_a_peer_is_not_to_get_are_not_owed_for_ever(tmp_path: Path) -> None:
    pacs = Fake()
    pacs.skip = frozenset({admission().identity.sop_class})
    with boxed(tmp_path, {"all": pacs}) as ours:
        arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: ours.forwards.standing("all").sent == 1, "it is settled")
    assert pacs.calls == 0


def test_a_route_that_is_removed_owes_nothing_and_one_of_its_name_begins_anew(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(2000.0)
    pacs.down = "No connection."
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        arrive(ours.catalogue, 1)
        ours.routes.start()
        ours.routes.put(ALL)
        until(lambda: ours.forwards.standing("all").failures == 1, "it fails")
        assert ours.routes.remove("all")
        assert not ours.routes.remove("all")
        assert not ours.routes.retry("all")
        assert ours.routes.standings() == []
        pacs.down = ""
        later = arrive(ours.catalogue, 2, received_at=1500.0)
        ours.routes.put(replace(ALL, since=1200.0))
        until(lambda: pacs.got == [later], "the new one sends what arrived since")
