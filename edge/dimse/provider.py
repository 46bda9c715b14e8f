"""The services that an acceptor offers, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from edge.audit import Audit, OperationRefused, StoreRefused
from edge.dimse import command, commitment, find, get, move, status, storage, verification
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import Purpose, purpose
from edge.dimse.command import C_CANCEL_RQ, C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ, N_ACTION_RQ, N_EVENT_REPORT_RQ, RESPONSE
from edge.dimse.ports import Attendance, Commitments, Index, Intake, Peers, Retrieve
from edge.dimse.requestor import Requestor
from edge.model import parse_uid

_OPERATIONS = {
    (Purpose.VERIFICATION, C_ECHO_RQ),
    (Purpose.STORAGE, C_STORE_RQ),
    (Purpose.FIND, C_FIND_RQ),
    (Purpose.MOVE, C_MOVE_RQ),
    (Purpose.GET, C_GET_RQ),
    (Purpose.COMMIT, N_ACTION_RQ),
    (Purpose.COMMIT, N_EVENT_REPORT_RQ),
}


@dataclass(frozen=True, slots=True)
class Provider:
    """Serves one association after the other, or many at once."""

    intake: Intake
    index: Index
    retrieve: Retrieve
    peers: Peers
    requestor: Requestor
    match_limit: int
    audit: Audit
    commitments: Commitments | None = None
    """None = storage commitment is not offered."""

    def serve(self, association: Association, caller: Caller) -> None:
        """Answer until the peer releases. Raises AssociationEnded when it ends otherwise."""
        with self._attend(association, caller) as attendance:
            reporter = None
            if attendance is not None:
                reporter = commitment.Reporter(
                    association, attendance, lambda message: self._respond(association, message, caller, attendance)
                )
            while (message := association.next_message(reporter)) is not None:
                self._respond(association, message, caller, attendance)

    @contextmanager
    def _attend(self, association: Association, caller: Caller) -> Iterator[Attendance | None]:
        """The association takes reports of storage commitment if it has a context for them."""
        purposes = {purpose(context.abstract_syntax) for context in association.contexts.values()}
        if self.commitments is None or Purpose.COMMIT not in purposes:
            yield None
            return
        with closing(self.commitments.attend(caller.calling_ae)) as attendance:
            yield attendance

    def _respond(self, association: Association, message: Message, caller: Caller, attendance: Attendance | None) -> None:
        operation = message.command.operation
        what = purpose(message.context.abstract_syntax)
        if operation == C_CANCEL_RQ:
            return  # what it cancels has been answered already
        if operation & RESPONSE:
            association.protocol_error("a response that nobody waits for")
        if (what, operation) not in _OPERATIONS or (what is Purpose.COMMIT and attendance is None):
            association.drain()
            association.send(message.context, command.answer(message.command, status.UNRECOGNIZED_OPERATION))
            self._record_refusal(message, caller, status.UNRECOGNIZED_OPERATION)
        elif operation != N_EVENT_REPORT_RQ and not message.context.roles.scu:
            # A context that was accepted for what we send on it gives no right to send to us (PS3.7 section D.3.3.4).
            association.drain()
            association.send(message.context, command.answer(message.command, status.NOT_AUTHORIZED))
            self._record_refusal(message, caller, status.NOT_AUTHORIZED)
        elif operation == C_STORE_RQ:
            code = storage.respond(association, message, caller, self.intake)
            if code and not status.is_warning(code):
                self._record_refusal(message, caller, code)
        elif operation == C_ECHO_RQ:
            verification.respond(association, message)
        elif operation == C_FIND_RQ:
            find.respond(association, message, caller, self.index, self.match_limit, self.audit)
        elif operation == C_MOVE_RQ:
            move.respond(association, message, caller, self.retrieve, self.peers, self.requestor, self.audit)
        elif operation == C_GET_RQ:
            get.respond(association, message, caller, self.retrieve, self.requestor.clock, self.audit)
        elif attendance is not None and self.commitments is not None:
            code = commitment.respond(association, message, caller, self.commitments, attendance)
            if code != status.SUCCESS:
                self._record_refusal(message, caller, code)

    def _record_refusal(self, message: Message, caller: Caller, code: int) -> None:
        operation = message.command.operation
        if operation != C_STORE_RQ or purpose(message.context.abstract_syntax) is not Purpose.STORAGE:
            self.audit.record(
                OperationRefused(
                    address=caller.address,
                    reason=status.meaning(code),
                    calling=[caller.calling_ae],
                    called=caller.called_ae,
                    operation=command.name_of(operation),
                    status=code,
                )
            )
            return
        instance = parse_uid(message.command.affected_sop_instance or "")
        self.audit.record(
            StoreRefused(
                address=caller.address,
                reason=status.meaning_in_storage(code),
                calling=[caller.calling_ae],
                called=caller.called_ae,
                status=code,
                instances=[instance] if instance else [],
            )
        )
