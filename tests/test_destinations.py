"""edge.destinations: a peer gets what it takes, and what it does not take is told one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.destinations import destination_of
from edge.dimse.requestor import Requestor
from edge.errors import Transient
from edge.model import AETitle, Located, Peer
from tests.dimse.fakes import CT, HERE, MR, PATIENT, RTDOSE, FakePeers, FakeRetrieve, box, instances
from tests.test_routes import ALL, EVERYTHING


def test_a_peer_gets_what_it_takes_and_its_refusals_are_told_one_by_one(tmp_path: Path) -> None:
    held = instances(CT, MR, RTDOSE)
    with box() as there:
        there.peers.peers["OUTPOST"] = there.peers.peers["TEST"]
        peers = FakePeers({"PACS": Peer(AETitle("OUTPOST"), host=HERE, port=there.port)})
        destination = destination_of(ALL, AETitle("OUTPOST"), peers, Requestor(PATIENT))
        told: dict[str, str | None] = {}

        def outcome(located: Located, fault: str | None) -> None:
            told[located.sop_instance] = fault

        destination.send(FakeRetrieve(held).begin(EVERYTHING), outcome)
        assert told == {one.located.sop_instance: None for one in held}
    with pytest.raises(Transient, match="No connection"):
        destination.send(FakeRetrieve(held).begin(EVERYTHING), outcome)
    with pytest.raises(Transient, match="no peer PACS"):
        destination_of(ALL, AETitle("OUTPOST"), FakePeers({}), Requestor(PATIENT)).send(FakeRetrieve(held).begin(EVERYTHING), outcome)
