"""Retrieve by C-MOVE (PS3.4 section C.4.2) as SCP."""

from __future__ import annotations

import math

from edge.audit import Audit
from edge.clock import Clock
from edge.dimse import status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.delivery import Delivery
from edge.dimse.ports import Peers, Retrieve
from edge.dimse.requestor import Requestor
from edge.dimse.suboperations import LATE, PENDING_SECONDS, Account, begin, refuse, tell_final, tell_pending
from edge.errors import Exhausted
from edge.model import parse_ae_title

_CANCEL_SECONDS = 0.7


def respond(
    association: Association, message: Message, caller: Caller, retrieve: Retrieve, peers: Peers, requestor: Requestor, audit: Audit
) -> None:
    """Send what matches to a destination of the peer table, and tell the mover how it goes until it is done or cancelled."""
    title = parse_ae_title(message.command.move_destination or "")
    destination = peers.destination(title) if title is not None else None
    with Account(audit, caller, "C-MOVE", title or "") as account:
        if destination is None or not destination.host:
            association.drain()
            comment = "Move Destination unknown: it is not in the peer table"
            refuse(association, message, status.DESTINATION_UNKNOWN, comment, account)
            return
        until = requestor.clock.monotonic() + (caller.peer.retrieve_limit_seconds or math.inf)
        retrieval = begin(association, message, retrieve, destination.send_skip_sop_classes, account, requestor.clock, until)
        if retrieval is None:
            return
        try:
            request = message.command
            originator = association.calling_ae, request.number
            try:
                delivery = Delivery(retrieval, destination, requestor, association.called_ae, originator, request.priority)
            except Exhausted as fault:
                refuse(association, message, status.of_error(status.Service.RETRIEVE, fault), str(fault), account)
                return
            try:
                _accompany(association, message, delivery, account, until - _CANCEL_SECONDS, requestor.clock)
            finally:
                delivery.interrupt()
                delivery.close()
        finally:
            retrieval.close()


def _accompany(association: Association, message: Message, delivery: Delivery, account: Account, until: float, clock: Clock) -> None:
    """Until it is done, cancelled, or the clock reaches `until`."""
    cancelled = late = False
    while not (cancelled or late):
        patience = max(0.0, min(PENDING_SECONDS, until - clock.monotonic()))
        cancelled = association.cancelled(message.command.number, patience, delivery.done)
        if not cancelled and delivery.is_done():
            tally = delivery.tally()
            tally.fail_rest()
            tell_final(association, message, tally, tally.outcome(), account, delivery.fault)
            return
        late = clock.monotonic() >= until
        if not (cancelled or late):
            tell_pending(association, message, delivery.tally())
    delivery.cancel()
    delivery.is_done(_CANCEL_SECONDS)
    tally = delivery.tally()
    if cancelled:
        tell_final(association, message, tally, status.CANCELLED, account)
        return
    tally.fail_rest()
    tell_final(association, message, tally, tally.outcome(), account, LATE)
