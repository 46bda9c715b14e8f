"""The services that an acceptor offers, message by message."""

from __future__ import annotations

from dataclasses import dataclass

from edge.dimse import command, find, get, move, status, storage, verification
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import Purpose, purpose
from edge.dimse.command import C_CANCEL_RQ, C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ, RESPONSE
from edge.dimse.ports import Index, Intake, Peers, Retrieve
from edge.dimse.requestor import Requestor

_OPERATIONS = {
    (Purpose.VERIFICATION, C_ECHO_RQ),
    (Purpose.STORAGE, C_STORE_RQ),
    (Purpose.FIND, C_FIND_RQ),
    (Purpose.MOVE, C_MOVE_RQ),
    (Purpose.GET, C_GET_RQ),
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

    def serve(self, association: Association, caller: Caller) -> None:
        """Answer until the peer releases. Raises AssociationEnded when it ends otherwise."""
        while (message := association.next_message()) is not None:
            self._respond(association, message, caller)

    def _respond(self, association: Association, message: Message, caller: Caller) -> None:
        operation = message.command.operation
        what = purpose(message.context.abstract_syntax)
        if operation == C_CANCEL_RQ:
            return  # what it cancels has been answered already
        if operation & RESPONSE:
            association.protocol_error("a response that nobody waits for")
        if (what, operation) not in _OPERATIONS:
            association.drain()
            association.send(message.context, command.answer(message.command, status.UNRECOGNIZED_OPERATION))
        elif operation == C_STORE_RQ:
            storage.respond(association, message, caller, self.intake)
        elif operation == C_ECHO_RQ:
            verification.respond(association, message)
        elif operation == C_FIND_RQ:
            find.respond(association, message, self.index, self.match_limit)
        elif operation == C_MOVE_RQ:
            move.respond(association, message, self.retrieve, self.peers, self.requestor)
        else:
            get.respond(association, message, self.retrieve, self.requestor.clock)
