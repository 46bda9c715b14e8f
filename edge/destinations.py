"""Where routes send: a peer by C-STORE, or a STOW-RS service."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from edge.dataset.part10 import file_meta
from edge.dimse import status
from edge.dimse.delivery import Delivery
from edge.dimse.outgoing import Source, Stored
from edge.dimse.patching import patched
from edge.dimse.ports import Lost, Peers, Ready, Retrieval
from edge.dimse.requestor import Requestor
from edge.errors import Corrupt, Transient
from edge.model import UID, AETitle, Digest, Identity, Located
from edge.store.routes import Route
from edge.stow import BrokenOff, StowService

_STEP_SECONDS = 0.5
_PIECE = 256 << 10

Told = Callable[[Located, str | None], None]
"""Told of each instance that was tried: None when it is there, else why not."""


class Destination(Protocol):
    """Where a route sends. Used by one thread; interrupted by any."""

    def skipped(self) -> frozenset[UID]:
        """SOP classes that it is not to get."""
        ...

    def send(self, retrieval: Retrieval, told: Told) -> None:
        """Send all of it. Raises Transient or Refused when the destination cannot be used."""
        ...

    def interrupt(self) -> None:
        """Break off what is under way. Idempotent."""
        ...

    def close(self) -> None:
        """Give back what is held, by the thread that sent. Nothing is sent afterwards."""
        ...


class PeerDestination:
    """A peer, by C-STORE, as C-MOVE sends to it."""

    def __init__(self, ae_title: AETitle, calling_ae: AETitle, peers: Peers, requestor: Requestor) -> None:
        self._ae_title = ae_title
        self._calling_ae = calling_ae
        self._peers = peers
        self._requestor = requestor
        self._stopped = threading.Event()

    def skipped(self) -> frozenset[UID]:
        peer = self._peers.destination(self._ae_title)
        return peer.send_skip_sop_classes if peer is not None else frozenset()

    def send(self, retrieval: Retrieval, told: Told) -> None:
        peer = self._peers.destination(self._ae_title)
        if peer is None:
            raise Transient(f"There is no peer {self._ae_title} with a host. `outpost peers add` enters it.")
        answers: list[tuple[Located, int]] = []
        delivery = Delivery(retrieval, peer, self._requestor, self._calling_ae, None, None, lambda one, code: answers.append((one, code)))
        try:
            while not delivery.is_done(_STEP_SECONDS) and not self._stopped.is_set():
                pass
        finally:
            delivery.interrupt()
            delivery.close()
        full = False
        for located, code in answers:
            if code == status.SUCCESS or status.is_warning(code):
                told(located, None)
            elif code & 0xFF00 == status.OUT_OF_RESOURCES:
                full = True
            elif not self._stopped.is_set():
                # Also where the destination is given up: it may be this one that it cannot bear, and the others are to have their turn.
                told(located, f"status {code:04X}")
        if delivery.fault is not None or full:
            raise Transient(delivery.fault or f"{peer.ae_title} is out of resources.")

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        """Nothing: each delivery has given back its own."""


class StowDestination:
    """A STOW-RS service."""

    def __init__(self, service: StowService) -> None:
        self._service = service
        self._stopped = threading.Event()

    def skipped(self) -> frozenset[UID]:
        return frozenset()

    def send(self, retrieval: Retrieval, told: Told) -> None:
        while retrieval.remaining and not self._stopped.is_set():
            match retrieval.next(_STEP_SECONDS):
                case Ready() as ready:
                    try:
                        fault = self._store(ready)
                    except BrokenOff as broken:
                        told(ready.located, str(broken))  # it may be this one that it cannot bear
                        raise
                    told(ready.located, fault)
                case Lost(located, reason):
                    told(located, reason)

    def interrupt(self) -> None:
        self._stopped.set()
        self._service.interrupt()

    def close(self) -> None:
        self._service.close()

    def _store(self, ready: Ready) -> str | None:
        located = ready.located
        stored = Stored(ready.descriptor, ready.offset, ready.length, ready.unread)
        try:
            dataset = patched(stored, located.transfer_syntax, located.correction) if located.correction else stored
            digest = _digest(dataset) if located.correction else located.digest
            identity = Identity(located.sop_class, located.sop_instance, located.series, located.study)
            meta = file_meta(identity, located.transfer_syntax, "", digest)
            return self._service.store(located.sop_instance, len(meta) + dataset.length, _part10(meta, dataset))
        except Corrupt as fault:
            self._service.close()  # half a request may be out
            return str(fault)


def _part10(meta: bytes, dataset: Source) -> Iterator[bytes | memoryview]:
    yield meta
    yield from _pieces(dataset)


def _pieces(dataset: Source) -> Iterator[memoryview]:
    """Each is valid until the next is asked for."""
    room = memoryview(bytearray(min(_PIECE, max(1, dataset.length))))
    for position in range(0, dataset.length, len(room)):
        piece = room[: min(len(room), dataset.length - position)]
        dataset.read_into([piece], position)
        yield piece


def _digest(dataset: Source) -> Digest:
    total = hashlib.sha256()
    for piece in _pieces(dataset):
        total.update(piece)
    return Digest(total.hexdigest())


def destination_of(route: Route, calling_ae: AETitle, peers: Peers, requestor: Requestor) -> Destination:
    """Where a route leads."""
    if route.peer:
        return PeerDestination(AETitle(route.peer), calling_ae, peers, requestor)
    return StowDestination(StowService(route.url, Path(route.token_file) if route.token_file else None))
