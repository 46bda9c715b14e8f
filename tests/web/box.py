"""A state directory with real instances, an edge that answers on its socket, and a caller of the web services."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from io import BytesIO
from pathlib import Path

import pydicom
from aiohttp import ClientSession
from pydicom.data import get_testdata_file

from edge.clock import SystemClock
from edge.config import Cache, Config, Layout
from edge.control import lines
from edge.control.access import NoteAccess
from edge.control.cache import NoteUse
from edge.control.instances import Admit, Admitted
from edge.control.message import Done, Failed
from edge.control.scrub import Suspect
from edge.control.status import GetStatus, Status
from edge.control.studies import Recalled, RecallStudy
from edge.dataset.part10 import read_file_meta
from edge.dimse.ports import Arrival
from edge.errors import Transient
from edge.failstop import FailStop
from edge.intake import PackIntake
from edge.model import AETitle, Peer, parse_uid
from edge.store.catalogue import Catalogue
from edge.store.packs import OpenPacks
from edge.store.room import Room

CT, IMPLICIT, BIG, RLE, JPEG_2000, MULTIFRAME, BITS, DEFLATED, STRUCTURE, REPORT = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "image_dfl.dcm",
    "nested_priv_SQ.dcm",
    "reportsi.dcm",
)
CT_STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Takes instances in any encoding."""
SAFE = Status(
    sentence="All 3 studies are safe in the archive; the last one 2 minutes ago.",
    lamp="green",
    site="Hill clinic",
    ae_title="OUTPOST",
    studies=3,
    instances=120,
    waiting_studies=0,
    waiting_bytes=0,
    oldest_waiting_at=None,
    last_held_at=1_700_000_000.0,
    stopped=0,
    receiving=0,
    link_state="up",
    link_since=1_699_000_000.0,
    link_sentence="The archive answers.",
    goodput_bytes_per_second=48_000.0,
    catalog_sequence=7,
    cache_bytes=1_000_000,
    cache_max_bytes=2_000_000,
    free_bytes=3_000_000,
    quarantined=0,
)
CONFIG = Config(cache=Cache(reserve_bytes=0))


class Box:
    """What edge keeps, without its network: takes files in, closes packs, evicts and recalls by moving pack files away and back."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.open_packs, self.layout.heads, self.layout.quarantine):
            directory.mkdir(parents=True)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.packs = OpenPacks(self.layout.cache, CONFIG.cache, self.catalogue, SystemClock())
        self.fail_stop = FailStop(lambda: None)
        self.intake = PackIntake(
            CONFIG, self.layout, self.catalogue, self.packs, Room([self.layout.cache], 0), SystemClock(), self.fail_stop
        )

    def take(self, data: bytes) -> str:
        """Store a Part 10 file as a C-STORE would; the outcome's name."""
        meta = read_file_meta(data)
        return self.receive(meta.sop_class, meta.sop_instance, meta.transfer_syntax, memoryview(data)[meta.dataset_offset :])

    def receive(self, sop_class: str, sop_instance: str, syntax: str, dataset: memoryview) -> str:
        title = AETitle("TEST")
        uids = [parse_uid(text) for text in (sop_class, sop_instance, syntax)]
        arrival = Arrival(*uids, title, AETitle("OUTPOST"), "127.0.0.1", Peer(title))  # type: ignore[arg-type]
        reception = self.intake.begin(arrival)
        try:
            reception.write(dataset)
            return reception.commit().value
        finally:
            reception.abort()

    def close_packs(self) -> list[str]:
        due = self.packs.take_due(everything=True)
        for pack in due:
            self.packs.close(pack)
        return [pack.id for pack in due]

    def hold_and_evict(self, pack: str) -> None:
        with self.catalogue.facts(1):
            self.catalogue.hold(pack, 0.0, 1)
        self.catalogue.evict(pack)
        path = self.layout.cached(pack)
        path.rename(path.with_suffix(".away"))

    def come_back(self, pack: str) -> None:
        path = self.layout.cached(pack)
        path.with_suffix(".away").rename(path)
        self.catalogue.begin_recall(pack)
        self.catalogue.recalled(pack, [row[7] for row in self.catalogue.rows("members_of_pack", pack)])

    def close(self) -> None:
        self.close_packs()
        self.catalogue.close()


class FakeEdge:
    """The answering end of edge's socket, over a Box. `offline` is the sentence with which a recall fails."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.requests: list[lines.Request] = []
        self.used: list[str] = []
        self.told = asyncio.Event()
        self.suspected: asyncio.Queue[list[str]] = asyncio.Queue()
        self.away: list[str] = []
        self.offline: str | None = None
        self.refusal: Failed | None = None
        self.status = SAFE
        self.seen: list[NoteAccess] = []
        self.blind: Failed | None = None
        self.asked_status = 0

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.ExitStack() as taken:
            listener.bind(str(self.box.layout.control))
            listener.listen(8)
            listener.setblocking(False)
            async with asyncio.TaskGroup() as tasks:
                while True:
                    line, _ = await loop.sock_accept(listener)
                    tasks.create_task(self._one(taken.enter_context(line)))

    async def _one(self, line: socket.socket) -> None:
        with line:
            line.setblocking(True)
            data, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, line, 1 << 16, 1)
            if not data:
                return
            request = lines.decode_request.decode(data)
            if isinstance(request, NoteAccess):
                self.seen.append(request)
            elif isinstance(request, NoteUse):
                self.used += request.packs
                self.told.set()
            elif isinstance(request, Suspect):
                self.suspected.put_nowait(list(request.packs))
            else:
                self.requests.append(request)
            answers = await asyncio.to_thread(self._answer, request, descriptors)
            with contextlib.suppress(ConnectionError):
                for answer in answers:
                    line.sendall(lines.encode(answer) + b"\n")
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, request: lines.Request, descriptors: list[int]) -> list[lines.Answer]:
        if isinstance(request, NoteAccess):
            return [self.blind or Done()]
        if self.refusal is not None:
            return [self.refusal]
        if isinstance(request, RecallStudy):
            if self.offline is not None:
                return [lines.failed(Transient(self.offline))]
            for pack in self.away:
                self.box.come_back(pack)
            return [Recalled(here=1, total=1), Done()]
        if isinstance(request, NoteUse | Suspect):
            return [Done()]
        if isinstance(request, GetStatus):
            self.asked_status += 1
            return [self.status, Done()]
        assert isinstance(request, Admit)
        with os.fdopen(os.dup(descriptors[0]), "rb") as file:
            dataset = file.read()
        outcome = self.box.receive(request.sop_class, request.sop_instance, request.transfer_syntax, memoryview(dataset))
        return [Admitted(outcome=outcome), Done()]


class Web:
    """A caller with the right token, and the services that it calls."""

    def __init__(self, box: Box, edge: FakeEdge, session: ClientSession, address: str, token: str) -> None:
        self.box = box
        self.edge = edge
        self.session = session
        self.address = address
        self.token = token

    async def get(self, path: str, accept: str | None = None) -> tuple[int, dict[str, str], bytes]:
        headers = {"Authorization": f"Bearer {self.token}"}
        if accept is not None:
            headers["Accept"] = accept
        async with self.session.get(self.address + path, headers=headers, skip_auto_headers={"Accept"}) as response:
            return response.status, dict(response.headers), await response.read()

    async def post(self, path: str, body: bytes, content_type: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type} | headers
        async with self.session.post(self.address + path, data=body, headers=sent) as response:
            return response.status, dict(response.headers), await response.read()


def sample(name: str) -> bytes:
    """A real instance that pydicom ships."""
    found = get_testdata_file(name)
    assert found is not None
    return Path(str(found)).read_bytes()


def dataset_of(data: bytes) -> bytes:
    return data[read_file_meta(data).dataset_offset :]


def parts_of(headers: dict[str, str], body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart answer, checked byte by byte."""
    boundary = headers["Content-Type"].split("boundary=")[1].encode()
    found = []
    rest = body
    while not rest.startswith(b"--" + boundary + b"--"):
        assert rest.startswith(b"--" + boundary + b"\r\n")
        head, _, rest = rest.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields["Content-Length"])
        found.append((fields, rest[:length]))
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
    assert rest == b"--" + boundary + b"--\r\n"
    return found


async def path_of(served: Web, sop_instance: str) -> str:
    """The path of an instance."""
    status, _, body = await served.get(f"/instances?SOPInstanceUID={sop_instance}")
    assert status == 200
    (found,) = json.loads(body)
    address: str = found["00081190"]["Value"][0]
    return address.removeprefix(served.address)


async def stored(served: Web, name: str) -> tuple[bytes, str]:
    """Take a sample in; its bytes and its path."""
    data = sample(name)
    assert served.box.take(data) == "stored"
    return data, await path_of(served, pydicom.dcmread(BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
