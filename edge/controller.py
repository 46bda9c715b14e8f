"""The answering end of edge's Unix socket: one task a request, rights by who the caller is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from edge import choices, control, errands, status
from edge.clock import Clock
from edge.config import Config, Layout
from edge.conflicts import Conflicts
from edge.control import Answer, Request
from edge.correcting import Correcting
from edge.dimse.ports import Arrival, Lost, Ready
from edge.errors import OutpostError, Refused
from edge.intake import PackIntake
from edge.keeper import Keeper
from edge.model import UID, Level, Peer, Query, parse_ae_title, parse_uid
from edge.notify import notify
from edge.outreach import Outreach
from edge.peering import Peering
from edge.refusals import Refusals
from edge.retrieve import Link, PackRetrieve
from edge.routing import Routing
from edge.setaside import SetAside
from edge.store.catalogue import Catalogue
from edge.store.packs import OpenPacks

log = logging.getLogger(__name__)

REQUEST_BYTES = 1 << 16
STATUS_SECONDS = 10.0
WAIT_SECONDS = 2.0
WAITERS = 64
"""Requests that wait for recalls at once; more take turns."""
_CREDENTIALS = struct.Struct("3i")
_PIECE = 1 << 18


class Controller:
    """Answers the requests of edge.control."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        peering: Peering,
        correcting: Correcting,
        conflicts: Conflicts,
        set_aside: SetAside,
        packs: OpenPacks,
        intake: PackIntake,
        retrieve: PackRetrieve,
        keeper: Keeper,
        link: Link,
        outreach: Outreach,
        routing: Routing,
        notices: Callable[[], list[str]],
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._peering = peering
        self._correcting = correcting
        self._conflicts = conflicts
        self._set_aside = set_aside
        self._packs = packs
        self._intake = intake
        self._retrieve = retrieve
        self._keeper = keeper
        self._link = link
        self._outreach = outreach
        self._routing = routing
        self._notices = notices
        self._clock = clock
        self._refusals = refusals
        self._tasks: set[asyncio.Task[None]] = set()
        # Threads of their own: who waits for a recall must not take those that read the facts it comes with.
        self._waiters = ThreadPoolExecutor(WAITERS, "recall request")

    async def serve(self) -> None:
        """Listen, for ever."""
        try:
            await self._listen()
        finally:
            self._waiters.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> None:
        path = self._layout.control
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            listener.bind(str(path))
            path.chmod(0o660)
            listener.listen(64)
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            while True:
                line, _ = await loop.sock_accept(listener)
                task = loop.create_task(self._serve_one(line), name="control request")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def tell_manager(self) -> None:
        """Keep the one sentence as systemd's status line; for ever."""
        while True:
            found = await asyncio.to_thread(self._status)
            notify(f"STATUS={found.sentence}")
            await asyncio.sleep(STATUS_SECONDS)

    async def _serve_one(self, line: socket.socket) -> None:
        descriptors: list[int] = []
        with line, contextlib.suppress(ConnectionError):
            try:
                user = _user(line)
                request = await self._receive(line, descriptors)
                async with contextlib.aclosing(self._answer(request, descriptors, user)) as answers:
                    async for answer in answers:
                        await self._send(line, answer)
                await self._send(line, control.Done())
            except OutpostError as fault:
                await self._send(line, control.failed(fault))
            except msgspec.MsgspecError as fault:
                await self._send(line, control.failed(Refused(f"That is no request: {fault}")))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    async def _receive(self, line: socket.socket, descriptors: list[int]) -> Request:
        # A request is one line that fits the socket's buffer: it is here, or follows at once.
        line.settimeout(10)
        data, received, _, _ = await asyncio.to_thread(socket.recv_fds, line, REQUEST_BYTES, 1)
        descriptors += received
        while data and not data.endswith(b"\n"):
            more = await asyncio.to_thread(line.recv, REQUEST_BYTES)
            data = data + more if more and len(data) + len(more) <= REQUEST_BYTES else b""
        line.setblocking(False)
        if not data:
            raise Refused("The request did not end.")
        return control.decode_request.decode(data)

    async def _send(self, line: socket.socket, answer: Answer) -> None:
        await asyncio.get_running_loop().sock_sendall(line, control.encode(answer) + b"\n")

    async def _answer(self, request: Request, descriptors: list[int], user: int) -> AsyncGenerator[Answer, None]:
        match request:
            case control.GetStatus():
                yield await asyncio.to_thread(self._status)
            case control.ListStudies():
                for study in await asyncio.to_thread(self._studies, request):
                    yield study
            case control.ListPeers() | control.PutPeer() | control.RemovePeer() | control.ListCallers() | control.ApprovePeer():
                for row in await asyncio.to_thread(self._peering.answer, request, user):
                    yield row
            case errands.ListRoutes() | errands.PutRoute() | errands.RemoveRoute() | errands.RetryRoute():
                for route in await asyncio.to_thread(self._routing.answer, request, user):
                    yield route
            case control.CorrectStudy() | control.ListCorrections():
                for correction in await asyncio.to_thread(self._correcting.answer, request, user):
                    yield correction
            case choices.ListConflicts() | choices.ShowConflict() | choices.Choose():
                for told in await asyncio.to_thread(self._conflicts.answer, request, user):
                    yield told
            case (
                choices.ListQuarantine()
                | choices.ShowQuarantined()
                | choices.ExportQuarantined()
                | choices.ReadmitQuarantined()
                | choices.DiscardQuarantined()
            ):
                beside = descriptors[0] if descriptors else None
                for quarantined in await asyncio.to_thread(self._set_aside.answer, request, user, beside):
                    yield quarantined
            case control.Evict():
                for one in await asyncio.to_thread(self._keeper.evict, request.study, request.dry_run):
                    yield control.Evicted(pack=one.pack, study=one.study, bytes=one.bytes)
            case control.RecallStudy():
                async with contextlib.aclosing(self._recall(request)) as recall:
                    async for recalled in recall:
                        yield recalled
            case control.Admit():
                if not descriptors:
                    raise Refused("No descriptor came with the request.")
                yield await asyncio.to_thread(self._admit, request, descriptors[0])
            case errands.EchoPeer() | errands.SendStudy() | errands.QueryPeer() | errands.RetrieveStudy() | errands.CommitStudy():
                async with contextlib.aclosing(self._outreach.answers(request, user)) as answers:
                    async for answer in answers:
                        yield answer

    def _status(self) -> control.Status:
        ((studies, waiting, waiting_bytes, oldest, instances, last_held, stopped),) = self._catalogue.rows("counts")
        conflicts = len(self._catalogue.rows("conflicts"))
        link = self._catalogue.rows("link")
        state, since, goodput, link_sentence, answered_at, sequence = link[0] if link else ("", None, 0.0, "", 0.0, 0)
        now, receiving = self._clock.now(), len(self._packs.studies)
        link_sentence = status.link_sentence(state, link_sentence, answered_at, now)
        figures = status.Figures(
            studies, waiting, waiting_bytes, last_held, stopped, state, since, link_sentence, goodput, receiving, conflicts
        )
        return control.Status(
            sentence=status.sentence(figures, now),
            lamp=status.lamp(figures),
            site=self._config.site.name,
            ae_title=self._config.site.ae_title,
            studies=studies,
            instances=instances,
            waiting_studies=waiting,
            waiting_bytes=waiting_bytes,
            oldest_waiting_at=oldest,
            last_held_at=last_held,
            stopped=stopped,
            receiving=receiving,
            link_state=state,
            link_since=since,
            link_sentence=link_sentence,
            goodput_bytes_per_second=goodput,
            catalog_sequence=sequence,
            cache_bytes=int(self._catalogue.figure("cached_bytes")),
            cache_max_bytes=self._config.cache.max_bytes,
            free_bytes=shutil.disk_usage(self._layout.cache).free,
            quarantined=len(self._catalogue.rows("quarantined")),
            conflicts=conflicts,
            shared_ids=len(self._catalogue.rows("people_apart")),
            refusals=self._refusals.all(),
            notices=self._notices(),
        )

    def _studies(self, request: control.ListStudies) -> list[control.Study]:
        link_up = self._link.up()
        return [status.study(row, link_up) for row in self._catalogue.rows("studies_in_packs", study=request.study, most=request.most)]

    async def _recall(self, request: control.RecallStudy) -> AsyncGenerator[control.Recalled, None]:
        matching = {"0020000D": request.study}
        level = Level.STUDY
        for tag, uid, deeper in (("0020000E", request.series, Level.SERIES), ("00080018", request.instance, Level.IMAGE)):
            if uid is not None:
                matching[tag], level = uid, deeper
        loop = asyncio.get_running_loop()
        retrieval = await loop.run_in_executor(self._waiters, self._retrieve.begin, Query(level, matching))
        if level is Level.STUDY:
            self._retrieve.want_study(UID(request.study))
        try:
            if not retrieval.total:
                raise Refused("There is no such study, series or instance here.")
            here, lost = 0, ""
            while retrieval.remaining:
                match await loop.run_in_executor(self._waiters, retrieval.next, WAIT_SECONDS):
                    case Ready():
                        here += 1
                    case Lost(reason=reason):
                        lost = reason
                # Said also when nothing came: who has gone is found out by it.
                yield control.Recalled(here=here, total=retrieval.total)
            if lost:
                raise Refused(lost)
        finally:
            retrieval.close()

    def _admit(self, request: control.Admit, descriptor: int) -> control.Admitted:
        sop_class, sop_instance, syntax = (parse_uid(text) for text in (request.sop_class, request.sop_instance, request.transfer_syntax))
        calling = parse_ae_title(request.calling_ae)
        called = parse_ae_title(self._config.site.ae_title)
        if not (sop_class and sop_instance and syntax and calling and called):
            raise Refused("SOP class, SOP instance and transfer syntax must be UIDs, the calling AE an AE title.")
        arrival = Arrival(
            sop_class=sop_class,
            sop_instance=sop_instance,
            transfer_syntax=syntax,
            calling_ae=calling,
            called_ae=called,
            address=request.address,
            peer=Peer(calling),
        )
        reception = self._intake.begin(arrival)
        try:
            buffer = bytearray(_PIECE)
            view = memoryview(buffer)
            while count := os.readv(descriptor, [buffer]):
                reception.write(view[:count])
            return control.Admitted(outcome=reception.commit().value)
        finally:
            reception.abort()


def _user(line: socket.socket) -> int:
    """The Unix user who asks. Raises Refused for all but two."""
    _, user, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user not in {0, os.getuid()}:
        raise Refused("Only root and the edge user may ask this. Use sudo.")
    return int(user)
