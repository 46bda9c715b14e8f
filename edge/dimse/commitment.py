"""Storage Commitment Push Model (PS3.4 annex J): requests that we take and make, reports that we make and take."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.dataset.charset import CharacterSet
from edge.dimse import identifier, status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import LITTLE_ENDIAN, STORAGE_COMMITMENT
from edge.dimse.command import N_ACTION_RQ, N_EVENT_REPORT_RQ, RESPONSE, Command, answer
from edge.dimse.faults import NoContext
from edge.dimse.identifier import BadIdentifier
from edge.dimse.negotiation import Context
from edge.dimse.ports import Attendance, CommitmentReport, CommitmentRequest, Commitments, Reference
from edge.errors import OutpostError
from edge.model import UID, AETitle, Json, parse_ae_title, parse_uid

_log = logging.getLogger(__name__)

CONTEXTS = ((STORAGE_COMMITMENT, LITTLE_ENDIAN),)
MAX_DATASET_BYTES = 8 << 20
"""Some 60,000 references."""
_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""The one instance of the SOP class (PS3.4 section J.3.5)."""
_REQUEST_COMMITMENT, _COMPLETE, _FAILURES_EXIST = 1, 1, 2
_TRANSACTION, _RETRIEVE_AE, _REFERENCES, _FAILED = "00081195", "00080054", "00081199", "00081198"
_CLASS, _SOP_INSTANCE, _REASON = "00081150", "00081155", "00081197"
_WITH_DATASET = 0x0001
_MAX_REASON = 0xFFFF


def respond(association: Association, message: Message, caller: Caller, commitments: Commitments, attendance: Attendance) -> int:
    """Answer an N-ACTION or an N-EVENT-REPORT, and return the status."""
    if message.command.operation == N_ACTION_RQ:
        return _take_request(association, message, caller, commitments, attendance)
    return take_report(association, message, caller.calling_ae, commitments)


def take_report(association: Association, message: Message, calling_ae: AETitle, commitments: Commitments) -> int:
    """Answer an N-EVENT-REPORT, by which an archive answers a request of ours, and return the status."""
    request = message.command
    code = _unsound(request.affected_sop_class, request.affected_sop_instance, request)
    if code == status.SUCCESS and request.event_type_id not in {_COMPLETE, _FAILURES_EXIST}:
        code = status.NO_SUCH_EVENT
    data = association.collect(MAX_DATASET_BYTES)
    comment = None
    if code == status.SUCCESS:
        try:
            if not commitments.heard(calling_ae, read_report(_whole(data), message.context.transfer_syntax)):
                code, comment = status.INVALID_ARGUMENT, "This transaction was not asked for here"
        except OutpostError as fault:
            code, comment = status.of_error(status.Service.COMMIT, fault), str(fault)
    _log_refusal(calling_ae, code, comment)
    association.send(message.context, answer(request, code, error_comment=comment, event_type_id=request.event_type_id))
    return code


def _take_request(association: Association, message: Message, caller: Caller, commitments: Commitments, attendance: Attendance) -> int:
    request = message.command
    code = _unsound(request.requested_sop_class, request.requested_sop_instance, request)
    if code == status.SUCCESS and request.action_type_id != _REQUEST_COMMITMENT:
        code = status.NO_SUCH_ACTION
    data = association.collect(MAX_DATASET_BYTES)
    comment = None
    if code == status.SUCCESS:
        try:
            transaction, references = read_request(_whole(data), message.context.transfer_syntax)
            commitments.request(CommitmentRequest(transaction, references, caller.calling_ae, caller.called_ae), attendance)
        except OutpostError as fault:
            code, comment = status.of_error(status.Service.COMMIT, fault), str(fault)
    _log_refusal(caller.calling_ae, code, comment)
    association.send(message.context, answer(request, code, error_comment=comment, action_type_id=request.action_type_id))
    return code


def _log_refusal(calling_ae: AETitle, code: int, comment: str | None) -> None:
    if code != status.SUCCESS:
        _log.warning("storage commitment of %s was refused with %04X: %s", calling_ae, code, comment)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Gives reports on an association that a peer keeps open. What the peer asks meanwhile goes to `otherwise`."""

    association: Association
    attendance: Attendance
    otherwise: Callable[[Message], None]

    @property
    def descriptor(self) -> int:
        return self.attendance.descriptor

    def answer(self) -> bool:
        report = self.attendance.take()
        if report is None:
            return False
        self.attendance.settle(report, give(self.association, report, self.otherwise))
        return True


def give(association: Association, report: CommitmentReport, otherwise: Callable[[Message], None] | None = None) -> int:
    """N-EVENT-REPORT; the status. A request of the peer that crosses it goes to `otherwise`, or breaks the protocol."""
    context = _context(association)
    request = Command(
        affected_sop_class=STORAGE_COMMITMENT,
        affected_sop_instance=_INSTANCE,
        command_field=N_EVENT_REPORT_RQ,
        message_id=association.new_message_id(),
        event_type_id=_FAILURES_EXIST if report.failed else _COMPLETE,
        dataset_type=_WITH_DATASET,
    )
    association.send(context, request, write_report(report, context.transfer_syntax))
    return _await(association, request, otherwise)


def ask(association: Association, transaction: UID, references: tuple[Reference, ...]) -> int:
    """N-ACTION as SCU; the status. The report comes later, here or on an association of the peer's."""
    context = _context(association)
    request = Command(
        requested_sop_class=STORAGE_COMMITMENT,
        requested_sop_instance=_INSTANCE,
        command_field=N_ACTION_RQ,
        message_id=association.new_message_id(),
        action_type_id=_REQUEST_COMMITMENT,
        dataset_type=_WITH_DATASET,
    )
    association.send(context, request, write_request(transaction, references, context.transfer_syntax))
    return _await(association, request, None)


def read_request(data: bytes, transfer_syntax: UID) -> tuple[UID, tuple[Reference, ...]]:
    """The Action Information (PS3.4 table J.3-1): the transaction, and at least one instance. Raises BadIdentifier."""
    dataset = identifier.decode(data, transfer_syntax)
    references = tuple(one for one, _ in _items(dataset, _REFERENCES))
    if not references:
        raise BadIdentifier("The Referenced SOP Sequence (0008,1199) is missing or empty.")
    return _transaction(dataset), tuple(dict.fromkeys(references))


def write_request(transaction: UID, references: tuple[Reference, ...], transfer_syntax: UID) -> bytes:
    """The same, to ask with."""
    dataset: Json = {
        _TRANSACTION: {"vr": "UI", "Value": [transaction]},
        _REFERENCES: {"vr": "SQ", "Value": [_item(one) for one in references]},
    }
    return identifier.encode(dataset, transfer_syntax, CharacterSet())


def read_report(data: bytes, transfer_syntax: UID) -> CommitmentReport:
    """The Event Information (PS3.4 table J.3-2). Raises BadIdentifier."""
    dataset = identifier.decode(data, transfer_syntax)
    committed = tuple(one for one, _ in _items(dataset, _REFERENCES))
    failed = tuple((one, _reason(item)) for one, item in _items(dataset, _FAILED))
    return CommitmentReport(_transaction(dataset), committed, failed, parse_ae_title(_text(dataset, _RETRIEVE_AE)))


def write_report(report: CommitmentReport, transfer_syntax: UID) -> bytes:
    """The same, to report with."""
    dataset: Json = {_TRANSACTION: {"vr": "UI", "Value": [report.transaction]}}
    if report.committed:
        dataset[_RETRIEVE_AE] = {"vr": "AE", "Value": [report.retrieve_ae]}
        dataset[_REFERENCES] = {"vr": "SQ", "Value": [_item(one) for one in report.committed]}
    if report.failed:
        failed = [_item(one) | {_REASON: {"vr": "US", "Value": [reason]}} for one, reason in report.failed]
        dataset[_FAILED] = {"vr": "SQ", "Value": failed}
    return identifier.encode(dataset, transfer_syntax, CharacterSet())


def _await(association: Association, request: Command, otherwise: Callable[[Message], None] | None) -> int:
    while True:
        message = association.answer()
        command = message.command
        if command.operation == request.operation | RESPONSE and command.number == request.message_id:
            association.drain()
            return command.status or 0
        if otherwise is None or command.operation & RESPONSE:
            association.protocol_error("an answer to something else")
        otherwise(message)


def _context(association: Association) -> Context:
    for context in association.contexts.values():
        if context.abstract_syntax == STORAGE_COMMITMENT:
            return context
    raise NoContext


def _unsound(sop_class: str | None, sop_instance: str | None, request: Command) -> int:
    """PS3.7 sections 10.1.1.1.8 and 10.1.4.1.10, for what names another object than the one there is."""
    if sop_class != STORAGE_COMMITMENT:
        return status.NO_SUCH_CLASS
    if sop_instance != _INSTANCE:
        return status.NO_SUCH_INSTANCE
    return status.SUCCESS if request.has_dataset else status.INVALID_ARGUMENT


def _whole(data: bytes | None) -> bytes:
    if data is None:
        raise BadIdentifier(f"The dataset has more than {MAX_DATASET_BYTES} bytes.")
    return data


def _transaction(dataset: Json) -> UID:
    uid = _uid(dataset, _TRANSACTION)
    if uid is None:
        raise BadIdentifier("The Transaction UID (0008,1195) is missing or malformed.")
    return uid


def _items(dataset: Json, sequence: str) -> Iterator[tuple[Reference, Json]]:
    element = dataset.get(sequence, {})
    for item in (element.get("Value") or ()) if element.get("vr") == "SQ" else ():
        sop_class, sop_instance = _uid(item, _CLASS), _uid(item, _SOP_INSTANCE)
        if sop_class is None or sop_instance is None:
            raise BadIdentifier("An item names no SOP class or no SOP instance.")
        yield Reference(sop_class, sop_instance), item


def _reason(item: Json) -> int:
    values = item.get(_REASON, {}).get("Value") or [status.PROCESSING_FAILURE]
    return values[0] if isinstance(values[0], int) and 0 <= values[0] <= _MAX_REASON else status.PROCESSING_FAILURE


def _uid(dataset: Json, tag: str) -> UID | None:
    return parse_uid(_text(dataset, tag))


def _text(dataset: Json, tag: str) -> str:
    values = dataset.get(tag, {}).get("Value") or [""]
    return str(values[0] or "")


def _item(reference: Reference) -> Json:
    return {_CLASS: {"vr": "UI", "Value": [reference.sop_class]}, _SOP_INSTANCE: {"vr": "UI", "Value": [reference.sop_instance]}}
