"""The accepting side of association establishment: who may come in, and to do what."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from edge.audit import AssociationRefused, Audit, ContextRefused
from edge.dimse.admission import Denial, Knock, Seats, judge
from edge.dimse.associate import AssociateRequest, read_request, write_answer
from edge.dimse.association import Association
from edge.dimse.classes import purpose
from edge.dimse.faults import InvalidPdu
from edge.dimse.identity import is_shown
from edge.dimse.negotiation import NO_RIGHT, NO_SYNTAX, NOT_SUPPORTED, UNKNOWN_CALLING_AE, Acceptance, Rejection, accept, refusal
from edge.dimse.pdu import reject_pdu
from edge.dimse.ports import Peers
from edge.dimse.states import Event
from edge.model import UID, AETitle, Peer, parse_ae_title

_log = logging.getLogger(__name__)
_NAMED = 8
"""Abstract syntaxes that the audit trail names of what was refused."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is on the other side of an accepted association."""

    peer: Peer
    calling_ae: AETitle
    called_ae: AETitle
    address: str


@dataclass(frozen=True, slots=True)
class Acceptor:
    """Judges requests for associations with one of our AE titles. Used by many threads at once."""

    titles: frozenset[AETitle]
    peers: Peers
    audit: Audit
    seats: Seats

    def admit(self, association: Association, knock: Knock, within_seconds: float) -> Caller | None:
        """Take the request and answer it; None when it was rejected, and the association is over. A Caller has to be dismissed.

        Nothing is allocated for the peer before it is accepted.
        """
        association.machine.on(Event.TRANSPORT_INDICATED)
        _, body = association.arrival(within_seconds)
        try:
            request = read_request(body)
        except InvalidPdu as fault:
            association.break_off(fault)
        rejection = refusal(request, self.titles)
        if rejection is not None:
            self._reject(association, request, knock, rejection, rejection.sentence)
            return None
        calling = parse_ae_title(request.calling_ae)
        if calling is None:
            self._reject(association, request, knock, UNKNOWN_CALLING_AE, "the calling AE title is none")
            return None
        peer = self.peers.peer(calling)
        denial = judge(peer, knock)
        if denial is None and peer is not None and not is_shown(peer, request.user.identity):
            denial = Denial.OTHER_USER
        if denial is None and peer is not None:
            denial = self.seats.take(peer)
            if denial is None:
                return self._accept(association, request, Caller(peer, calling, AETitle(request.called_ae), knock.address))
        denial = denial or Denial.UNKNOWN
        if not denial.is_transient:
            self.peers.turned_away(calling, request.called_ae, knock.address, denial.value)
        self._reject(association, request, knock, denial.rejection, denial.value, denial.cure(calling))
        return None

    def dismiss(self, caller: Caller) -> None:
        """The association of an admitted caller is over."""
        self.seats.leave(caller.peer)

    def _accept(self, association: Association, request: AssociateRequest, caller: Caller) -> Caller:
        try:
            acceptance = accept(request, caller.peer)
            association.say(Event.ACCEPT, write_answer(acceptance.answer))
            ours = acceptance.answer.user.max_data_bytes
            association.establish(acceptance.contexts, (caller.calling_ae, caller.called_ae), ours, request.user.max_data_bytes)
            association.idle_seconds = caller.peer.idle_seconds
        except BaseException:
            self.dismiss(caller)
            raise
        for reason, classes in _refused(request, acceptance):
            self.audit.record(
                ContextRefused(
                    address=caller.address,
                    reason=reason,
                    calling=[request.calling_ae],
                    called=request.called_ae,
                    classes=list(dict.fromkeys(classes))[:_NAMED],
                )
            )
        return caller

    def _reject(
        self, association: Association, request: AssociateRequest, knock: Knock, rejection: Rejection, reason: str, cure: str = ""
    ) -> None:
        _log.warning("rejected %r calling %r from %s: %s%s", request.calling_ae, request.called_ae, knock.address, reason, cure)
        self.audit.record(
            AssociationRefused(
                address=knock.address,
                reason=reason,
                calling=[request.calling_ae],
                called=request.called_ae,
                subject=knock.subject or "",
            )
        )
        association.machine.on(Event.REJECT)
        association.hang_up(reject_pdu(rejection.result, rejection.source, rejection.reason))


def _refused(request: AssociateRequest, acceptance: Acceptance) -> Iterator[tuple[str, list[str]]]:
    """Why presentation contexts were refused, and the abstract syntaxes of those. There are no more reasons than rights and results."""
    classes: defaultdict[int, list[str]] = defaultdict(list)
    proposed = {proposal.context_id: proposal.abstract_syntax for proposal in request.contexts}
    for answered in acceptance.answer.contexts:
        classes[answered.result].append(proposed[answered.context_id])
    if without := classes[NO_RIGHT]:
        rights = sorted({what.value for uid in without if (what := purpose(UID(uid))) is not None})
        yield f"no right: {', '.join(rights)}", without
    if unknown := classes[NOT_SUPPORTED]:
        yield "no such service here", unknown
    if mute := classes[NO_SYNTAX]:
        yield "none of its transfer syntaxes may be used", mute
