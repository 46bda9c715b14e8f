"""edge.retrieve: what is here goes at once, what is away is waited for, and no wait is without an end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edge.config import Layout
from edge.dimse.outgoing import Stored
from edge.dimse.ports import Lost, Making, Ready
from edge.errors import Corrupt, Transient
from edge.link import LinkState
from edge.model import Json, Level, PackId, Query
from edge.reach import Reach
from edge.retrieve import HEAD_SECONDS, HeadLate, NobodyOfOneID, Offline, PackRetrieve, SeveralOfOneID
from edge.store.catalogue import Catalogue
from edge.store.files import OPEN_MAX
from edge.store.finder import Finder
from edge.store.instances import Admission
from tests.limits import no_descriptors
from tests.store.rows import Clock, admission, close, hear, hold, pack_id, put

STUDY: Json = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
SERIES: list[Json] = [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}]


class Desk:
    """Remembers what was wanted; nothing comes."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.wanted: list[PackId] = []
        self.reason: str | None = None

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None:
        self.wanted.append(pack)

    def failure(self, pack: PackId) -> str | None:
        return self.reason


class Hurrying(Clock):
    """Each look at it takes as long as anybody waits."""

    def monotonic(self) -> float:
        self.time += HEAD_SECONDS
        return self.time


class Down(Reach):
    """The archive cannot be reached."""

    def up(self) -> bool:
        return False


class NoNatives:
    def begin(self, ready: Ready) -> Making:
        raise Transient("nothing is decoded here")


class Box(NamedTuple):
    layout: Layout
    catalogue: Catalogue
    finder: Finder
    desk: Desk
    suspects: list[PackId]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    yield Box(Layout(tmp_path), catalogue, finder, Desk(), [])
    finder.close()
    catalogue.close()


def retrieve(box: Box, clock: Clock, reach: type[Reach] = Reach) -> PackRetrieve:
    away = reach(box.catalogue, 900.0, clock)
    return PackRetrieve(box.layout, box.catalogue, box.finder, box.desk, away, clock, box.suspects.append, NoNatives())


def study(uid: str = "1.2.3") -> Query:
    return Query(Level.STUDY, {"0020000D": uid})


def test_a_head_that_does_not_come_is_not_waited_for_without_end(box: Box) -> None:
    _, catalogue, _, desk, _ = box
    with catalogue.change():
        catalogue.hear_of(pack_id("a"), STUDY, SERIES, "0" * 64, 1, 5.0)
        catalogue.hold(pack_id("a"), 5.0, 100)
        catalogue.settle_archived(pack_id("a"))
    with pytest.raises(HeadLate, match="Ask again"):
        retrieve(box, Hurrying()).begin(study())
    assert desk.wanted == [pack_id("a")]


def test_a_study_of_many_packs_keeps_few_of_them_open(box: Box) -> None:
    layout, catalogue, _, _, _ = box
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert len(letters) > OPEN_MAX
    for number, letter in enumerate(letters):
        put(catalogue, admission(letter, instance=f"1.2.3.1.{number}", number=number))
        close(catalogue, letter, size=100)
        path = layout.cached(pack_id(letter))
        path.parent.mkdir(parents=True)
        path.write_bytes(letter.encode())
    retrieval = retrieve(box, Clock()).begin(study())
    open_files = set()
    while retrieval.remaining:
        item = retrieval.next(0)
        assert isinstance(item, Ready)
        open_files.add(item.descriptor)
    assert len(open_files) <= OPEN_MAX
    retrieval.close()


def test_a_pack_that_should_be_here_and_has_no_file_is_lost_and_said_so(box: Box) -> None:
    catalogue = box.catalogue
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    retrieval = retrieve(box, Clock()).begin(study())
    item = retrieval.next(0)
    assert isinstance(item, Lost)
    assert "missing from the cache" in item.reason


def test_a_pack_whose_bytes_are_not_there_is_suspected_by_whoever_reads_it(box: Box) -> None:
    put(box.catalogue, admission("a"))
    close(box.catalogue, "a", size=100)
    path = box.layout.cached(pack_id("a"))
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(1030))
    retrieval = retrieve(box, Clock()).begin(study())
    item = retrieval.next(0)
    assert isinstance(item, Ready)
    assert box.suspects == []
    with pytest.raises(Corrupt):
        Stored(item.descriptor, item.offset, item.length, item.unread).read_into([memoryview(bytearray(16))], 0)
    assert box.suspects == [pack_id("a")]
    retrieval.close()


def test_a_held_pack_without_its_file_is_recalled(box: Box) -> None:
    _, catalogue, _, desk, _ = box
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    hold(catalogue, "a")
    retrieval = retrieve(box, Clock()).begin(study())
    assert retrieval.next(0) is None
    assert (desk.wanted, retrieval.remaining) == ([pack_id("a")], 1)
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert state.here == "no"


def test_what_is_waited_for_is_lost_when_the_archive_cannot_be_reached_any_more(box: Box) -> None:
    catalogue = box.catalogue
    put(catalogue, admission("a"))
    close(catalogue, "a", size=100)
    catalogue.mark_coded(pack_id("a"), 5.0, 90, "{}", 3)
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    clock = Clock()
    retrieval = retrieve(box, clock).begin(study())
    assert retrieval.next(0) is None
    with catalogue.facts(1):
        catalogue.set_link(LinkState("up", 1.0, 0.0, "", 0.0, 0, clock.now()))
    clock.time += 901
    item = retrieval.next(0)
    assert isinstance(item, Lost)
    assert "cannot be reached" in item.reason
    assert retrieval.remaining == 0


def at_hand(box: Box, content: bytes, *offsets: int) -> Path:
    """A held pack of instances at these offsets, and its file."""
    layout, catalogue, _, _, _ = box
    for number, offset in enumerate(offsets):
        put(catalogue, admission("a", offset, instance=f"1.2.3.1.{number}", number=number))
    close(catalogue, "a", size=len(content))
    catalogue.mark_coded(pack_id("a"), 5.0, 90, "{}", 3)
    hold(catalogue, "a")
    path = layout.cached(pack_id("a"))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def evict_and_recall(box: Box, path: Path, content: bytes, *offsets: int) -> None:
    """What an eviction and a recall of these instances do, one after the other."""
    catalogue = box.catalogue
    catalogue.evict(pack_id("a"))
    path.unlink()
    catalogue.begin_recall(pack_id("a"))
    path.write_bytes(content)
    catalogue.recalled(pack_id("a"), [offset + 1024 for offset in offsets])


def read(item: Ready | Lost | None) -> bytes:
    assert isinstance(item, Ready)
    return os.pread(item.descriptor, 1, item.offset)


def test_what_was_evicted_and_only_partly_recalled_is_waited_for_and_never_sent_as_zeros(box: Box) -> None:
    path = at_hand(box, b"x" * 16_384, 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    evict_and_recall(box, path, bytes(8192) + b"x" * 8192, 8192)
    assert retrieval.next(0) is None
    assert box.desk.wanted == [pack_id("a")]
    assert read(retrieval.next(0)) == b"x"
    assert retrieval.next(0) is None
    path.write_bytes(b"x" * 16_384)
    box.catalogue.recalled(pack_id("a"), [1024])
    assert read(retrieval.next(0)) == b"x"
    assert retrieval.remaining == 0
    retrieval.close()


def test_a_pack_that_comes_back_as_another_file_is_opened_anew(box: Box) -> None:
    path = at_hand(box, b"x" * 8192 + bytes(8192), 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    assert read(retrieval.next(0)) == b"x"
    evict_and_recall(box, path, bytes(8192) + b"x" * 8192, 8192)
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()


def test_a_pack_file_that_cannot_be_opened_costs_its_own_instances_alone(box: Box) -> None:
    path = at_hand(box, b"x" * 8192, 0)
    put(box.catalogue, admission("b", instance="1.2.3.1.9", number=9))
    close(box.catalogue, "b", size=100)
    other = box.layout.cached(pack_id("b"))
    other.parent.mkdir(parents=True)
    path.rename(other)
    path.symlink_to(other)
    retrieval = retrieve(box, Clock()).begin(study())
    lost = retrieval.next(0)
    assert isinstance(lost, Lost)
    assert "cannot be read" in lost.reason
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()


def test_an_instance_that_no_descriptor_is_left_for_fails_alone(box: Box) -> None:
    at_hand(box, b"x" * 16_384, 0, 8192)
    retrieval = retrieve(box, Clock()).begin(study())
    with no_descriptors():
        lost = retrieval.next(0)
    assert isinstance(lost, Lost)
    assert read(retrieval.next(0)) == b"x"
    retrieval.close()


def away(catalogue: Catalogue, letter: str) -> None:
    """A pack that only the archive has, and its head is here."""
    close(catalogue, letter, size=100)
    catalogue.mark_coded(pack_id(letter), 5.0, 90, "{}", 3)
    hold(catalogue, letter)
    catalogue.evict(pack_id(letter))


def here(box: Box, letter: str) -> None:
    close(box.catalogue, letter, size=100)
    path = box.layout.cached(pack_id(letter))
    path.parent.mkdir(parents=True)
    path.write_bytes(letter.encode())


def test_what_is_here_goes_out_while_the_archive_cannot_be_reached_and_the_rest_is_named(box: Box) -> None:
    put(box.catalogue, *(admission(letter, instance=f"1.2.3.1.{number}", number=number) for number, letter in enumerate("abcd", 1)))
    for letter in "ad":
        here(box, letter)
    for letter in "bc":
        away(box.catalogue, letter)
    retrieval = retrieve(box, Clock(), Down).begin(study())
    found = [retrieval.next(60) for _ in range(4)]
    assert [(type(item), item.located.sop_instance) for item in found if item] == [
        (Ready, "1.2.3.1.1"),
        (Ready, "1.2.3.1.4"),
        (Lost, "1.2.3.1.2"),
        (Lost, "1.2.3.1.3"),
    ]
    assert (retrieval.remaining, retrieval.missing) == (0, 0)
    retrieval.close()


def test_a_study_that_only_the_archive_has_is_refused_while_that_cannot_be_reached(box: Box) -> None:
    put(box.catalogue, admission("a"))
    away(box.catalogue, "a")
    hear(box.catalogue, "b", {"0020000D": {"vr": "UI", "Value": ["9.9"]}}, SERIES, 7)
    for uid in ("1.2.3", "9.9"):
        with pytest.raises(Offline):
            retrieve(box, Clock(), Down).begin(study(uid))


def test_what_the_archive_has_not_named_is_counted_with_what_is_here(box: Box) -> None:
    put(box.catalogue, admission("a"))
    here(box, "a")
    hear(box.catalogue, "b", STUDY, SERIES, 7)
    box.desk.reason = "The archive says no."
    for reach in (Down, Reach):
        retrieval = retrieve(box, Clock(), reach).begin(study())
        assert (retrieval.total, retrieval.missing) == (1, 7)
    one = Query(Level.IMAGE, {"0020000D": "1.2.3", "00080018": "1.2.3.1.1"})
    box.desk.wanted.clear()
    assert retrieve(box, Clock()).begin(one).missing == 0
    assert box.desk.wanted == []
    two = Query(Level.IMAGE, {"0020000D": "1.2.3", "00080018": "1.2.3.1.1\\1.2.3.1.2"})
    assert retrieve(box, Clock()).begin(two).missing == 1


def test_who_waits_for_a_head_can_leave_and_is_told_how_much_there_may_be(box: Box) -> None:
    class Left(Exception):
        pass

    def meanwhile(known: int) -> None:
        assert known == 8
        raise Left

    put(box.catalogue, admission("a"))
    here(box, "a")
    hear(box.catalogue, "b", STUDY, SERIES, 7)
    with pytest.raises(Left):
        retrieve(box, Clock()).begin(study(), meanwhile=meanwhile)


def test_an_instance_that_is_named_by_its_uid_alone_is_no_reason_to_fetch_every_head(box: Box) -> None:
    put(box.catalogue, admission("a"))
    here(box, "a")
    hear(box.catalogue, "b", {"0020000D": {"vr": "UI", "Value": ["9.9"]}}, [{"0020000E": {"vr": "UI", "Value": ["9.9.1"]}}], 7)
    retrieval = retrieve(box, Clock()).begin(Query(Level.IMAGE, {"0020000D": "", "0020000E": "", "00080018": "1.2.3.1.1"}))
    assert (retrieval.total, retrieval.missing) == (1, 0)
    with pytest.raises(HeadLate):
        retrieve(box, Clock()).begin(Query(Level.IMAGE, {"00080018": "1.2.3.1.7"}))
    assert retrieve(box, Clock()).begin(Query(Level.SERIES, {"0020000E": "1.2.3.1"})).missing == 0
    assert box.desk.wanted == []


def patient(patient_id: str, issuer: str | None = None) -> Query:
    return Query(Level.PATIENT, {"00100020": patient_id} | ({"00100021": issuer} if issuer else {}))


def of_patient(letter: str, number: int, patient_id: str, issuer: str, birth_date: str = "19700101") -> Admission:
    who = {0x00100020: ("LO", patient_id), 0x00100021: ("LO", issuer), 0x00100030: ("DA", birth_date)}
    return admission(letter, study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", more=who)


def test_the_studies_of_a_patient_are_those_of_the_id_and_its_issuer(box: Box) -> None:
    put(
        box.catalogue,
        of_patient("a", 1, "P1", "CLINIC A"),
        of_patient("b", 2, "P1", "CLINIC B"),
        of_patient("c", 3, "P1", "CLINIC A"),
        of_patient("d", 4, "P2", "CLINIC A"),
        of_patient("e", 5, "P3", "CLINIC A"),
        of_patient("f", 6, "P3", "CLINIC A", "19800202"),
    )
    begin = retrieve(box, Clock()).begin
    assert {one.study for one in begin(patient("P1", "CLINIC A")).located} == {"1.1", "1.3"}
    assert {one.study for one in begin(patient("P1", "CLINIC B")).located} == {"1.2"}
    assert {one.study for one in begin(patient("P2")).located} == {"1.4"}
    for several in (patient("P1"), patient("P3"), patient("P3", "CLINIC A")):
        with pytest.raises(SeveralOfOneID, match="Issuer"):
            begin(several)
    assert begin(patient("P1", "CLINIC C")).total == 0
    found = box.finder.find(Query(Level.STUDY, {"00100020": "P1", "00100021": "CLINIC B"}), link_up=True)
    assert [one["0020000D"]["Value"] for one in found] == [["1.2"]]


@pytest.mark.parametrize("patient_id", ["0", "TEST", "unknown"])
def test_an_id_that_devices_use_when_they_know_none_names_no_patient(box: Box, patient_id: str) -> None:
    put(box.catalogue, of_patient("a", 1, patient_id, ""))
    with pytest.raises(NobodyOfOneID, match="by study"):
        retrieve(box, Clock()).begin(patient(patient_id))
    assert retrieve(box, Clock()).begin(study("1.1")).total == 1
