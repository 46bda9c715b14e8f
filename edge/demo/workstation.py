"""The demo's modality and viewer in one: sends instances, searches, and has studies moved to itself, comparing digests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from edge.audit import Event
from edge.demo.instances import Sample
from edge.dimse import scu
from edge.dimse.association import Association
from edge.dimse.classes import STUDY_ROOT
from edge.dimse.negotiation import propose
from edge.dimse.ports import Arrival, Outcome, Retrieval
from edge.dimse.requestor import Requestor
from edge.dimse.server import Listening, Server
from edge.errors import Refused, Transient
from edge.model import UID, AETitle, Digest, Json, Level, Peer, Query

CONTEXTS = 120
"""Presentation contexts proposed at once; PS3.8 allows 128."""


class NotStored(Transient):
    """Outpost answered a C-STORE with a failure. Send the instance again."""


class Workstation:
    """One application entity on loopback. As a context manager it listens for what is moved to it."""

    def __init__(self, ae_title: str = "WORKSTATION") -> None:
        self.ae_title = AETitle(ae_title)
        self.received: dict[UID, set[Digest]] = {}
        """Digests of what was moved here, by SOP Instance UID."""
        self._lock = threading.Lock()
        self._requestor = Requestor()
        listening = Listening("127.0.0.1", 0, frozenset({self.ae_title}))
        taker = _Taker(self)
        self._server = Server(listening, taker, _Nothing(), _Nothing(), taker, _Nothing(), self._requestor)

    @property
    def port(self) -> int:
        return self._server.port

    def __enter__(self) -> Workstation:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop(1.0)

    def send(self, peer: Peer, samples: Sequence[Sample], sent: Callable[[Sample], None]) -> None:
        """C-STORE each sample as it is; `sent` is told of each that was acknowledged.

        Raises NotStored, or what the association ended with; what was told as sent is Outpost's.
        """
        pairs = sorted({(sample.sop_class, sample.transfer_syntax) for sample in samples})
        for begin in range(0, len(pairs), CONTEXTS):
            chosen = pairs[begin : begin + CONTEXTS]
            contexts = propose((sop_class, (syntax,)) for sop_class, syntax in chosen)
            with self._requestor.association(peer, self.ae_title, contexts) as association:
                for sample in samples:
                    if (sample.sop_class, sample.transfer_syntax) in chosen:
                        self._store(association, sample)
                        sent(sample)

    def find(self, peer: Peer, level: Level, identifier: Json) -> list[Json]:
        """C-FIND under the Study Root; what the identifier leaves empty is returned."""
        asked = {"00080052": {"vr": "CS", "Value": [str(level)]}, "00080056": {"vr": "CS"}} | identifier
        with self._requestor.association(peer, self.ae_title, propose([(STUDY_ROOT.find, _LITTLE_ENDIAN)])) as association:
            return list(scu.find(association, STUDY_ROOT, asked))

    def move(self, peer: Peer, study: UID) -> Iterator[scu.Progress]:
        """C-MOVE a study to this workstation; each response as it comes."""
        identifier: Json = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "0020000D": {"vr": "UI", "Value": [study]}}
        with self._requestor.association(peer, self.ae_title, propose([(STUDY_ROOT.move, _LITTLE_ENDIAN)])) as association:
            yield from scu.move(association, STUDY_ROOT, self.ae_title, identifier)

    def _store(self, association: Association, sample: Sample) -> None:
        source = Memory(sample.dataset)
        code = scu.store(association, sample.sop_class, sample.sop_instance, sample.transfer_syntax, source)
        if code:
            raise NotStored(f"The C-STORE was answered with {code:04X}.")

    def took(self, sop_instance: UID, digest: Digest) -> None:
        with self._lock:
            self.received.setdefault(sop_instance, set()).add(digest)


_LITTLE_ENDIAN = (UID("1.2.840.10008.1.2.1"), UID("1.2.840.10008.1.2"))


class _Taker:
    """What the listener needs: everybody may send, and it takes instances and nothing else."""

    def __init__(self, workstation: Workstation) -> None:
        self._workstation = workstation

    def begin(self, arrival: Arrival) -> _Hashing:
        return _Hashing(self._workstation, arrival.sop_instance)

    def peer(self, ae_title: AETitle) -> Peer:
        return Peer(ae_title, rights=frozenset({"store"}))

    def turned_away(self, calling_ae: AETitle, called_ae: str, address: str, reason: str) -> None:
        pass

    def destination(self, ae_title: AETitle) -> None:
        return None


class _Nothing:
    """A workstation has nothing to find, nothing to retrieve, and no audit trail."""

    def find(self, query: Query) -> Iterator[Json]:
        return iter(())

    def begin(
        self, query: Query, skipped: frozenset[UID] = frozenset(), meanwhile: Callable[[int], None] = lambda known: None
    ) -> Retrieval:
        raise Refused("A workstation has nothing to retrieve.")

    def record(self, event: Event) -> None:
        pass

    def demand(self) -> None:
        pass


class _Hashing:
    """Keeps the digest of what it is sent, and nothing else."""

    def __init__(self, workstation: Workstation, sop_instance: UID) -> None:
        self._workstation = workstation
        self._sop_instance = sop_instance
        self._hash = hashlib.sha256()

    def write(self, fragment: memoryview) -> None:
        self._hash.update(fragment)

    def commit(self) -> Outcome:
        self._workstation.took(self._sop_instance, Digest(self._hash.hexdigest()))
        return Outcome.STORED

    def abort(self) -> None:
        return None


class Memory:
    """A dataset in memory, as the engine sends it."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    @property
    def length(self) -> int:
        return len(self._data)

    def read_into(self, rooms: Sequence[memoryview], position: int) -> None:
        for room in rooms:
            room[:] = self._data[position : position + len(room)]
            position += len(room)
