"""The sending side of a C-MOVE: a thread that stores what a retrieval yields at the destination, while the mover is told how it goes."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

from edge.clock import Clock
from edge.dimse import status
from edge.dimse.association import Association
from edge.dimse.faults import AssociationEnded, AssociationRejected, NoContext, Unreachable
from edge.dimse.negotiation import context_for, storage_proposals
from edge.dimse.ports import Lost, Ready, Retrieval
from edge.dimse.requestor import Requestor
from edge.dimse.suboperations import Tally, source_for, store_request
from edge.errors import Corrupt, OutpostError
from edge.model import UID, AETitle, Located, Peer

_log = logging.getLogger(__name__)
_STEP_SECONDS = 0.5
_UNUSED_SECONDS = 10.0
_MAX_BROKEN = 2


class Delivery:
    """Starts at construction. `done` becomes readable when the last sub-operation ended; then `close`.

    The association to the destination opens when the first instance is ready, closes after 10 s without one, and opens again.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        destination: Peer,
        requestor: Requestor,
        calling_ae: AETitle,
        originator: tuple[AETitle, int] | None,
        priority: int | None,
        told: Callable[[Located, int], None] | None = None,
    ) -> None:
        """`originator` is who asked for a C-MOVE, and its Message ID; `told` hears the status of each sub-operation that was tried, in the
        thread of the delivery.
        """
        self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._retrieval = retrieval
        self._destination = destination
        self._requestor = requestor
        self._clock: Clock = requestor.clock
        self._calling_ae = calling_ae
        self._originator = originator
        self._priority = priority
        self._told = told
        self._tally = Tally(retrieval.total)
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._association: Association | None = None
        self._proposed: frozenset[tuple[UID, UID]] = frozenset()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"dimse-deliver-{destination.ae_title}", daemon=True)
        self._thread.start()

    def tally(self) -> Tally:
        """The counts as they are now."""
        with self._lock:
            tally = self._tally
            return Tally(tally.total, tally.completed, tally.warning, tally.failed, list(tally.failed_instances))

    @property
    def fault(self) -> str | None:
        """Why the destination could not be used, once that is known."""
        return self._fault

    def cancel(self) -> None:
        """Begin no other sub-operation."""
        self._cancelled.set()

    def interrupt(self) -> None:
        """Break off the sub-operation that is under way."""
        self._cancelled.set()
        with self._lock:
            if self._association is not None:
                self._association.interrupt()

    def is_done(self, seconds: float = 0.0) -> bool:
        """Whether the last sub-operation has ended; waits for it up to `seconds`."""
        return bool(select.select([self.done], [], [], seconds)[0])

    def close(self) -> None:
        """Wait for the thread, which `cancel` or `interrupt` may have to end first, and give everything back."""
        self._thread.join()
        os.close(self.done)

    def _run(self) -> None:
        try:
            self._deliver()
        except OutpostError as fault:
            _log.warning("delivery to %s: %s", self._destination.ae_title, fault)
            self._fault = str(fault)
        finally:
            self._hang_up()
            os.eventfd_write(self.done, 1)

    def _deliver(self) -> None:
        """Raises what ends it early: a destination that cannot be used, a retrieval that cannot go on."""
        broken = 0
        used = self._clock.monotonic()
        while self._retrieval.remaining and not self._cancelled.is_set():
            item = self._retrieval.next(_STEP_SECONDS)
            if item is None:
                if self._clock.monotonic() - used > _UNUSED_SECONDS:
                    self._hang_up()
                continue
            if isinstance(item, Lost):
                self._count(item.located, status.PROCESSING_FAILURE)
                continue
            try:
                self._count(item.located, self._store(item))
                broken = 0
            except (Unreachable, AssociationRejected, NoContext, AssociationEnded) as fault:
                self._drop()
                self._count(item.located, status.PROCESSING_FAILURE)
                broken += 1
                if broken == _MAX_BROKEN or not isinstance(fault, AssociationEnded):
                    self._name_ready()
                    raise
                _log.warning("delivery to %s: %s", self._destination.ae_title, fault)
            used = self._clock.monotonic()

    def _store(self, ready: Ready) -> int:
        """One sub-operation; the C-STORE status of the destination, or of our own failure to send."""
        located = ready.located
        pair = located.sop_class, located.transfer_syntax
        association = self._associated(pair)
        context = context_for(association.contexts.values(), *pair)
        if context is None:
            return status.SOP_CLASS_NOT_SUPPORTED
        number = association.new_message_id()
        try:
            source = source_for(ready, context)
        except Corrupt as fault:
            _log.warning("delivery to %s: %s", self._destination.ae_title, fault)
            return status.PROCESSING_FAILURE
        association.send_source(context, store_request(number, ready, self._priority, self._originator), source)
        response = association.answer()
        if response.command.number != number or response.command.status is None:
            association.protocol_error("an answer to something else")
        return response.command.status

    def _associated(self, pair: tuple[UID, UID]) -> Association:
        """The association, which is opened, or opened anew for a pair that did not fit in the proposal of the last."""
        if self._association is not None and pair in self._proposed:
            return self._association
        self._hang_up()
        contexts = storage_proposals(self._retrieval.syntaxes, pair)
        association = self._requestor.associate(self._destination, self._calling_ae, contexts)
        with self._lock:
            self._association = association
        self._proposed = frozenset(
            (context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts if len(context.transfer_syntaxes) == 1
        )
        return association

    def _hang_up(self) -> None:
        """Release the association, if there is one; whatever the destination does about that is all the same."""
        with self._lock:
            association = self._association
        if association is not None:
            try:
                association.release()
            except AssociationEnded as fault:
                _log.info("release by %s: %s", self._destination.ae_title, fault)
            self._drop()

    def _drop(self) -> None:
        with self._lock:
            association, self._association = self._association, None
        if association is not None:
            association.close()

    def _count(self, located: Located, code: int) -> None:
        with self._lock:
            self._tally.count(located.sop_instance, code)
        if self._told is not None:
            self._told(located, code)

    def _name_ready(self) -> None:
        """Nothing more can be sent: name what is ready as failed; what is still to be recalled is only counted."""
        while self._retrieval.remaining and not self._cancelled.is_set() and (item := self._retrieval.next(0)) is not None:
            self._count(item.located, status.PROCESSING_FAILURE)
