"""edge.facts: what cloudsync says is applied once, whole and in order, or read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Corrupt
from edge.facts import Facts
from edge.journal import Ack, Held, JournalReader, JournalWriter, Link, RecallFailed
from edge.link import LinkState
from edge.model import Json
from edge.refusals import Refusals
from edge.store.catalogue import Catalogue
from edge.wall import Gate
from tests.store.rows import pack_id

STUDY: Json = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
SERIES: list[Json] = [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}]


class Desk:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def arrived(self, pack: str, number: int, digest: str, size: int) -> None:
        self.told.append(("arrived", pack))

    def failed(self, pack: str, reason: str, final: bool) -> None:
        self.told.append(("failed", pack))

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
        self.facts = Facts(Gate(self.state / "facts"), self.catalogue, self.asks, self.desk, self.settled.append, Refusals())

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


def test_facts_that_were_applied_are_not_applied_again_after_a_start(edge: EdgeSide) -> None:
    edge.cloudsync.append(held("a"))
    assert edge.facts.apply()
    edge.catalogue.close()
    edge.start()
    assert not edge.facts.apply()
    assert edge.settled == [pack_id("a")]


def test_nothing_of_a_batch_that_cannot_be_committed_is_passed_over(edge: EdgeSide) -> None:
    edge.cloudsync.append(link("up"), held("a", study={}), held("b"))
    for _ in range(2):
        with pytest.raises(Corrupt, match="no study or series instance UID"):
            edge.facts.apply()
    edge.cloudsync.append(held("c"))
    with pytest.raises(Corrupt):
        edge.facts.apply()
    assert edge.catalogue.figure("facts_upto") == 0
    assert edge.catalogue.link() is None
    assert edge.settled == []
    assert edge.acknowledged() == []


def test_an_acknowledgement_alone_is_not_acknowledged(edge: EdgeSide) -> None:
    edge.cloudsync.append(Ack(upto=0))
    assert edge.facts.apply()
    assert edge.acknowledged() == []
