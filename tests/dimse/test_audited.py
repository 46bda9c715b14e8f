"""Whatever is refused or broken off leaves a line in the audit trail that says why, and nothing of a patient."""

from __future__ import annotations

import struct

import msgspec
import pytest

from edge.audit import AssociationAborted, ContextRefused, Event, OperationRefused, Queried, Refusal, Retrieved, StoreRefused
from edge.dimse.associate import AssociateRequest, ProposedContext, UserInformation, write_request
from edge.dimse.classes import STORAGE_COMMITMENT, STUDY_ROOT
from edge.dimse.command import C_FIND_RQ, C_MOVE_RQ, C_STORE_RQ, N_ACTION_RQ, NO_DATASET, Command, encode
from edge.dimse.pdu import Deadlines
from edge.model import UID
from tests.dimse.fakes import HERE, PATIENT, QUICK, Box, box
from tests.dimse.raw import CT_CLASS, RELEASE, VERIFICATION, pdata, value
from tests.dimse.test_hostile import pdu

EXPLICIT = UID("1.2.840.10008.1.2.1")
CONTEXTS = tuple(
    ProposedContext(1 + 2 * at, UID(uid), (EXPLICIT,)) for at, uid in enumerate((VERIFICATION, CT_CLASS, STUDY_ROOT.find, STUDY_ROOT.move))
)
NAME = "Doe^Jane"
NAMED = struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", len(NAME)) + NAME.encode()


def request(*contexts: ProposedContext) -> bytes:
    return write_request(AssociateRequest("OUTPOST", "TEST", contexts or CONTEXTS, UserInformation(max_data_bytes=16384)))


def message(context: int, data: bytes | None, **fields: object) -> bytes:
    """One message, whose dataset is `data`."""
    command = Command(message_id=7, dataset_type=NO_DATASET if data is None else 1, **fields)  # type: ignore[arg-type]
    return pdata(value(context, 3, encode(command))) + (b"" if data is None else pdata(value(context, 2, data)))


def after(sent: bytes, *, deadlines: Deadlines = PATIENT, asked: bytes = b"") -> list[Event]:
    """What the trail holds of a peer that asks for an association, says this, and hears the answer."""
    with box(deadlines=deadlines) as served:
        with served.connect() as peer:
            peer.sendall(asked or request())
            assert pdu(peer)[0] == 2
            peer.sendall(sent)
            pdu(peer)
        served.server.stop(5)
        assert NAME.encode() not in msgspec.json.encode(served.audit.events)
        return list(served.audit.events)


@pytest.mark.parametrize(
    ("sent", "reason", "detail"),
    [
        (pdata(value(99, 3, b"")), "it broke the DICOM protocol", "presentation context 99 was not accepted"),
        (pdata(value(1, 3, NAMED)), "it broke the DICOM protocol", "out of place in a command set"),
        (message(1, None, command_field=0x8030, responded_message_id=1, status=0), "it broke the DICOM protocol", "nobody waits for"),
        (b"\x09\0\0\0\0\4\0\0\0\0", "it broke the DICOM protocol", "PDU type 9"),
        (b"", "it missed a deadline", "idle for longer than it may"),
        (pdata(value(3, 1, b"")), "it missed a deadline", ""),
    ],
    ids=["a context nobody accepted", "a dataset as a command", "an answer to nothing", "a PDU nobody knows", "silence", "half a message"],
)
def test_an_association_that_is_aborted_is_audited_with_what_broke_it(sent: bytes, reason: str, detail: str) -> None:
    (event,) = after(sent, deadlines=QUICK if "deadline" in reason else PATIENT)
    assert isinstance(event, AssociationAborted)
    assert (event.address, event.calling, event.called, event.reason) == (HERE, ["TEST"], "OUTPOST", reason)
    assert detail in event.detail


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "it missed a deadline"), (b"\1\0\0", "it missed a deadline"), (b"GET / HTTP/1.1\r\n\r\n", "it broke the DICOM protocol")],
    ids=["nothing", "three bytes", "HTTP"],
)
def test_who_never_asks_is_audited_by_address(sent: bytes, reason: str) -> None:
    with box(deadlines=QUICK if "deadline" in reason else PATIENT) as served:
        with served.connect() as peer:
            peer.sendall(sent)
            while pdu(peer)[0]:
                pass
        served.server.stop(5)
        assert [(event.address, event.calling, event.reason) for event in refusals(served)] == [(HERE, [], reason)]


def refusals(served: Box) -> list[Refusal]:
    return [event for event in served.audit.events if isinstance(event, Refusal)]


def test_who_comes_and_goes_without_a_word_is_refused_nothing() -> None:
    with box() as served:
        served.connect().close()
        with served.connect() as peer:
            peer.sendall(request())
            assert pdu(peer)[0] == 2
        served.server.stop(5)
        assert served.audit.events == []


def test_who_has_to_leave_because_too_many_wait_is_audited() -> None:
    with box(total=1, each=16, deadlines=PATIENT) as served:
        waiting = [served.connect() for _ in range(5)]
        assert pdu(waiting[0]) == (0, b"")
        served.server.stop(5)
        for peer in waiting:
            peer.close()
        assert [event.reason for event in refusals(served)] == ["it had not asked for anything, and too many wait"]


@pytest.mark.parametrize(
    ("sent", "operation", "status", "reason"),
    [
        (message(1, NAMED, command_field=N_ACTION_RQ, requested_sop_class=VERIFICATION), "N-ACTION", 0x0211, "for other operations"),
        (message(3, None, command_field=0x0110), "N-GET", 0x0211, "for other operations"),
        (message(1, NAMED, command_field=C_STORE_RQ, affected_sop_class=VERIFICATION), "C-STORE", 0x0211, "for other operations"),
        (message(3, None, command_field=0x7FFF), "7FFF", 0x0211, "for other operations"),
    ],
    ids=["an action on verification", "a get of attributes", "a store on verification", "an operation that is none"],
)
def test_an_operation_that_its_context_does_not_have_is_audited(sent: bytes, operation: str, status: int, reason: str) -> None:
    (event,) = after(sent)
    assert isinstance(event, OperationRefused)
    assert (event.calling, event.operation, event.status) == (["TEST"], operation, status)
    assert reason in event.reason


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (message(3, None, command_field=C_STORE_RQ, affected_sop_class=CT_CLASS, affected_sop_instance="1.2.3"), 0xC000),
        (message(3, NAMED, command_field=C_STORE_RQ, affected_sop_class=CT_CLASS, affected_sop_instance=NAME), 0x0117),
        (message(3, NAMED, command_field=C_STORE_RQ, affected_sop_class="1.2", affected_sop_instance="1.2.3"), 0x0122),
    ],
    ids=["no dataset", "no UID", "another class"],
)
def test_an_instance_that_is_refused_unread_is_audited(sent: bytes, status: int) -> None:
    (event,) = after(sent)
    assert isinstance(event, StoreRefused)
    assert event.status == status


def test_a_query_and_a_retrieve_that_are_refused_say_why_without_what_was_asked() -> None:
    level = struct.pack("<HH2sH", 0x0008, 0x0052, b"CS", len(NAME)) + NAME.encode()
    (asked,) = after(message(5, level + NAMED, command_field=C_FIND_RQ, affected_sop_class=STUDY_ROOT.find))
    assert isinstance(asked, Queried)
    assert (asked.status, asked.keys, asked.reason) == (0xA900, [], "its identifier breaks the information model")
    (moved,) = after(message(7, level, command_field=C_MOVE_RQ, affected_sop_class=STUDY_ROOT.move, move_destination="NOWHERE"))
    assert isinstance(moved, Retrieved)
    assert (moved.state, moved.status, moved.destination) == ("ended", 0xA801, "NOWHERE")
    assert moved.reason == "Move Destination unknown: it is not in the peer table"


def test_contexts_that_are_refused_are_audited_by_reason_with_their_classes() -> None:
    worklist, print_, commit = UID("1.2.840.10008.5.1.4.31"), UID("1.2.840.10008.5.1.1.9"), STORAGE_COMMITMENT
    jpeg = UID("1.2.840.10008.1.2.4.50")
    offered = [(VERIFICATION, EXPLICIT), (worklist, EXPLICIT), (print_, EXPLICIT), (commit, EXPLICIT), (STUDY_ROOT.find, jpeg)]
    contexts = [ProposedContext(1 + 2 * at, UID(uid), (syntax,)) for at, (uid, syntax) in enumerate(offered)]
    events = after(RELEASE, asked=request(*contexts))
    told = [(event.reason, event.classes) for event in events if isinstance(event, ContextRefused)]
    assert told == [
        ("no right: commit", [commit]),
        ("no such service here", [worklist, print_]),
        ("none of its transfer syntaxes may be used", [STUDY_ROOT.find]),
    ]
