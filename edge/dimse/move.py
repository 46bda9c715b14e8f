"""Retrieve by C-MOVE (PS3.4 section C.4.2) as SCP."""

from __future__ import annotations

from edge.dimse import status
from edge.dimse.association import Association, Message
from edge.dimse.delivery import Delivery
from edge.dimse.ports import Peers, Retrieve
from edge.dimse.requestor import Requestor
from edge.dimse.suboperations import PENDING_SECONDS, begin, refuse, tell_final, tell_pending
from edge.model import parse_ae_title

_CANCEL_SECONDS = 0.7


def respond(association: Association, message: Message, retrieve: Retrieve, peers: Peers, requestor: Requestor) -> None:
    """Send what matches to a destination of the peer table, and tell the mover how it goes until it is done or cancelled."""
    title = parse_ae_title(message.command.move_destination or "")
    destination = peers.destination(title) if title is not None else None
    if destination is None or not destination.host:
        association.drain()
        refuse(association, message, status.DESTINATION_UNKNOWN, "Move Destination unknown: it is not in the peer table")
        return
    retrieval = begin(association, message, retrieve)
    if retrieval is None:
        return
    try:
        request = message.command
        originator = association.calling_ae, request.number
        delivery = Delivery(retrieval, destination, requestor, association.called_ae, originator, request.priority)
        try:
            _accompany(association, message, delivery)
        finally:
            delivery.interrupt()
            delivery.close()
    finally:
        retrieval.close()


def _accompany(association: Association, message: Message, delivery: Delivery) -> None:
    while True:
        cancelled = association.cancelled(message.command.number, PENDING_SECONDS, delivery.done)
        if cancelled:
            break
        if delivery.is_done():
            tally = delivery.tally()
            tally.fail_rest()
            tell_final(association, message, tally, tally.outcome(), delivery.fault)
            return
        tell_pending(association, message, delivery.tally())
    delivery.cancel()
    delivery.is_done(_CANCEL_SECONDS)
    tell_final(association, message, delivery.tally(), status.CANCELLED)
