"""The requesting side of association establishment."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.clock import Clock, SystemClock
from edge.dimse.associate import AssociateRequest, ProposedContext, Roles, UserInformation, read_answer, write_request
from edge.dimse.association import Association
from edge.dimse.faults import AssociationEnded, AssociationRejected, InvalidPdu, NoContext, NotSecured, Unreachable
from edge.dimse.negotiation import agreed, is_usable, max_data_bytes, service_classes, window
from edge.dimse.pdu import Deadlines, Wire
from edge.dimse.states import Action, Event
from edge.dimse.tls import Certificates
from edge.model import UID, AETitle, Peer


@dataclass(frozen=True, slots=True)
class Requestor:
    """Opens associations to peers. Used by many threads at once."""

    deadlines: Deadlines = field(default_factory=Deadlines)
    clock: Clock = field(default_factory=SystemClock)
    certificates: Certificates | None = None
    """For peers that are called with TLS."""

    def associate(
        self,
        peer: Peer,
        calling_ae: AETitle,
        contexts: tuple[ProposedContext, ...],
        roles: dict[UID, Roles] | None = None,
        outstanding: int = 1,
    ) -> Association:
        """An association with `peer`, which has a host, with at least one context accepted; at most `outstanding` operations at a time.

        Raises Unreachable, NotSecured, AssociationRejected, NoContext, or AssociationEnded when it breaks meanwhile.
        """
        user = UserInformation(
            max_data_bytes=max_data_bytes(peer),
            roles=roles or {},
            operations=(outstanding, 1) if outstanding > 1 else None,
            service_classes=service_classes(contexts),
        )
        request = AssociateRequest(peer.ae_title, calling_ae, contexts, user)
        association = self._connect(peer)
        try:
            self._negotiate(association, request)
        except BaseException:
            association.close()
            raise
        return association

    @contextlib.contextmanager
    def association(
        self, peer: Peer, calling_ae: AETitle, contexts: tuple[ProposedContext, ...], roles: dict[UID, Roles] | None = None
    ) -> Iterator[Association]:
        """As `associate`; released at the end of the block, aborted when the block fails."""
        association = self.associate(peer, calling_ae, contexts, roles)
        try:
            yield association
            with contextlib.suppress(AssociationEnded):
                association.release()
        finally:
            association.close()

    def _connect(self, peer: Peer) -> Association:
        try:
            connection = socket.create_connection((peer.host, peer.port), self.deadlines.request_seconds)
        except OSError as fault:
            raise Unreachable(f"No connection to {peer.ae_title} at {peer.host}:{peer.port} ({fault}).") from fault
        association = Association(Wire(connection, self.deadlines, self.clock), self.clock)
        if peer.tls:
            try:
                self._secure(association, peer)
            except BaseException:
                association.close()
                raise
        association.machine.on(Event.ASSOCIATE_REQUEST)
        return association

    def _secure(self, association: Association, peer: Peer) -> None:
        """A peer is recognized by the subject that its row names, else by the host that is called."""
        context = self.certificates.client(check_name=not peer.tls_subject) if self.certificates else None
        if context is None:
            raise NotSecured(
                f"{peer.ae_title} is to be called with TLS, but [dicom] names no certificate_file, key_file and client_ca_file."
            )
        subject = association.secure(context, self.deadlines.request_seconds, peer.host)
        if peer.tls_subject and subject != peer.tls_subject:
            raise NotSecured(f"The certificate of {peer.ae_title} has the subject {subject!r}, its row {peer.tls_subject!r}.")

    def _negotiate(self, association: Association, request: AssociateRequest) -> None:
        association.say(Event.TRANSPORT_CONFIRMED, write_request(request))
        action, body = association.arrival(self.deadlines.request_seconds)
        if action is Action.AE_4:
            raise AssociationRejected(body[1], body[2], body[3])
        try:
            answer = read_answer(body)
            if not is_usable(answer.user.max_data_bytes):
                raise InvalidPdu(InvalidPdu.INVALID_PARAMETER, f"a maximum length of {answer.user.max_data_bytes} bytes")
        except InvalidPdu as fault:
            association.break_off(fault)
        contexts = agreed(request, answer)
        titles = AETitle(request.calling_ae), AETitle(request.called_ae)
        association.window = window(answer)
        association.establish(contexts, titles, request.user.max_data_bytes, answer.user.max_data_bytes)
        if not contexts:
            association.release()
            raise NoContext
