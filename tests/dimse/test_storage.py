"""C-STORE as SCP, with pynetdicom as SCU."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation

from edge.dimse import command as commands
from edge.dimse.associate import AssociateRequest, ProposedContext, UserInformation, read_answer, write_request
from edge.dimse.command import C_STORE_RQ, Command
from edge.dimse.ports import Outcome
from edge.errors import OutpostError, StoreFailed, StoreFull
from edge.model import UID, AETitle, Peer
from tests.dimse.fakes import CT, FILES, HERE, JPEG_LOSSY, MR_JPEGLS, MR_RLE, RTDOSE, Box, box, instances
from tests.dimse.raw import dataset_pdus, pdata, value
from tests.dimse.test_hostile import pdu

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


@contextlib.contextmanager
def associated(served: Box, *contexts: tuple[str, list[str]], **more: object) -> Iterator[Association]:
    entity = AE("TEST")
    entity.dimse_timeout = entity.acse_timeout = entity.network_timeout = 10
    for abstract, syntaxes in contexts:
        entity.add_requested_context(abstract, syntaxes)
    association = entity.associate(HERE, served.port, ae_title="OUTPOST", **more)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


@pytest.mark.parametrize("name", [CT, RTDOSE, MR_RLE, MR_JPEGLS, JPEG_LOSSY, "MR_small_bigendian.dcm"])
def test_a_dataset_arrives_byte_for_byte_in_the_syntax_it_was_sent_in(name: str) -> None:
    (one,) = instances(name)
    with box() as served, associated(served, (one.located.sop_class, [one.located.transfer_syntax])) as association:
        assert association.send_c_store(one.path).Status == 0x0000
        ((arrival, data),) = served.intake.received
    assert data == one.dataset
    assert (arrival.sop_class, arrival.sop_instance, arrival.transfer_syntax) == (
        one.located.sop_class,
        one.located.sop_instance,
        one.located.transfer_syntax,
    )
    assert (arrival.calling_ae, arrival.called_ae, arrival.address) == ("TEST", "OUTPOST", HERE)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.STORED, 0x0000),
        (Outcome.DUPLICATE, 0x0000),
        (Outcome.VARIANT, 0x0000),
        (Outcome.CONTRADICTORY, 0xA900),
        (Outcome.UNIDENTIFIED, 0xC000),
    ],
)
def test_each_outcome_has_its_status(outcome: Outcome, status: int) -> None:
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        served.intake.outcome = outcome
        assert association.send_c_store(FILES / CT).Status == status


def test_a_peer_that_would_resend_for_ever_gets_success_for_what_is_in_quarantine() -> None:
    with box() as served:
        served.peers.peers["TEST"] = dataclasses.replace(served.peers.peers["TEST"], accept_quarantined=True)
        served.intake.outcome = Outcome.UNIDENTIFIED
        with associated(served, (CT_CLASS, [EXPLICIT])) as association:
            assert association.send_c_store(FILES / CT).Status == 0x0000


@pytest.mark.parametrize("step", ["begin", "write", "commit"])
@pytest.mark.parametrize(("fault", "status"), [(StoreFull(), 0xA700), (StoreFailed(), 0x0110)])
def test_a_full_or_failed_store_is_told_and_the_association_goes_on(step: str, fault: OutpostError, status: int) -> None:
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        served.intake.faults[step] = fault
        assert association.send_c_store(FILES / CT).Status == status
        assert len(served.intake.aborted) == (step != "begin")
        assert not served.intake.received
        assert association.send_c_store(FILES / CT).Status == 0x0000


def test_an_aborted_transfer_is_forgotten() -> None:
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        assert association.send_c_store(FILES / CT).Status == 0x0000
        served.intake.ended.clear()
        command = pydicom.Dataset()
        command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = CT_CLASS, "1.2.3"
        command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 5, 0, 1
        encoded = encode(command, True, True)
        assert encoded is not None
        pdv = bytes((1, 3)) + encoded
        half = bytes((1, 0)) + b"\x08\0\x05\0CS\0\0"
        values = b"".join(len(value).to_bytes(4, "big") + value for value in (pdv, half))
        association.dul.socket.send(b"\4\0" + len(values).to_bytes(4, "big") + values)
        association.abort()
        assert served.intake.ended.wait(5)
        assert [arrival.sop_instance for arrival in served.intake.aborted] == ["1.2.3"]


def test_a_private_storage_class_is_stored_and_known_other_classes_are_not_accepted() -> None:
    dataset = pydicom.dcmread(FILES / CT)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.826.0.1.3680043.9.7433.1"
    contexts = [(dataset.SOPClassUID, [EXPLICIT]), ("1.2.840.10008.5.1.4.31", [EXPLICIT]), ("1.2.840.10008.5.1.4.39.1", [EXPLICIT])]
    with box() as served, associated(served, *contexts) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [dataset.SOPClassUID]
        assert [context.result for context in association.rejected_contexts] == [3, 3]
        assert association.send_c_store(dataset).Status == 0x0000


def test_an_unknown_class_that_calls_itself_something_else_is_not_storage() -> None:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid, item.service_class_uid = "1.2.826.0.1.3680043.9.7433.1", "1.2.840.10008.4.1"
    contexts = [(item.sop_class_uid, [EXPLICIT]), (CT_CLASS, [EXPLICIT])]
    with box() as served, associated(served, *contexts, ext_neg=[item]) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [CT_CLASS]


def test_of_one_context_the_syntax_that_loses_least_is_chosen() -> None:
    lossy, lossless = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
    offers = [[lossy, lossless, IMPLICIT, EXPLICIT], [lossy, lossless, IMPLICIT], [lossy, lossless], [lossy]]
    contexts = [("1.2.840.10008.5.1.4.1.1.7", offer) for offer in offers]
    entity = AE("TEST")
    with box() as served:
        for (abstract, offer), expected in zip(contexts, [EXPLICIT, IMPLICIT, lossless, lossy], strict=True):
            entity.requested_contexts = []
            entity.add_requested_context(abstract, offer)
            association = entity.associate(HERE, served.port, ae_title="OUTPOST")
            assert association.accepted_contexts[0].transfer_syntax == [expected]
            association.release()


def test_a_peer_without_the_right_to_store_gets_no_storage_context() -> None:
    with box() as served:
        served.peers.peers["TEST"] = Peer(AETitle("TEST"), rights=frozenset({"find"}))
        with associated(served, (CT_CLASS, [EXPLICIT]), ("1.2.840.10008.1.1", [IMPLICIT])) as association:
            assert [context.result for context in association.rejected_contexts] == [1]
            assert association.send_c_echo().Status == 0x0000


def test_another_operation_on_a_storage_context_is_not_recognized() -> None:
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        query = pydicom.Dataset()
        query.QueryRetrieveLevel = "STUDY"
        association.accepted_contexts[0].abstract_syntax = "1.2.840.10008.5.1.4.1.2.2.1"
        ((status, _),) = list(association.send_c_find(query, "1.2.840.10008.5.1.4.1.2.2.1"))
        assert status.Status == 0x0211
        association.accepted_contexts[0].abstract_syntax = CT_CLASS
        assert association.send_c_store(FILES / CT).Status == 0x0000


def test_a_command_that_names_another_class_or_no_instance_is_answered_and_the_association_goes_on() -> None:
    dataset = pydicom.dcmread(FILES / CT)
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        association.accepted_contexts[0].abstract_syntax = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        assert association.send_c_store(dataset).Status == 0x0122
        association.accepted_contexts[0].abstract_syntax = CT_CLASS
        assert association.send_c_store(FILES / CT).Status == 0x0000
        assert len(served.intake.received) == 1


def test_stores_that_do_not_wait_for_their_answers_are_answered_in_order() -> None:
    held = instances(CT) * 3
    context = ProposedContext(1, UID(CT_CLASS), (UID(EXPLICIT),))
    user = UserInformation(max_data_bytes=16384, operations=(3, 1))
    with box() as served, served.connect() as peer:
        peer.sendall(write_request(AssociateRequest("OUTPOST", "TEST", (context,), user)))
        assert read_answer(memoryview(pdu(peer)[1])).user.operations == (3, 1)
        for number, one in enumerate(held, 1):
            request = Command(
                affected_sop_class=CT_CLASS,
                affected_sop_instance=one.located.sop_instance,
                command_field=C_STORE_RQ,
                message_id=number,
                priority=0,
                dataset_type=1,
            )
            peer.sendall(pdata(value(1, 3, commands.encode(request))) + dataset_pdus(1, one.dataset))
        answers = [commands.decode(pdu(peer)[1][6:]) for _ in held]
        assert [(one.responded_message_id, one.status) for one in answers] == [(1, 0), (2, 0), (3, 0)]
        assert [data for _, data in served.intake.received] == [one.dataset for one in held]
