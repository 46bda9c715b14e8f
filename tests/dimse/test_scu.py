"""Our services as SCU: against pynetdicom, and against our own server."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
from pynetdicom import AE, evt

from edge.dimse import scu
from edge.dimse.acceptor import Caller
from edge.dimse.associate import Roles
from edge.dimse.association import Association
from edge.dimse.classes import LITTLE_ENDIAN, PATIENT_ROOT, STUDY_ROOT, VERIFICATION
from edge.dimse.faults import AssociationRejected, NoContext, PeerSilent, Unreachable
from edge.dimse.negotiation import propose, storage_proposals
from edge.dimse.outgoing import Stored
from edge.dimse.requestor import Requestor
from edge.model import UID, AETitle, Json, Peer
from tests.dimse.fakes import CT, EVERYTHING, HERE, MR, MR_RLE, PATIENT, QUICK, FakeIntake, Instance, box, instances
from tests.dimse.test_retrieve import destination, same_study

TEST = AETitle("TEST")
QUERY = propose([(sop_class, LITTLE_ENDIAN) for sop_class in (STUDY_ROOT.find, STUDY_ROOT.move, STUDY_ROOT.get, VERIFICATION)])


def outpost(port: int) -> Peer:
    return Peer(AETitle("OUTPOST"), host=HERE, port=port, rights=EVERYTHING)


def study_level(**keys: str) -> Json:
    tags = {"study": "0020000D", "name": "00100010", "series": "0020000E"}
    vrs = {"study": "UI", "name": "PN", "series": "UI"}
    level: Json = {"00080052": {"vr": "CS", "Value": ["STUDY"]}}
    for key, text in keys.items():
        level[tags[key]] = {"vr": vrs[key], "Value": [text]} if text else {"vr": vrs[key]}
    return level


@contextlib.contextmanager
def sent(one: Instance) -> Iterator[Stored]:
    descriptor = os.open(one.path, os.O_RDONLY)
    try:
        yield Stored(descriptor, one.located.dataset_offset, one.located.dataset_length)
    finally:
        os.close(descriptor)


def store(association: Association, one: Instance) -> int:
    located = one.located
    with sent(one) as source:
        return scu.store(association, located.sop_class, located.sop_instance, located.transfer_syntax, source)


def pairs(held: list[Instance]) -> frozenset[tuple[UID, UID]]:
    return frozenset((one.located.sop_class, one.located.transfer_syntax) for one in held)


@pytest.mark.parametrize("max_pdu_bytes", [0, 128, 4096, 16384, 131072], ids=lambda size: f"pdu {size}")
def test_pynetdicom_receives_echo_and_datasets_byte_for_byte_at_every_pdu_size(max_pdu_bytes: int) -> None:
    held = instances(CT, MR, MR_RLE)
    received = {}

    def on_store(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0x0000

    entity = AE("OUTPOST")
    entity.maximum_pdu_size = max_pdu_bytes
    entity.add_supported_context(VERIFICATION)
    for one in held:
        entity.add_supported_context(one.located.sop_class, [one.located.transfer_syntax, *LITTLE_ENDIAN])
    server = entity.start_server((HERE, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        proposals = storage_proposals(pairs(held), min(pairs(held)))
        contexts = propose([*((one.abstract_syntax, one.transfer_syntaxes) for one in proposals), (VERIFICATION, LITTLE_ENDIAN)])
        with Requestor(PATIENT).association(outpost(server.socket.getsockname()[1]), TEST, contexts) as association:
            assert scu.echo(association) == 0
            assert [store(association, one) for one in held] == [0, 0, 0]
    finally:
        server.shutdown()
    assert received == {one.located.sop_instance: one.dataset for one in held}


def test_our_own_server_answers_find() -> None:
    held = instances(CT, MR)
    with box(held) as served, Requestor(PATIENT).association(outpost(served.port), TEST, QUERY) as association:
        found = list(scu.find(association, STUDY_ROOT, study_level(study="", name="")))
        assert {match["0020000D"]["Value"][0] for match in found} == {one.located.study for one in held}
        assert found[0]["00100010"]["Value"] == [{"Alphabetic": "CompressedSamples^CT1"}]
        assert found[0]["00080054"]["Value"] == ["OUTPOST"]


def test_a_find_that_is_closed_early_leaves_the_association_usable() -> None:
    one = instances(CT)[0]
    held = [Instance(one.path, one.located, {**one.attributes, "0020000D": {"vr": "UI", "Value": [f"1.{n}"]}}) for n in range(90)]
    with box(held) as served, Requestor(PATIENT).association(outpost(served.port), TEST, QUERY) as association:
        matches = scu.find(association, STUDY_ROOT, study_level(study=""))
        next(matches)
        matches.close()
        assert scu.echo(association) == 0


def test_a_find_that_fails_raises_with_the_status_and_comment() -> None:
    with box([]) as served, Requestor(PATIENT).association(outpost(served.port), TEST, QUERY) as association:
        with pytest.raises(scu.RequestFailed, match=r"Level \(0008,0052\) is not one"):
            list(scu.find(association, STUDY_ROOT, {"00080052": {"vr": "CS", "Value": ["series"]}}))
        assert scu.echo(association) == 0


def test_our_own_server_moves_to_a_third_party() -> None:
    held = same_study(CT, MR)
    contexts = [(one.located.sop_class, [one.located.transfer_syntax]) for one in held]
    with box(held) as served, destination(served, *contexts) as there:
        with Requestor(PATIENT).association(outpost(served.port), TEST, QUERY) as association:
            *_, final = scu.move(association, STUDY_ROOT, AETitle("DEST"), study_level(study="1.2.3.4"))
            assert (final.status, final.completed, final.failed, final.warning) == (0, 2, 0, 0)
        assert len(there.received) == 2


def test_our_own_server_is_got_from_into_an_intake() -> None:
    held = same_study(CT, MR_RLE)
    intake = FakeIntake()
    caller = Caller(outpost(0), AETitle("OUTPOST"), TEST, HERE)
    stored = storage_proposals(pairs(held), min(pairs(held)))
    contexts = propose([(STUDY_ROOT.get, LITTLE_ENDIAN), *((one.abstract_syntax, one.transfer_syntaxes) for one in stored)])
    roles = {one.located.sop_class: Roles(scu=False, scp=True) for one in held}
    with box(held) as served, Requestor(PATIENT).association(outpost(served.port), TEST, contexts, roles) as association:
        *_, final = scu.get(association, STUDY_ROOT, study_level(study="1.2.3.4"), intake, caller)
        assert (final.status, final.completed) == (0, 2)
    assert [data for _, data in intake.received] == [one.dataset for one in held]


def test_a_rejection_carries_its_reason() -> None:
    with box([]) as served:
        with pytest.raises(AssociationRejected, match="does not know our AE title") as caught:
            Requestor(PATIENT).associate(outpost(served.port), AETitle("NOBODY"), QUERY)
        assert not caught.value.transient


def test_nothing_listens() -> None:
    with pytest.raises(Unreachable, match="No connection"):
        Requestor(QUICK).associate(outpost(1), TEST, QUERY)


def test_a_peer_that_accepts_nothing_is_said_so() -> None:
    entity = AE("OUTPOST")
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server((HERE, 0), block=False)
    try:
        with pytest.raises(NoContext):
            Requestor(PATIENT).associate(outpost(server.socket.getsockname()[1]), TEST, propose([(PATIENT_ROOT.find, LITTLE_ENDIAN)]))
    finally:
        server.shutdown()


def test_a_peer_that_does_not_answer_the_request_is_given_up_at_the_deadline() -> None:
    with socket.create_server((HERE, 0)) as deaf, pytest.raises(PeerSilent):
        Requestor(QUICK).associate(outpost(deaf.getsockname()[1]), TEST, QUERY)
