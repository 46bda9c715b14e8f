"""What an acceptor answers to a proposal, and what a requestor proposes: decided purely, from values (PS3.8 section 7.1, PS3.7 annex D)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydicom.uid import UID_dictionary

from edge.dimse.associate import (
    APPLICATION_CONTEXT,
    AnsweredContext,
    AssociateAnswer,
    AssociateRequest,
    ProposedContext,
    Roles,
    UserInformation,
)
from edge.dimse.classes import LITTLE_ENDIAN, MADE_NATIVE, STORAGE_SERVICE, Purpose, preferred, purpose
from edge.dimse.extended import answered
from edge.model import UID, AETitle, Peer

MAX_CONTEXTS = 128
MAX_OUTSTANDING = 8
"""Operations of an asynchronous window, ours and theirs: more would only wait in the socket's buffer."""
_SMALLEST_OURS, _LARGEST_OURS = 4096, 1 << 20
_SMALLEST_THEIRS = 64

NO_RIGHT, NOT_SUPPORTED, NO_SYNTAX = 1, 3, 4
"""Results of a presentation context that is refused (PS3.8 table 9-18); NO_RIGHT is user-rejection."""
_ACCEPTED = 0


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context, as both sides know it."""

    context_id: int
    abstract_syntax: UID
    transfer_syntax: UID
    roles: Roles = field(default_factory=Roles)
    """What the requestor may be."""
    extended: bytes = b""
    """The application information that was agreed on for its SOP class; extended.py reads it."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return _SENTENCES[self]


NO_REASON = Rejection(1, 1, 1)
UNKNOWN_VERSION = Rejection(1, 2, 2)
UNKNOWN_APPLICATION_CONTEXT = Rejection(1, 1, 2)
UNKNOWN_CALLING_AE = Rejection(1, 1, 3)
UNKNOWN_CALLED_AE = Rejection(1, 1, 7)
BUSY = Rejection(2, 3, 1)
TOO_MANY_FROM_YOU = Rejection(2, 3, 2)
_SENTENCES = {
    NO_REASON: "its maximum length leaves no room for a message",
    UNKNOWN_VERSION: "its protocol version is not ours",
    UNKNOWN_APPLICATION_CONTEXT: "its application context is not DICOM",
    UNKNOWN_CALLING_AE: "its AE title is not known",
    UNKNOWN_CALLED_AE: "it called an AE title that is not ours",
    BUSY: "as many associations are open as may be",
    TOO_MANY_FROM_YOU: "as many associations are open from this address as may be",
}


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An answer, and what was agreed by it."""

    answer: AssociateAnswer
    contexts: Mapping[int, Context]


def refusal(request: AssociateRequest, titles: frozenset[AETitle]) -> Rejection | None:
    """Why the request is not for us, whoever sends it."""
    if not request.protocol_version & 1:
        return UNKNOWN_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return UNKNOWN_APPLICATION_CONTEXT
    if request.called_ae not in titles:
        return UNKNOWN_CALLED_AE
    return None if is_usable(request.user.max_data_bytes) else NO_REASON


def max_data_bytes(peer: Peer) -> int:
    """The largest P-DATA that we take from this peer, within what makes sense."""
    return min(max(peer.max_pdu_bytes, _SMALLEST_OURS), _LARGEST_OURS)


def is_usable(theirs: int) -> bool:
    """Whether messages fit into the P-DATA that the other side takes; 0 = any."""
    return theirs == 0 or theirs >= _SMALLEST_THEIRS


def accept(request: AssociateRequest, peer: Peer) -> Acceptance:
    """Answer context by context what the peer has the right to. A peer without any right at all can still verify."""
    contexts: dict[int, Context] = {}
    answers: list[AnsweredContext] = []
    roles: dict[UID, Roles] = {}
    extended: dict[UID, bytes] = {}
    for proposal in request.contexts:
        what = _purpose(proposal.abstract_syntax, request.user.service_classes)
        wanted = request.user.roles.get(proposal.abstract_syntax, Roles())
        allowed = _allowed(what, peer, wanted)
        offered = proposal.transfer_syntaxes
        if what is not Purpose.STORAGE:
            offered = tuple(syntax for syntax in offered if syntax in LITTLE_ENDIAN)
        elif allowed.scu and peer.accept_syntaxes:
            offered = tuple(syntax for syntax in offered if syntax in peer.accept_syntaxes)
        if what is None:
            result = NOT_SUPPORTED
        elif not (allowed.scu or allowed.scp):
            result = NO_RIGHT
        elif not offered:
            result = NO_SYNTAX
        else:
            result = _ACCEPTED
        syntax = preferred(offered or proposal.transfer_syntaxes)
        answers.append(AnsweredContext(proposal.context_id, result, syntax))
        if result == _ACCEPTED:
            information = answered(what, request.user.extended.get(proposal.abstract_syntax, b""))
            contexts[proposal.context_id] = Context(proposal.context_id, proposal.abstract_syntax, syntax, allowed, information)
            if information:
                extended[proposal.abstract_syntax] = information
            if proposal.abstract_syntax in request.user.roles:
                roles[proposal.abstract_syntax] = allowed
    user = UserInformation(
        max_data_bytes=max_data_bytes(peer),
        roles=roles,
        operations=_window(request.user.operations, contexts.values()),
        extended=extended,
        identity_accepted=bool(peer.user_name) and request.user.identity is not None and request.user.identity.response_wanted,
    )
    return Acceptance(AssociateAnswer(request.called_ae, request.calling_ae, tuple(answers), user), contexts)


def _window(asked: tuple[int, int] | None, contexts: Iterable[Context]) -> tuple[int, int] | None:
    """Asynchronous operations (PS3.7 section D.3.3.3): as many stores as we let wait, where nothing but stores may come.

    They are answered in the order in which they came, and we invoke one operation at a time. 0 asks for any number.
    """
    if asked is None:
        return None
    alone = all(purpose(context.abstract_syntax) in {Purpose.STORAGE, Purpose.VERIFICATION} for context in contexts)
    return (min(asked[0] or MAX_OUTSTANDING, MAX_OUTSTANDING) if alone else 1, 1)


def window(answer: AssociateAnswer) -> int:
    """How many operations we may have outstanding after this answer to our own request; without the item it is one."""
    invoked = 1 if answer.user.operations is None else answer.user.operations[0]
    return min(invoked or MAX_OUTSTANDING, MAX_OUTSTANDING)


def agreed(request: AssociateRequest, answer: AssociateAnswer) -> dict[int, Context]:
    """The contexts that an answer to our own request makes usable. What we did not propose is no context."""
    proposals = {proposal.context_id: proposal for proposal in request.contexts}
    contexts = {}
    for reply in answer.contexts:
        proposal = proposals.get(reply.context_id)
        if proposal is None or reply.result != _ACCEPTED or reply.transfer_syntax not in proposal.transfer_syntaxes:
            continue
        wanted = request.user.roles.get(proposal.abstract_syntax)
        given = answer.user.roles.get(proposal.abstract_syntax, Roles()) if wanted else Roles()
        information = answer.user.extended.get(proposal.abstract_syntax, b"")
        contexts[reply.context_id] = Context(reply.context_id, proposal.abstract_syntax, reply.transfer_syntax, given, information)
    return contexts


def propose(pairs: Iterable[tuple[UID, tuple[UID, ...]]]) -> tuple[ProposedContext, ...]:
    """Contexts for (abstract syntax, transfer syntaxes), numbered 1, 3, 5...; more than 128 do not fit in one association."""
    contexts = tuple(ProposedContext(2 * index + 1, abstract, syntaxes) for index, (abstract, syntaxes) in enumerate(pairs))
    if len(contexts) > MAX_CONTEXTS:
        raise ValueError(f"{len(contexts)} presentation contexts do not fit in one association")
    return contexts


def service_classes(contexts: Iterable[ProposedContext]) -> dict[UID, UID]:
    """Common extended negotiation (PS3.7 section D.3.3.6): that classes which nobody knows, private ones, are stored all the same."""
    return {
        context.abstract_syntax: STORAGE_SERVICE
        for context in contexts
        if purpose(context.abstract_syntax) is Purpose.STORAGE and context.abstract_syntax not in UID_dictionary
    }


def storage_proposals(syntaxes: frozenset[tuple[UID, UID]], needed: tuple[UID, UID]) -> tuple[ProposedContext, ...]:
    """Contexts to send instances of these (SOP class, stored syntax): one for each pair and one uncompressed for each class.

    Where that is more than fits, those about the pair `needed` are among what is proposed.
    """
    ordered = [needed, *sorted(syntaxes - {needed})][: MAX_CONTEXTS // 2]
    pairs: list[tuple[UID, tuple[UID, ...]]] = [(sop_class, (stored,)) for sop_class, stored in ordered]
    pairs += [(sop_class, LITTLE_ENDIAN) for sop_class in dict.fromkeys(sop_class for sop_class, _ in ordered)]
    return propose(pairs)


def context_for(contexts: Iterable[Context], sop_class: UID, transfer_syntax: UID) -> Context | None:
    """Where an instance of this class can be sent: as it is, else in a little-endian syntax, where it can be had in that."""
    usable = {context.transfer_syntax: context for context in contexts if context.abstract_syntax == sop_class}
    if transfer_syntax in usable:
        return usable[transfer_syntax]
    if transfer_syntax not in LITTLE_ENDIAN and transfer_syntax not in MADE_NATIVE:
        return None
    return next((usable[syntax] for syntax in LITTLE_ENDIAN if syntax in usable), None)


def _purpose(abstract_syntax: UID, service_classes: Mapping[UID, UID]) -> Purpose | None:
    """As the table says; what only the requestor knows is storage unless it names another service class."""
    what = purpose(abstract_syntax)
    if what is Purpose.STORAGE and service_classes.get(abstract_syntax, STORAGE_SERVICE) != STORAGE_SERVICE:
        return None
    return what


def _allowed(what: Purpose | None, peer: Peer, wanted: Roles) -> Roles:
    """The roles that the peer gets of those that it wants."""
    if what is Purpose.STORAGE:
        return Roles(scu=wanted.scu and "store" in peer.rights, scp=wanted.scp and "get" in peer.rights)
    if what is Purpose.COMMIT:  # an archive that we asked reports as SCP, on an association that it requests
        return Roles(scu=wanted.scu and "commit" in peer.rights, scp=wanted.scp and "commit" in peer.rights)
    return Roles(scu=wanted.scu and (what is Purpose.VERIFICATION or (what is not None and what.value in peer.rights)))
