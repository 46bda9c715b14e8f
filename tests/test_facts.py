"""edge.facts: what cloudsync says is applied once, whole and in order, or read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge import status
from edge.errors import Corrupt
from edge.facts import Facts
from edge.journal import (
    Ack,
    Allowance,
    AsksUnread,
    Damaged,
    Entry,
    Fact,
    Follows,
    Held,
    Here,
    Link,
    Progress,
    RecallFailed,
    Restate,
    Unread,
    decode,
    encode,
)
from edge.journalfiles import JournalReader, JournalWriter
from edge.keptlines import MOST
from edge.link import LinkState
from edge.model import Json, PackId
from edge.refusals import Refusals
from edge.store.catalogue import Catalogue
from edge.unread import UnreadFacts, fault_of
from edge.wall import Gate
from tests.floor.test_journal import EXAMPLES
from tests.store.rows import pack_id

STUDY: Json = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
SERIES: list[Json] = [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}]


def nested(times: int) -> Json:
    """Sequences within a sequence."""
    inside: Json = {}
    for _ in range(times):
        inside = {"00081110": {"vr": "SQ", "Value": [inside]}}
    return inside


class Desk:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def arrived(self, pack: str, number: int, digest: str, size: int) -> None:
        self.told.append(("arrived", pack))

    def failed(self, pack: str, reason: str, final: bool) -> None:
        self.told.append(("failed", pack))

    def heard_news(self, pack: str) -> None:
        self.told.append(("heard news", pack))

    def heard(self, pack: str) -> None:
        self.told.append(("heard", pack))


class EdgeSide:
    """The catalogue and what it hears; `cloudsync` writes the facts."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.cloudsync = JournalWriter(state / "facts")
        self.asks = JournalWriter(state / "asks")
        self.desk = Desk()
        self.settled: list[str] = []
        self.start()

    def start(self) -> None:
        self.catalogue = Catalogue(self.state / "catalogue.db")
        self.facts = Facts(
            Gate(self.state / "facts"),
            self.catalogue,
            self.asks,
            self.desk,
            self.settled.append,
            UnreadFacts(self.state / "unread"),
            Refusals(),
        )

    def acknowledged(self) -> list[int]:
        return [entry.upto for entry in JournalReader(Gate(self.state / "asks"), 0).read() if isinstance(entry, Ack)]

    def close(self) -> None:
        self.catalogue.close()
        self.cloudsync.close()
        self.asks.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeSide]:
    made = EdgeSide(tmp_path)
    yield made
    made.close()


def held(letter: str, study: Json = STUDY) -> Held:
    return Held(pack=pack_id(letter), held_at=5.0, instances=1, raw_bytes=9, sealed_bytes=7, sha256="0" * 64, study=study, series=SERIES)


def link(state: str) -> Link:
    return Link(
        state=state, since=1.0, goodput_bytes_per_second=0.0, sentence="The archive answers.", answered_at=2.0, sequence=8, said_at=3.0
    )


def test_a_batch_is_committed_then_told_then_acknowledged_once(edge: EdgeSide) -> None:
    edge.cloudsync.append(held("a"), link("up"), RecallFailed(pack=pack_id("b"), parts=[1], reason="gone", final=True))
    assert edge.facts.apply()
    assert not edge.facts.apply()
    state = edge.catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.held, state.here) == (True, "no")
    assert edge.settled == [pack_id("a")]
    assert edge.catalogue.link() == LinkState("up", 1.0, 0.0, "The archive answers.", 2.0, 8, 3.0)
    assert edge.desk.told == [("heard", pack_id("a")), ("failed", pack_id("b"))]
    assert edge.acknowledged() == [3]


@pytest.mark.parametrize("fact", [one for one in EXAMPLES if isinstance(one, Fact)], ids=lambda one: one.__struct_config__.tag)
def test_each_kind_of_fact_is_known_as_one(fact: Entry) -> None:
    assert fault_of(fact) != fault_of(Restate()) == "it is an ask, not a fact"


def test_what_may_go_over_the_link_is_known_after_a_start(edge: EdgeSide) -> None:
    (said,) = [one for one in EXAMPLES if isinstance(one, Allowance)]
    edge.cloudsync.append(said)
    assert edge.facts.apply()
    assert edge.facts.alarms() == []
    edge.catalogue.close()
    edge.start()
    assert decode(1, (edge.catalogue.figure("allowance") or "").encode()) == msgspec.structs.replace(said, seq=1)


def test_a_pack_of_another_site_is_named_as_such_and_never_shipped_from_here(edge: EdgeSide) -> None:
    told = msgspec.structs.replace(held("a"), origin="clinicabcd")
    edge.cloudsync.append(told, Damaged(pack=told.pack, reason="a part is missing"))
    while edge.facts.apply():
        pass
    assert edge.desk.told == [("heard", told.pack)]
    (row,) = edge.catalogue.rows("studies_in_packs", study=None, most=9)
    assert status.study(row, True).origins == ["clinicabcd"]
    edge.catalogue.begin_recall(PackId(told.pack))
    edge.catalogue.set_whole(PackId(told.pack))
    state = edge.catalogue.pack(told.pack)
    assert state is not None
    assert (state.here, state.held) == ("whole", True)
    assert edge.catalogue.rows("next_to_code", since=0.0) == []


def test_the_head_of_news_is_wanted_before_others(edge: EdgeSide) -> None:
    edge.cloudsync.append(msgspec.structs.replace(held("a"), origin="clinicabcd", news=True))
    assert edge.facts.apply()
    assert edge.desk.told == [("heard news", pack_id("a"))]


@pytest.mark.parametrize(
    "study",
    [
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": 5},
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": {"vr": "PN", "Value": ["DOE"]}},
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": 1}]}},
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": {"vr": "LO", "Value": ["DOE"]}},
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00081110": {"vr": "SQ", "Value": [{"00081150": 1}]}},
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "PatientID": {"vr": "LO", "Value": ["1"]}},
        {"0020000D": {"vr": "UI", "Value": {"1.2.3": 1}}},
        {"0020000D": {"vr": "UI", "Value": ["../1"]}},
        STUDY | nested(220),
    ],
)
def test_what_another_site_says_of_a_study_and_is_no_dicom_is_set_aside(edge: EdgeSide, study: Json) -> None:
    edge.cloudsync.append(msgspec.structs.replace(held("a", study), origin="clinicabcd"), held("b"))
    assert edge.facts.apply()
    assert edge.catalogue.pack(pack_id("a")) is None
    assert edge.catalogue.pack(pack_id("b")) is not None
    assert any("set aside" in alarm for alarm in edge.facts.alarms())


def test_a_site_whose_catalog_cannot_be_followed_is_an_alarm_until_it_can(edge: EdgeSide) -> None:
    for site in ("clinicabcd", "clinicefgh"):
        edge.cloudsync.append(Follows(site=site, sequence=2, fault=f"The catalog of site {site} ends."))
    assert edge.facts.apply()
    assert len(edge.facts.alarms()) == 2
    edge.cloudsync.append(Follows(site="clinicabcd", sequence=3, fault=""))
    assert edge.facts.apply()
    assert edge.facts.alarms() == ["The catalog of site clinicefgh ends."]


def test_facts_that_were_applied_are_not_applied_again_after_a_start(edge: EdgeSide) -> None:
    edge.cloudsync.append(held("a"))
    assert edge.facts.apply()
    edge.catalogue.close()
    edge.start()
    assert not edge.facts.apply()
    assert edge.settled == [pack_id("a")]


def spoil(edge: EdgeSide, number: int, line: bytes) -> None:
    """Another line stands at a place in the journal of facts."""
    (path,) = (edge.state / "facts").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line + b"\n"
    path.write_bytes(b"".join(lines))


def asked(edge: EdgeSide) -> list[str]:
    return [type(entry).__name__ for entry in JournalReader(Gate(edge.state / "asks"), 0).read()]


@pytest.mark.parametrize("line", [b"{", b"\xff\x00", b'{"kind":"weather","seq":2}', b'{"kind":"link","seq":2,"state":"up","new_field":1}'])
def test_a_line_that_does_not_parse_is_kept_and_named_and_those_behind_it_are_followed(edge: EdgeSide, line: bytes) -> None:
    edge.cloudsync.append(held("a"), held("b"), held("c"))
    spoil(edge, 2, line)
    assert edge.facts.apply()
    assert not edge.facts.apply()
    assert edge.settled == [pack_id("a"), pack_id("c")]
    assert edge.acknowledged() == [3]
    (alarm,) = edge.facts.alarms()
    assert "fact 2 (it does not parse" in alarm
    assert asked(edge) == ["Restate", "Ack"]  # what it said of holdings is said again
    edge.catalogue.close()
    edge.start()
    edge.facts.begin()
    assert edge.facts.alarms() == [alarm]


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (held("a", study={}), "no study or series instance UID"),
        (Progress(pack="../../etc", confirmed=1, total=2), "names no pack"),
        (Here(pack=pack_id("a"), number=-1, bytes=1, digest="0" * 64), "no digest, or no part"),
        (Restate(), "an ask, not a fact"),
    ],
)
def test_a_fact_that_breaks_a_rule_is_kept_and_named_and_those_behind_it_are_followed(edge: EdgeSide, fact: Entry, reason: str) -> None:
    edge.cloudsync.append(link("up"), fact, held("b"))
    assert edge.facts.apply()
    assert edge.settled == [pack_id("b")]
    (alarm,) = edge.facts.alarms()
    assert "fact 2 (" in alarm
    assert reason in alarm


def test_asks_that_cloudsync_set_aside_are_an_alarm_until_it_says_how_the_link_is_without_them(edge: EdgeSide) -> None:
    edge.cloudsync.append(link("up"), AsksUnread(sentence="Ask 7 was set aside."))
    edge.facts.apply()
    assert edge.facts.alarms() == ["Ask 7 was set aside."]
    edge.cloudsync.append(link("up"), AsksUnread(sentence="Ask 7 was set aside."))
    edge.facts.apply()
    assert edge.facts.alarms() == ["Ask 7 was set aside."]
    edge.cloudsync.append(link("up"))
    edge.facts.apply()
    assert edge.facts.alarms() == []


def test_what_was_set_aside_is_followed_by_a_version_that_knows_it(edge: EdgeSide) -> None:
    edge.cloudsync.append(link("up"))
    edge.facts.apply()
    for seq, fact in enumerate((held("a"), link("down")), 2):
        UnreadFacts(edge.state / "unread").keep(Unread(seq, encode(fact), "an older version did not know it"))
    assert len(edge.facts.alarms()) == 1
    edge.facts.begin()
    assert edge.facts.alarms() == []
    assert edge.settled == [pack_id("a")]
    known = edge.catalogue.link()
    assert known is not None
    assert known.state == "up"


def test_a_missing_line_stops_the_facts_and_is_an_alarm_until_it_is_there(edge: EdgeSide) -> None:
    edge.cloudsync.append(held("a"), held("b"), held("c"))
    (path,) = (edge.state / "facts").iterdir()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2]]))
    for _ in range(2):
        with pytest.raises(Corrupt, match="line 2 is missing"):
            edge.facts.apply()
    assert edge.catalogue.figure("facts_upto") == 0
    assert edge.settled == []
    path.write_bytes(whole)
    assert edge.facts.apply()
    assert edge.settled == [pack_id(letter) for letter in "abc"]


@pytest.mark.asyncio
async def test_facts_that_cannot_be_read_are_an_alarm_as_long_as_that_is_so(edge: EdgeSide) -> None:
    edge.cloudsync.append(held("a"))
    (path,) = (edge.state / "facts").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"seq":1', b'"seq":7'))
    bell = asyncio.Event()
    following = asyncio.create_task(edge.facts.follow(bell, 60.0))
    while not edge.facts.alarms():
        await asyncio.sleep(0.01)
    assert "line 1 is missing" in edge.facts.alarms()[0]
    path.write_bytes(whole)
    bell.set()
    while edge.facts.alarms():
        await asyncio.sleep(0.01)
    assert edge.settled == [pack_id("a")]
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


def test_too_many_that_cannot_be_followed_stop_the_facts(tmp_path: Path) -> None:
    unread = UnreadFacts(tmp_path / "unread")
    for seq in range(MOST):
        unread.keep(Unread(seq, b"?", "it does not parse"))
    with pytest.raises(Corrupt, match="more than 1000 facts"):
        unread.keep(Unread(MOST, b"?", "it does not parse"))
    (alarm,) = unread.alarms()
    assert "and 997 more" in alarm


def test_an_acknowledgement_alone_is_not_acknowledged(edge: EdgeSide) -> None:
    edge.cloudsync.append(Ack(upto=0))
    assert edge.facts.apply()
    assert edge.acknowledged() == []
