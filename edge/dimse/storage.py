"""Storage (PS3.4 annex B) as SCP: dataset fragments go to the intake as they arrive; success leaves after it says durable."""

from __future__ import annotations

import logging

from edge.dimse import status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.command import answer, store_answer
from edge.dimse.faults import AssociationEnded
from edge.dimse.ports import Arrival, Intake
from edge.errors import OutpostError
from edge.model import UID, parse_uid

_log = logging.getLogger(__name__)


def respond(association: Association, message: Message, caller: Caller, intake: Intake) -> int:
    """Receive one instance, answer, and return the status. A refused instance is read to its end, so the association goes on."""
    request = message.command
    sop_class = parse_uid(request.affected_sop_class or "")
    sop_instance = parse_uid(request.affected_sop_instance or "")
    if sop_class is None or sop_instance is None or not request.has_dataset or sop_class != message.context.abstract_syntax:
        association.drain()
        return _refuse(association, message, sop_class, sop_instance)
    syntax = message.context.transfer_syntax
    arrival = Arrival(sop_class, sop_instance, syntax, caller.calling_ae, caller.called_ae, caller.address, caller.peer)
    code = _receive(association, arrival, intake)
    association.send_pdu(store_answer(message.context.context_id, request, code))
    return code


def _receive(association: Association, arrival: Arrival, intake: Intake) -> int:
    try:
        reception = intake.begin(arrival)
        committed = False
        try:
            for fragment in association.dataset():
                reception.write(fragment)
            outcome = reception.commit()
            committed = True
        finally:
            if not committed:
                reception.abort()
        return status.of_outcome(outcome, arrival.peer)
    except AssociationEnded:
        raise
    except OutpostError as fault:
        association.drain()
        code = status.of_error(status.Service.STORE, fault)
        _log.warning("refused an instance from %s with %04X: %s", arrival.calling_ae, code, fault)
        return code


def _refuse(association: Association, message: Message, sop_class: UID | None, sop_instance: UID | None) -> int:
    """PS3.7 section 9.1.1.1.9 for a command set that names no instance of the context's SOP class."""
    if sop_class != message.context.abstract_syntax:
        code, comment = status.SOP_CLASS_NOT_SUPPORTED, "Affected SOP Class is not that of the presentation context"
    elif sop_instance is None:
        code, comment = status.INVALID_SOP_INSTANCE, "Affected SOP Instance UID is no UID"
    else:
        code, comment = status.CANNOT_UNDERSTAND, "C-STORE without a dataset"
    association.send(message.context, answer(message.command, code, error_comment=comment))
    return code
