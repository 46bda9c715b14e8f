"""The command set codec against pynetdicom's, and against what must not be believed."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as reference_decode
from pynetdicom.dsutils import encode as reference_encode

from edge.dimse import command
from edge.dimse.command import C_CANCEL_RQ, C_STORE_RQ, NO_DATASET, RESPONSE, BadCommand, Command, answer, decode, encode, store_answer

REQUEST = Command(
    affected_sop_class="1.2.840.10008.5.1.4.1.1.2",
    affected_sop_instance="1.2.3.4.5",
    command_field=C_STORE_RQ,
    message_id=7,
    priority=0,
    dataset_type=1,
    move_originator_ae="MOVER",
    move_originator_message_id=3,
)


def element(tag: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHL", group, tag, len(value)) + value


SOUND = [element(0x0100, b"\x30\0"), element(0x0110, b"\1\0"), element(0x0800, b"\1\1")]


def test_a_command_set_survives_writing_and_reading() -> None:
    assert decode(encode(REQUEST)) == REQUEST


def test_pynetdicom_reads_what_we_write() -> None:
    dataset = reference_decode(BytesIO(encode(REQUEST)), True, True)
    assert dataset.CommandGroupLength == len(encode(REQUEST)) - 12
    assert (dataset.AffectedSOPClassUID, dataset.MessageID, dataset.MoveOriginatorApplicationEntityTitle) == (
        REQUEST.affected_sop_class,
        7,
        "MOVER",
    )


def test_we_read_what_pynetdicom_writes() -> None:
    dataset = Dataset()
    dataset.AffectedSOPClassUID = "1.2.840.10008.1.1"
    dataset.CommandField = 0x8030
    dataset.MessageIDBeingRespondedTo = 9
    dataset.CommandDataSetType = NO_DATASET
    dataset.Status = 0
    encoded = reference_encode(dataset, True, True)
    assert encoded is not None
    found = decode(encoded)
    assert (found.operation, found.number, found.status, found.has_dataset) == (0x8030, 9, 0, False)


def test_the_prepared_store_answer_equals_the_general_one() -> None:
    pdu = store_answer(5, REQUEST, 0xA700)
    expected = encode(answer(REQUEST, 0xA700))
    assert pdu == struct.pack(">BxLLBB", 4, len(expected) + 6, len(expected) + 2, 5, 3) + expected


def test_an_error_comment_is_cut_to_what_its_vr_allows() -> None:
    assert decode(encode(answer(REQUEST, 0xC000, error_comment="x" * 100))).error_comment == "x" * 64


def test_an_offending_element_is_written_as_pynetdicom_reads_it_and_read_as_it_writes_it() -> None:
    written = encode(answer(REQUEST, 0xA900, offending_element=0x0020000D))
    assert reference_decode(BytesIO(written), True, True).OffendingElement == 0x0020000D
    assert decode(written).offending_element == 0x0020000D
    several = element(0x0901, struct.pack("<HHHH", 0x10, 0x20, 0x8, 0x52))
    assert decode(b"".join(SOUND) + several).offending_element == 0x00100020


def test_unknown_elements_of_group_0000_are_skipped() -> None:
    retired = element(0x0001, b"\0\0\0\0")
    assert decode(retired + b"".join(SOUND)).operation == 0x30


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"".join(SOUND)[:-1],
        b"".join(reversed(SOUND)),
        SOUND[0] + SOUND[0] + SOUND[1] + SOUND[2],
        SOUND[0] + SOUND[1] + element(0x0010, b"DOE ", group=0x10),
        element(0x0100, b"\x30\0\0\0") + SOUND[1] + SOUND[2],
        struct.pack("<HHL", 0, 0x0100, 0xFFFFFFFF),
        SOUND[0] + SOUND[2],
        SOUND[1] + SOUND[2],
        SOUND[0] + SOUND[1],
        element(0x0100, b"\x30\x80") + element(0x0120, b"\1\0") + SOUND[2],
        element(0x0100, struct.pack("<H", C_CANCEL_RQ)) + SOUND[1] + SOUND[2],
    ],
    ids=[
        "empty",
        "ends inside a header",
        "ends inside a value",
        "wrong order",
        "an element twice",
        "another group",
        "a long short",
        "claims 4 GiB",
        "no message id",
        "no command field",
        "no dataset type",
        "a response without status",
        "a cancel that cancels nothing",
    ],
)
def test_a_broken_command_set_is_refused(data: bytes) -> None:
    with pytest.raises(BadCommand):
        decode(data)


def test_no_cut_and_no_flipped_byte_raises_anything_but_bad_command() -> None:
    sound = encode(REQUEST)
    for position in range(len(sound)):
        for data in (sound[:position], bytes((*sound[:position], sound[position] ^ 0xFF, *sound[position + 1 :]))):
            try:
                assert decode(data).command_field is not None
            except BadCommand:
                continue


def test_a_malformed_uid_reaches_the_service_that_has_to_answer_it() -> None:
    broken = decode(element(0x0002, b"../../etc\0") + b"".join(SOUND))
    assert broken.affected_sop_class == "../../etc"
    assert command.answer(broken, 0x0117).command_field == 0x30 | RESPONSE
