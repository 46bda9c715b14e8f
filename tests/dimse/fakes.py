"""A written intake, index, retrieve and peer table in memory, over real instances; and the server on them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom

from edge.audit import AuditFull, Event
from edge.code.native import write_native
from edge.dataset.source import PackSource
from edge.dimse.classes import EXPLICIT_LE
from edge.dimse.pdu import Deadlines
from edge.dimse.ports import Arrival, Lost, Making, Outcome, Ready
from edge.dimse.requestor import Requestor
from edge.dimse.server import Listening, Server
from edge.dimse.tls import Certificates
from edge.errors import OutpostError
from edge.model import UID, AETitle, Digest, Json, Level, Located, PackId, Peer, Query

EVERYTHING = frozenset({"store", "find", "move", "get"})
QUICK = Deadlines(request_seconds=1.0, pdu_seconds=1.0, idle_seconds=1.0, answer_seconds=5.0, close_seconds=0.2)
PATIENT = Deadlines(request_seconds=10.0, pdu_seconds=10.0, idle_seconds=30.0, answer_seconds=20.0, close_seconds=1.0)
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Instance:
    """A Part 10 file, and where its dataset begins in it."""

    path: Path
    located: Located
    attributes: Json

    @property
    def dataset(self) -> bytes:
        return self.path.read_bytes()[self.located.dataset_offset :]


FILES = Path(pydicom.data.__file__).parent / "test_files"
CT, MR, MR_IMPLICIT, RTDOSE = "CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "rtdose.dcm"
MR_RLE, MR_JPEGLS, JPEG_LOSSY = "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"


def instances(*names: str) -> list[Instance]:
    return [instance(FILES / name) for name in names]


def video(one: Instance) -> Instance:
    """An instance as if it were in MPEG2, which is sent as it is or not at all."""
    return replace(one, located=replace(one.located, transfer_syntax=UID("1.2.840.10008.1.2.4.100")))


def instance(path: Path) -> Instance:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    meta = dataset.file_meta
    offset = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
    located = Located(
        sop_class=UID(str(dataset.SOPClassUID)),
        sop_instance=UID(str(dataset.SOPInstanceUID)),
        series=UID(str(dataset.SeriesInstanceUID)),
        study=UID(str(dataset.StudyInstanceUID)),
        transfer_syntax=UID(str(meta.TransferSyntaxUID)),
        pack=PackId("a" * 26),
        dataset_offset=offset,
        dataset_length=path.stat().st_size - offset,
        digest=Digest(hashlib.sha256(path.read_bytes()[offset:]).hexdigest()),
        present=True,
    )
    keep = ("00080016", "00080018", "00080020", "00080030", "00080050", "00080060", "00080061", "00081030", "0008103E", "00100010")
    keep += ("00100020", "00100030", "00100040", "0020000D", "0020000E", "00200010", "00200011", "00200013")
    every = dataset.to_json_dict(suppress_invalid_tags=True)
    attributes = {tag: every[tag] for tag in keep if tag in every}
    return Instance(path, located, {**attributes, "00080056": {"vr": "CS", "Value": ["ONLINE"]}})


@dataclass
class FakeIntake:
    """Keeps datasets in memory. `faults` are raised instead of the next begins, writes or commits, by name."""

    outcome: Outcome = Outcome.STORED
    received: list[tuple[Arrival, bytes]] = field(default_factory=list)
    aborted: list[Arrival] = field(default_factory=list)
    faults: dict[str, OutpostError] = field(default_factory=dict)
    fragments: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def begin(self, arrival: Arrival) -> FakeReception:
        self._maybe("begin")
        return FakeReception(self, arrival)

    def _maybe(self, step: str) -> None:
        if step in self.faults:
            raise self.faults.pop(step)


@dataclass
class FakeReception:
    intake: FakeIntake
    arrival: Arrival
    data: bytearray = field(default_factory=bytearray)

    def write(self, fragment: memoryview) -> None:
        self.intake._maybe("write")
        self.intake.fragments += 1
        self.data += fragment

    def commit(self) -> Outcome:
        self.intake._maybe("commit")
        self.intake.received.append((self.arrival, bytes(self.data)))
        self.intake.ended.set()
        return self.intake.outcome

    def abort(self) -> None:
        self.intake.aborted.append(self.arrival)
        self.intake.ended.set()


KEYS = {Level.PATIENT: "00100020", Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}


def first(attributes: Json, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    value = values[0]
    return "=".join(value.values()) if isinstance(value, dict) else str(value)


def matches(attributes: Json, matching: dict[str, str]) -> bool:
    for tag, text in matching.items():
        value = first(attributes, tag)
        if not any(wanted == value or (wanted.endswith("*") and value.startswith(wanted[:-1])) for wanted in text.split("\\")):
            return False
    return True


@dataclass
class FakeIndex:
    instances: list[Instance]
    queries: list[Query] = field(default_factory=list)
    fault: OutpostError | None = None

    def find(self, query: Query) -> Iterator[Json]:
        self.queries.append(query)
        if self.fault:
            raise self.fault
        seen = {}
        for one in self.instances:
            if matches(one.attributes, query.matching):
                seen.setdefault(first(one.attributes, KEYS[query.level]), one.attributes)
        yield from list(seen.values())[: query.limit]


class MadeAtOnce:
    """An instance that is made native in this process, since the tests have it in their hand."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def wait(self, seconds: float) -> bool:
        return True

    def take(self) -> Ready:
        source = PackSource(self._ready.descriptor, self._ready.offset, self._ready.length)
        with tempfile.TemporaryFile() as file:
            length = write_native(source, self._ready.located.transfer_syntax, file.write, 1 << 30)
            file.flush()
            return Ready(replace(self._ready.located, transfer_syntax=EXPLICIT_LE), os.dup(file.fileno()), 0, length)

    def drop(self) -> None:
        pass


@dataclass
class FakeRetrieve:
    """`gate` holds instances back as a recall would; `lost` are those that never come; `missing` more cannot be named. What there is is
    known once `heads` is set.
    """

    instances: list[Instance]
    refusal: OutpostError | None = None
    gate: threading.Semaphore | None = None
    lost: frozenset[str] = frozenset()
    missing: int = 0
    heads: threading.Event | None = None
    queries: list[Query] = field(default_factory=list)
    closed: int = 0
    making: Callable[[Ready], Making] = MadeAtOnce

    def begin(
        self, query: Query, skipped: frozenset[UID] = frozenset(), meanwhile: Callable[[int], None] = lambda known: None
    ) -> FakeRetrieval:
        self.queries.append(query)
        if self.refusal:
            raise self.refusal
        found = [one for one in self.instances if matches(one.attributes, query.matching)]
        while self.heads and not self.heads.wait(0.05):
            meanwhile(len(found))
        return FakeRetrieval(self, [one for one in found if one.located.sop_class not in skipped])


class FakeRetrieval:
    def __init__(self, retrieve: FakeRetrieve, found: list[Instance]) -> None:
        self._retrieve = retrieve
        self._found = list(found)
        self._descriptors: list[int] = []
        self.located = [one.located for one in found]
        self.total = len(found)
        self.missing = retrieve.missing
        self.syntaxes = frozenset((one.located.sop_class, one.located.transfer_syntax) for one in found)

    @property
    def remaining(self) -> int:
        return len(self._found)

    def next(self, timeout_seconds: float) -> Ready | Lost | None:
        gate = self._retrieve.gate
        if gate is not None and not gate.acquire(timeout=timeout_seconds or None, blocking=timeout_seconds > 0):
            return None
        one = self._found.pop(0)
        if one.located.sop_instance in self._retrieve.lost:
            return Lost(one.located, "the archive does not answer")
        descriptor = os.open(one.path, os.O_RDONLY)
        self._descriptors.append(descriptor)
        return Ready(one.located, descriptor, one.located.dataset_offset, one.located.dataset_length)

    def native(self, ready: Ready) -> Making:
        return self._retrieve.making(ready)

    def close(self) -> None:
        self._retrieve.closed += 1
        while self._descriptors:
            os.close(self._descriptors.pop())


@dataclass
class FakePeers:
    peers: dict[str, Peer] = field(default_factory=dict)

    away: list[tuple[str, str, str, str]] = field(default_factory=list)

    def peer(self, ae_title: AETitle) -> Peer | None:
        return self.peers.get(ae_title)

    def turned_away(self, calling_ae: AETitle, called_ae: str, address: str, reason: str) -> None:
        self.away.append((calling_ae, called_ae, address, reason))

    def destination(self, ae_title: AETitle) -> Peer | None:
        peer = self.peers.get(ae_title)
        return peer if peer is not None and peer.host else None


@dataclass
class FakeAudit:
    """Keeps events in memory; `full` refuses those who want to see something."""

    events: list[Event] = field(default_factory=list)
    full: bool = False

    def record(self, event: Event) -> None:
        self.events.append(event)

    def demand(self) -> None:
        if self.full:
            raise AuditFull


@dataclass
class Box:
    """A running server and what it runs on."""

    server: Server
    intake: FakeIntake
    index: FakeIndex
    retrieve: FakeRetrieve
    peers: FakePeers
    audit: FakeAudit

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def tls_port(self) -> int:
        assert self.server.tls_port is not None
        return self.server.tls_port

    def connect(self) -> socket.socket:
        return socket.create_connection((HERE, self.port), 5)


@contextlib.contextmanager
def box(
    instances: list[Instance] | None = None,
    deadlines: Deadlines = PATIENT,
    total: int = 16,
    each: int = 8,
    match_limit: int = 100,
    certificates: Certificates | None = None,
    calling: Certificates | None = None,
) -> Iterator[Box]:
    """A server that knows the peer TEST with every right, on a second port with TLS where there are certificates.

    It calls others with the certificates of that port, or with those for `calling`.
    """
    held = instances or []
    peers = FakePeers({"TEST": Peer(AETitle("TEST"), rights=EVERYTHING, idle_seconds=deadlines.idle_seconds)})
    listening = Listening(HERE, 0, frozenset({AETitle("OUTPOST"), AETitle("OUTPOST_STAT")}), total, each, match_limit, deadlines)
    intake, index, retrieve = FakeIntake(), FakeIndex(held), FakeRetrieve(held)
    audit = FakeAudit()
    requestor = Requestor(deadlines, certificates=calling or certificates)
    server = Server(listening, intake, index, retrieve, peers, audit, requestor, certificates=certificates)
    server.start()
    try:
        yield Box(server, intake, index, retrieve, peers, audit)
    finally:
        server.stop(grace_seconds=1.0)
