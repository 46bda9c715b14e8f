"""A-ASSOCIATE items against pynetdicom's codec, and under mutation."""

from __future__ import annotations

import random
import struct

import pytest
from pynetdicom import AE, build_role
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from edge.dimse.associate import (
    AnsweredContext,
    AssociateAnswer,
    AssociateRequest,
    ProposedContext,
    Roles,
    UserIdentity,
    UserInformation,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from edge.dimse.faults import InvalidPdu
from edge.model import UID

CT, FIND = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.2.2.1")
IMPLICIT, EXPLICIT = UID("1.2.840.10008.1.2"), UID("1.2.840.10008.1.2.1")

REQUEST = AssociateRequest(
    called_ae="OUTPOST",
    calling_ae="TEST",
    contexts=(ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(3, FIND, (IMPLICIT,))),
    user=UserInformation(
        max_data_bytes=16384,
        roles={CT: Roles(scu=False, scp=True)},
        operations=(5, 1),
        extended={FIND: b"\1\1"},
        identity=UserIdentity(2, True, b"user", b"secret"),
    ),
)
ANSWER = AssociateAnswer(
    "OUTPOST",
    "TEST",
    (AnsweredContext(1, 0, EXPLICIT), AnsweredContext(3, 3, IMPLICIT)),
    UserInformation(max_data_bytes=131072, operations=(1, 1), roles={CT: Roles(scu=True, scp=True)}),
)


def body(pdu: bytes) -> memoryview:
    assert struct.unpack_from(">L", pdu, 2)[0] == len(pdu) - 6
    return memoryview(pdu)[6:]


def item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(data)) + data


def with_items(*items: bytes) -> memoryview:
    return memoryview(struct.pack(">HH16s16s32x", 1, 0, b"OUTPOST".ljust(16), b"TEST".ljust(16)) + b"".join(items))


def test_request_and_answer_survive_writing_and_reading() -> None:
    assert read_request(body(write_request(REQUEST))) == REQUEST
    assert read_answer(body(write_answer(ANSWER))) == ANSWER


def test_pynetdicom_reads_our_request() -> None:
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(write_request(REQUEST))
    assert (pdu.called_ae_title.strip(), pdu.calling_ae_title.strip()) == ("OUTPOST", "TEST")
    assert [(context.context_id, context.abstract_syntax, context.transfer_syntax) for context in pdu.presentation_context] == [
        (1, CT, [EXPLICIT, IMPLICIT]),
        (3, FIND, [IMPLICIT]),
    ]
    user = pdu.user_information
    assert user is not None
    assert user.maximum_length == 16384
    assert (user.role_selection[CT].scu, user.role_selection[CT].scp) == (0, 1)
    assert user.ext_neg[0].app_info == b"\1\1"
    assert user.user_identity.primary == b"user"
    assert pdu.encode() == write_request(REQUEST)


def test_pynetdicom_reads_our_answer() -> None:
    pdu = A_ASSOCIATE_AC()
    pdu.decode(write_answer(ANSWER))
    assert [(context.context_id, context.result, context.transfer_syntax) for context in pdu.presentation_context] == [
        (1, 0, EXPLICIT),
        (3, 3, IMPLICIT),
    ]
    assert pdu.encode() == write_answer(ANSWER)


def test_we_read_the_request_of_pynetdicom() -> None:
    entity = AE("TEST")
    entity.add_requested_context(CT, [EXPLICIT])
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "TEST", "OUTPOST"
    primitive.presentation_context_definition_list = entity.requested_contexts
    for index, context in enumerate(primitive.presentation_context_definition_list):
        context.context_id = 2 * index + 1
    length, version = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, version.implementation_class_uid = 16382, "1.2.3"
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 8, 2
    extended, common = SOPClassExtendedNegotiation(), SOPClassCommonExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = FIND, b"\1"
    common.sop_class_uid, common.service_class_uid = "1.2.3.4", "1.2.840.10008.4.2"
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.positive_response_requested = 1, b"me", False
    primitive.user_information = [length, version, window, build_role(CT, scp_role=True), extended, common, identity]
    found = read_request(body(A_ASSOCIATE_RQ(primitive).encode()))
    assert found.contexts == (ProposedContext(1, CT, (EXPLICIT,)),)
    assert found.user.max_data_bytes == 16382
    assert found.user.operations == (8, 2)
    assert found.user.roles == {CT: Roles(scu=False, scp=True)}
    assert found.user.extended == {FIND: b"\1"}
    assert found.user.service_classes == {"1.2.3.4": "1.2.840.10008.4.2"}
    assert found.user.identity == UserIdentity(1, False, b"me", b"")


def test_items_of_unrecognized_types_are_skipped() -> None:
    context = item(0x20, bytes((1, 0, 0, 0)) + item(0x30, CT.encode()) + item(0x77, b"new") + item(0x40, EXPLICIT.encode()))
    user = item(0x50, item(0x5F, b"from the future") + item(0x51, struct.pack(">L", 4096)))
    found = read_request(with_items(item(0x99, b"?"), context, user))
    assert found.contexts == (ProposedContext(1, CT, (EXPLICIT,)),)
    assert found.user.max_data_bytes == 4096


@pytest.mark.parametrize(
    "items",
    [
        b"\x10",
        b"\x10\0\xff\xff1.2",
        item(0x20, b"\1\0"),
        item(0x20, bytes((2, 0, 0, 0)) + item(0x30, CT.encode()) + item(0x40, EXPLICIT.encode())),
        item(0x20, bytes((1, 0, 0, 0)) + item(0x30, CT.encode())),
        item(0x20, bytes((1, 0, 0, 0)) + item(0x40, EXPLICIT.encode())),
        item(0x20, bytes((1, 0, 0, 0)) + item(0x30, b"../../etc") + item(0x40, EXPLICIT.encode())),
        2 * item(0x20, bytes((1, 0, 0, 0)) + item(0x30, CT.encode()) + item(0x40, EXPLICIT.encode())),
        item(0x50, item(0x51, b"\0\0")),
        item(0x50, item(0x54, b"\0\x09" + b"1.2.3")),
        item(0x50, item(0x58, b"\1")),
    ],
    ids=[
        "an item ends inside its header",
        "an item claims more than is there",
        "a context ends early",
        "an even context id",
        "no transfer syntax",
        "no abstract syntax",
        "a uid that is a path",
        "a context id twice",
        "a short maximum length",
        "a role that ends inside its uid",
        "an identity that ends early",
    ],
)
def test_a_broken_request_is_an_invalid_pdu(items: bytes) -> None:
    with pytest.raises(InvalidPdu):
        read_request(with_items(items))


def test_no_mutation_raises_anything_but_invalid_pdu() -> None:
    generator = random.Random(8)
    sound = bytes(body(write_request(REQUEST)))
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(68, len(data))] = generator.randrange(256)
        try:
            read_request(memoryview(data)[: generator.randint(68, len(data))])
        except InvalidPdu:
            continue
