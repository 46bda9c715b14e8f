"""edge.outreach: what is done at other application entities, against our own server on fakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from edge.audit import Sent
from edge.config import Config
from edge.control import errands
from edge.dimse.requestor import Requestor
from edge.errors import Refused
from edge.model import AETitle, Peer
from edge.outreach import Outreach
from tests.dimse.fakes import CT, HERE, MR, MR_RLE, PATIENT, Box, FakeAudit, FakeIndex, FakeIntake, FakePeers, FakeRetrieve, box
from tests.dimse.test_retrieve import same_study

STUDY = "1.2.3.4"


class NobodySeeks:
    """Storage commitment has tests of its own."""


@pytest.fixture
def there() -> Iterator[Box]:
    """An archive that holds one study, and knows us and where we listen."""
    with box(same_study(CT, MR, MR_RLE)) as served:
        served.peers.peers["OUTPOST"] = served.peers.peers["TEST"]
        yield served


def outreach(there: Box, *held: str) -> tuple[Outreach, FakeIntake]:
    intake = FakeIntake()
    return reaching(there, FakeRetrieve(same_study(*held) if held else []), intake), intake


def reaching(there: Box, retrieve: FakeRetrieve, intake: FakeIntake) -> Outreach:
    peers = FakePeers({"OUTPOST": Peer(AETitle("OUTPOST"), host=HERE, port=there.port)})
    return Outreach(Config(), peers, FakeIndex([]), retrieve, intake, NobodySeeks(), Requestor(PATIENT), FakeAudit())


def test_a_peer_is_verified(there: Box) -> None:
    (echoed,) = outreach(there)[0].run(errands.EchoPeer(ae_title="OUTPOST"), 0)
    assert isinstance(echoed, errands.Echoed)
    assert echoed.milliseconds > 0


@pytest.mark.parametrize("ae_title", ["NOBODY", "A\\B", ""])
def test_who_is_no_peer_is_not_called(there: Box, ae_title: str) -> None:
    with pytest.raises(Refused, match="no peer"):
        list(outreach(there)[0].run(errands.EchoPeer(ae_title=ae_title), 0))


def test_a_study_is_stored_there_and_the_counts_say_so(there: Box) -> None:
    ours, _ = outreach(there, CT, MR_RLE)
    *_, final = ours.run(errands.SendStudy(study=STUDY, ae_title="OUTPOST"), 1000)
    assert ours._audit.events == [Sent(by="user 1000", destination="OUTPOST", study=STUDY, completed=2, failed=0)]
    assert (final.total, final.completed, final.failed, final.fault) == (2, 2, 0, None)
    arrivals = [arrival for arrival, _ in there.intake.received]
    assert {arrival.calling_ae for arrival in arrivals} == {"OUTPOST"}
    assert [data for _, data in there.intake.received] == [one.dataset for one in same_study(CT, MR_RLE)]


def test_an_errand_that_is_closed_early_is_broken_off(there: Box) -> None:
    retrieve = FakeRetrieve(same_study(CT, MR), gate=threading.Semaphore(0))
    running = reaching(there, retrieve, FakeIntake()).run(errands.SendStudy(study=STUDY, ae_title="OUTPOST"), 0)
    with closing(running):
        assert next(running).completed == 0
    assert retrieve.closed == 1


def test_what_is_not_here_is_not_sent(there: Box) -> None:
    with pytest.raises(Refused, match="no such study"):
        list(outreach(there, CT)[0].run(errands.SendStudy(study="1.9.9", ae_title="OUTPOST"), 0))
    with pytest.raises(Refused, match="no UID"):
        list(outreach(there, CT)[0].run(errands.SendStudy(study="study", ae_title="OUTPOST"), 0))


def test_a_query_by_keyword_and_by_tag_returns_what_the_level_has(there: Box) -> None:
    query = errands.QueryPeer(ae_title="OUTPOST", level="study", keys={"PatientName": "Comp*", "0008,0020": ""})
    (match,) = outreach(there)[0].run(query, 0)
    assert isinstance(match, errands.Match)
    assert match.attributes["0020000D"]["Value"] == [STUDY]
    assert there.index.queries[-1].matching == {"00100010": "Comp*"}


@pytest.mark.parametrize(("key", "text"), [("Nonsense", "1"), ("ReferencedStudySequence", "1"), ("Rows", "many")])
def test_a_key_that_cannot_be_is_refused_before_anybody_is_called(there: Box, key: str, text: str) -> None:
    with pytest.raises(Refused, match=key):
        list(outreach(there)[0].run(errands.QueryPeer(ae_title="OUTPOST", level="study", keys={key: text}), 0))
    assert there.index.queries == []


@pytest.mark.parametrize("way", ["", "get"])
def test_a_study_is_got_as_it_is_stored(there: Box, way: str) -> None:
    running, intake = outreach(there)
    *_, final = running.run(errands.RetrieveStudy(ae_title="OUTPOST", study=STUDY, way=way), 0)
    assert (final.way, final.completed, final.failed) == ("get", 3, 0)
    assert [data for _, data in intake.received] == [one.dataset for one in same_study(CT, MR, MR_RLE)]
    assert {arrival.calling_ae for arrival, _ in intake.received} == {"OUTPOST"}


def test_a_study_is_moved_to_us_by_who_knows_us(there: Box) -> None:
    with box() as ours:
        there.peers.peers["OUTPOST"] = Peer(AETitle("OUTPOST"), host=HERE, port=ours.port, rights=frozenset({"move", "find"}))
        ours.peers.peers["OUTPOST"] = Peer(AETitle("OUTPOST"))
        *_, final = outreach(there)[0].run(errands.RetrieveStudy(ae_title="OUTPOST", study=STUDY), 0)
        assert (final.way, final.completed) == ("move", 3)
        assert len(ours.intake.received) == 3


def test_what_the_peer_does_not_hold_comes_as_nothing(there: Box) -> None:
    running, intake = outreach(there)
    *_, final = running.run(errands.RetrieveStudy(ae_title="OUTPOST", study="1.9.9"), 0)
    assert (final.completed, final.failed, intake.received) == (0, 0, [])
