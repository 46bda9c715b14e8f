"""Retrieve by C-GET (PS3.4 section C.4.3) as SCP: the instances come over the association that asks for them."""

from __future__ import annotations

import logging
import math
import os

from edge.audit import Audit
from edge.clock import Clock
from edge.dimse import status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.command import C_CANCEL_RQ, C_STORE_RQ, RESPONSE
from edge.dimse.faults import AssociationEnded
from edge.dimse.negotiation import context_for
from edge.dimse.ports import Lost, Ready, Retrieval, Retrieve
from edge.dimse.suboperations import (
    LATE,
    PENDING_SECONDS,
    Account,
    Tally,
    begin,
    is_sent_from_store,
    source_for,
    store_request,
    tell_final,
    tell_pending,
)
from edge.errors import OutpostError

_log = logging.getLogger(__name__)
_STEP_SECONDS = 0.5
_MAKING_SECONDS = 0.2


def respond(association: Association, message: Message, caller: Caller, retrieve: Retrieve, clock: Clock, audit: Audit) -> None:
    """Store what matches at the peer, as far as it took the role of SCP, until it is done or cancelled."""
    with Account(audit, caller, "C-GET", caller.calling_ae) as account:
        until = clock.monotonic() + (caller.peer.retrieve_limit_seconds or math.inf)
        retrieval = begin(association, message, retrieve, caller.peer.send_skip_sop_classes, account, clock, until)
        if retrieval is None:
            return
        try:
            get = _Get(association, message, retrieval, account, clock, until)
            try:
                get.run()
            except AssociationEnded:
                raise
            except OutpostError as fault:
                get.give_up(fault)
        finally:
            retrieval.close()


class _Get:
    def __init__(
        self, association: Association, message: Message, retrieval: Retrieval, account: Account, clock: Clock, until: float
    ) -> None:
        """What is not sent when the clock reaches `until` stays behind."""
        self._association = association
        self._message = message
        self._retrieval = retrieval
        self._account = account
        self._clock = clock
        self._until = until
        self._told = clock.monotonic()
        self._tally = Tally((one.sop_instance for one in retrieval.located), retrieval.missing)
        self._contexts = [context for context in association.contexts.values() if context.roles.scp]

    def run(self) -> None:
        """Send what is there until it is done, cancelled or late."""
        cancelled = late = False
        while self._retrieval.remaining and not (cancelled or late):
            item = self._retrieval.next(max(0.0, min(_STEP_SECONDS, self._until - self._clock.monotonic())))
            if isinstance(item, Ready):
                cancelled = self._store(item)
            elif isinstance(item, Lost):
                self._tally.count(item.located.sop_instance, status.PROCESSING_FAILURE)
            cancelled = cancelled or self._is_cancelled()
            late = self._clock.monotonic() >= self._until
        if cancelled:
            tell_final(self._association, self._message, self._tally, status.CANCELLED, self._account)
            return
        comment = LATE if self._tally.remaining else None
        self._tally.fail_rest()
        tell_final(self._association, self._message, self._tally, self._tally.outcome(), self._account, comment)

    def give_up(self, fault: OutpostError) -> None:
        """The retrieval cannot go on."""
        self._tally.fail_rest()
        tell_final(self._association, self._message, self._tally, self._tally.outcome(), self._account, str(fault))

    def _store(self, ready: Ready) -> bool:
        """One sub-operation; True when a C-CANCEL came before its answer."""
        located = ready.located
        context = context_for(self._contexts, located.sop_class, located.transfer_syntax)
        if context is None:
            self._tally.count(located.sop_instance, status.SOP_CLASS_NOT_SUPPORTED)
            return False
        number = self._association.new_message_id()
        request = store_request(number, ready, self._message.command.priority, None)
        try:
            if is_sent_from_store(ready, context):
                self._association.send_source(context, request, source_for(ready, context))
            elif (native := self._native(ready)) is None:
                return self._clock.monotonic() < self._until
            else:
                with os.fdopen(native.descriptor, "rb"):
                    self._association.send_source(context, request, source_for(native, context))
        except AssociationEnded:
            raise
        except OutpostError as fault:
            _log.warning("retrieve by %s: %s", self._association.calling_ae, fault)
            self._tally.count(located.sop_instance, status.PROCESSING_FAILURE)
            return False
        return self._await(number, located.sop_instance)

    def _native(self, ready: Ready) -> Ready | None:
        """What an instance is for a peer that refuses it as it is; None when a C-CANCEL came first, or it was late. Raises why it cannot
        be.
        """
        making = self._retrieval.native(ready)
        try:
            while not making.wait(_MAKING_SECONDS):
                if self._clock.monotonic() >= self._until or self._is_cancelled():
                    making.drop()
                    return None
        except AssociationEnded:
            making.drop()
            raise
        return making.take()

    def _is_cancelled(self) -> bool:
        """Whether a C-CANCEL is here; the peer is told how it stands meanwhile."""
        if self._association.cancelled(self._message.command.number):
            return True
        if self._clock.monotonic() - self._told >= PENDING_SECONDS:
            tell_pending(self._association, self._message, self._tally)
            self._told = self._clock.monotonic()
        return False

    def _await(self, number: int, sop_instance: str) -> bool:
        cancelled = False
        until = self._clock.monotonic() + self._association.deadlines.answer_seconds
        while True:
            command = self._association.answer(until - self._clock.monotonic()).command
            if command.operation == C_CANCEL_RQ:
                cancelled = cancelled or command.number == self._message.command.number
            elif command.operation == C_STORE_RQ | RESPONSE and command.number == number and command.status is not None:
                self._tally.count(sop_instance, command.status)
                return cancelled
            else:
                self._association.protocol_error("an answer to something else")
