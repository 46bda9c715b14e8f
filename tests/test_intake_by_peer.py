"""What the row of a peer changes in what is taken in from it."""

from __future__ import annotations

from pathlib import Path

from edge.dataset.walk import EXPLICIT_LE
from edge.dimse.ports import Arrival
from edge.model import UID, AETitle, Level, Peer, Query, Urgency
from tests.dataset.datasets import CT, dataset
from tests.test_intake import INSTANCE, Box


def test_what_a_peer_sends_is_of_its_class_unless_it_calls_the_urgent_title(tmp_path: Path) -> None:
    box = Box(tmp_path)
    peer = Peer(AETitle("CT99"), urgency=Urgency.BACKGROUND)
    for called, urgency in (("OUTPOST", Urgency.BACKGROUND), ("OUTPOST_STAT", Urgency.STAT)):
        arrival = Arrival(UID(CT), UID(INSTANCE), UID(EXPLICIT_LE), peer.ae_title, AETitle(called), "10.0.0.8", peer)
        assert box.intake.urgency(arrival) is urgency
    box.catalogue.close()


def test_what_comes_without_an_issuer_of_the_patient_id_has_that_of_its_peer(tmp_path: Path) -> None:
    box = Box(tmp_path, issuer_of={"CT99": "CLINIC"}.__getitem__)
    box.store(dataset())
    (answer,) = box.catalogue.find(Query(Level.STUDY, {}), link_up=True)
    assert answer["00100021"]["Value"] == ["CLINIC"]
    named = dataset(instance="1.2.3.9.1", study="1.2.3.9", more={0x00100021: ("LO", b"ELSEWHERE ")})
    box.store(named, "1.2.3.9.1")
    issuers = {answer["00100021"]["Value"][0] for answer in box.catalogue.find(Query(Level.PATIENT, {}), link_up=True)}
    assert issuers == {"CLINIC", "ELSEWHERE"}
    box.catalogue.close()
