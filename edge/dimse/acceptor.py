"""The accepting side of association establishment: who may come in, and to do what."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edge.dimse.associate import AssociateRequest, read_request, write_answer
from edge.dimse.association import Association
from edge.dimse.faults import InvalidPdu
from edge.dimse.negotiation import UNKNOWN_CALLING_AE, Rejection, accept, refusal
from edge.dimse.pdu import reject_pdu
from edge.dimse.ports import Peers
from edge.dimse.states import Event
from edge.model import AETitle, Peer, parse_ae_title

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is on the other side of an accepted association."""

    peer: Peer
    calling_ae: AETitle
    called_ae: AETitle
    address: str


def admit(association: Association, address: str, titles: frozenset[AETitle], peers: Peers) -> Caller | None:
    """Take the request and answer it; None when it was rejected, and the association is over.

    The request must be whole within the request deadline. Nothing is allocated for the peer before it is accepted.
    """
    association.machine.on(Event.TRANSPORT_INDICATED)
    _, body = association.arrival(association.deadlines.request_seconds)
    try:
        request = read_request(body)
    except InvalidPdu as fault:
        association.break_off(fault)
    rejection = refusal(request, titles)
    calling = parse_ae_title(request.calling_ae)
    peer = peers.admit(calling, address) if calling is not None and rejection is None else None
    if rejection is None and (peer is None or calling is None):
        rejection = UNKNOWN_CALLING_AE
    if rejection is not None or peer is None or calling is None:
        _reject(association, rejection or UNKNOWN_CALLING_AE, request, address)
        return None
    acceptance = accept(request, peer)
    called = AETitle(request.called_ae)
    association.say(Event.ACCEPT, write_answer(acceptance.answer))
    ours = acceptance.answer.user.max_data_bytes
    association.establish(acceptance.contexts, (calling, called), ours, request.user.max_data_bytes)
    association.idle_seconds = peer.idle_seconds
    return Caller(peer, calling, called, address)


def _reject(association: Association, rejection: Rejection, request: AssociateRequest, address: str) -> None:
    _log.warning("rejected %r calling %r from %s: %s", request.calling_ae, request.called_ae, address, rejection)
    association.machine.on(Event.REJECT)
    association.hang_up(reject_pdu(rejection.result, rejection.source, rejection.reason))
