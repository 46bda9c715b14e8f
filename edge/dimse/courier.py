"""One association to a destination, and the stores on it that are not answered yet."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.dimse import status
from edge.dimse.association import Association
from edge.dimse.faults import AssociationEnded
from edge.dimse.negotiation import MAX_OUTSTANDING, context_for, storage_proposals
from edge.dimse.ports import Making, Ready
from edge.dimse.requestor import Requestor
from edge.dimse.suboperations import is_sent_from_store, source_for, store_request
from edge.durable import read_errors
from edge.errors import OutpostError, Transient
from edge.model import UID, AETitle, Peer

_log = logging.getLogger(__name__)
_STEP_SECONDS = 0.2


@dataclass(slots=True)
class Parcel:
    """An instance under way, with a descriptor of its own, so that it can be sent again."""

    ready: Ready
    tries: int = 0
    native: Ready | None = None
    """The same in Explicit VR Little Endian, once that was made for a destination that refuses it as it is."""

    @classmethod
    def of(cls, ready: Ready) -> Parcel:
        """Raises Exhausted."""
        with read_errors():
            return cls(replace(ready, descriptor=os.dup(ready.descriptor)))

    def again(self) -> Parcel:
        """The same, one try later."""
        return replace(self, tries=self.tries + 1)

    def close(self) -> None:
        """It is settled. Only once."""
        os.close(self.ready.descriptor)
        if self.native is not None:
            os.close(self.native.descriptor)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends to whom, and what the requests say."""

    requestor: Requestor
    destination: Peer
    calling_ae: AETitle
    originator: tuple[AETitle, int] | None
    """Who asked for a C-MOVE, and its Message ID."""
    priority: int | None
    syntaxes: frozenset[tuple[UID, UID]]
    """Every (SOP class, transfer syntax) that may have to be sent."""
    native: Callable[[Ready], Making]
    """Makes what is refused as it is."""


class Courier:
    """Used by one thread; only `interrupt` may come from another.

    Whatever ends the association raises AssociationEnded; then `drop` gives back what was not answered. Opening one raises Unreachable,
    AssociationRejected and NoContext too.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._association: Association | None = None
        self._proposed: frozenset[tuple[UID, UID]] = frozenset()
        self._waiting: dict[int, Parcel] = {}
        self._interrupted = False

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is owed."""
        return bool(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another store may be sent before an answer came."""
        return self._association is None or len(self._waiting) < self._association.window

    def has_context(self, pair: tuple[UID, UID]) -> bool:
        """Whether the association that is open was proposed this (SOP class, transfer syntax)."""
        return self._association is not None and pair in self._proposed

    def open(self, pair: tuple[UID, UID]) -> None:
        """An association for this pair, and for as many others as fit, in place of the one that is open; no answer is owed on that."""
        self.hang_up()
        sender = self._sender
        contexts = storage_proposals(sender.syntaxes, pair)
        association = sender.requestor.associate(sender.destination, sender.calling_ae, contexts, outstanding=MAX_OUTSTANDING)
        with self._lock:
            self._association = association
            interrupted = self._interrupted
        if interrupted:
            association.interrupt()
        self._proposed = frozenset(
            (context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts if len(context.transfer_syntaxes) == 1
        )

    def send(self, parcel: Parcel) -> int | None:
        """Begin a store on the open association; or its status, when it cannot be sent at all."""
        located = parcel.ready.located
        association = self._association
        assert association is not None
        context = context_for(association.contexts.values(), located.sop_class, located.transfer_syntax)
        if context is None:
            return status.SOP_CLASS_NOT_SUPPORTED
        number = association.new_message_id()
        request = store_request(number, parcel.ready, self._sender.priority, self._sender.originator)
        try:
            ready = parcel.ready if is_sent_from_store(parcel.ready, context) else self._native(parcel)
            association.send_source(context, request, source_for(ready, context))
        except AssociationEnded:
            raise
        except OutpostError as fault:
            _log.warning("delivery to %s: %s", self._sender.destination.ae_title, fault)
            return status.PROCESSING_FAILURE
        self._waiting[number] = parcel
        return None

    def settle(self) -> tuple[Parcel, int]:
        """The next answer that is owed: whose it is, and its status."""
        association = self._association
        assert association is not None
        response = association.answer()
        parcel = self._waiting.pop(response.command.number, None)
        if parcel is None or response.command.status is None:
            association.protocol_error("an answer to something else")
        association.drain()
        return parcel, response.command.status

    def hang_up(self) -> None:
        """Release the association, if there is one; whatever the destination does about that is all the same."""
        if self._association is not None:
            try:
                self._association.release()
            except AssociationEnded as fault:
                _log.info("release by %s: %s", self._sender.destination.ae_title, fault)
            self.drop()

    def drop(self) -> list[Parcel]:
        """Close the association; what was sent on it and not answered."""
        with self._lock:
            association, self._association = self._association, None
        if association is not None:
            association.close()
        unanswered, self._waiting = list(self._waiting.values()), {}
        return unanswered

    def interrupt(self) -> None:
        """From another thread: break off what is under way, and whatever is opened later."""
        with self._lock:
            self._interrupted = True
            if self._association is not None:
                self._association.interrupt()

    def _native(self, parcel: Parcel) -> Ready:
        """What a parcel is for a destination that refuses it as it is. Raises why it cannot be."""
        if parcel.native is None:
            making = self._sender.native(parcel.ready)
            while not making.wait(_STEP_SECONDS):
                if self._interrupted:
                    making.drop()
                    raise Transient("This delivery was broken off.")
            parcel.native = making.take()
        return parcel.native
