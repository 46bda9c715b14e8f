"""Store (STOW-RS, PS3.18 section 10.5): each part streams to the disk and goes to edge's intake, which makes it durable and answers."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import ExitStack, aclosing
from typing import BinaryIO

import msgspec
from aiohttp import hdrs, web

from edge.config import Config, Layout
from edge.control.instances import Admit, Admitted
from edge.dataset.attributes import identify
from edge.dataset.look import look
from edge.dataset.part10 import META_CAP, FileMeta, read_file_meta
from edge.dataset.source import PackSource
from edge.dataset.walk import Malformed
from edge.durable import disk_errors, write_all
from edge.errors import OutpostError, Refused, StoreFull, Transient
from edge.model import Identity, parse_uid
from edge.store.room import Room
from edge.web.accept import DICOM, DICOM_JSON, takes
from edge.web.asking import ask
from edge.web.faults import BadRequest, NotAcceptable, TooLarge, Unavailable, UnsupportedMedia
from edge.web.multipart import MultipartBody, content_type
from edge.web.stored import MISMATCH, NOT_UNDERSTOOD, OUT_OF_RESOURCES, PROCESSING, Report
from edge.web.target import base_of, forms_of, uid_in

REQUEST_MAX_BYTES = 64 << 30
PARTS_MAX = 20_000
AT_ONCE = 4
"""Requests that store at the same time; others wait."""
CALLING_AE = "STOW-RS"

_STEP = 1 << 20
_META_BYTES = 132 + META_CAP
_FIRST_LOOK = 1 << 16
_REASONS = {"contradictory": MISMATCH, "unidentified": NOT_UNDERSTOOD}
"""Failure Reason of an outcome of edge.dimse.ports; any other outcome is success."""


class Stores:
    """The store resource."""

    def __init__(self, config: Config, layout: Layout) -> None:
        self._layout = layout
        self._room = Room([layout.quarantine], config.cache.reserve_bytes)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def store(self, request: web.Request) -> web.StreamResponse:
        """Take every part in; one answer for each. Whatever was durable before a fault stays, and is named."""
        if not takes(forms_of(request), DICOM_JSON, "application/json"):
            raise NotAcceptable("The result comes as application/dicom+json only.")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise UnsupportedMedia("Compressed requests are not taken. Send the instances as they are.")
        kind = content_type(request.headers.get(hdrs.CONTENT_TYPE, ""))
        if kind.media != "multipart/related" or kind.type != DICOM:
            raise UnsupportedMedia('Send instances as multipart/related; type="application/dicom".')
        if (request.content_length or 0) > REQUEST_MAX_BYTES:
            raise TooLarge
        study = uid_in(request, "study") if "study" in request.match_info else None
        report = Report(base_of(request), study)
        async with self._turns:
            body = MultipartBody(request.content, kind.boundary, REQUEST_MAX_BYTES)
            try:
                await self._take_all(body, report, request.remote or "")
            except (BadRequest, TooLarge):
                if not report.stored:
                    raise
                report.unreadable(NOT_UNDERSTOOD)
        if not report.parts:
            raise BadRequest("The body holds no instance.")
        if not report.stored and report.retry is not None:
            raise report.retry if isinstance(report.retry, StoreFull) else Unavailable(str(report.retry))
        return web.Response(body=msgspec.json.encode(report.json()), status=report.status, content_type=DICOM_JSON)

    async def _take_all(self, body: MultipartBody, report: Report, address: str) -> None:
        while (kind := await body.next_part()) is not None:
            if report.parts >= PARTS_MAX:
                raise TooLarge(f"At most {PARTS_MAX} instances are taken in one request.")
            with ExitStack() as kept:
                with disk_errors():
                    file = kept.enter_context(tempfile.TemporaryFile(dir=self._layout.quarantine, buffering=0))
                await self._take(body, kind, file, report, address)

    async def _take(self, body: MultipartBody, kind: str, file: BinaryIO, report: Report, address: str) -> None:
        """One part: its dataset goes to the file, the file to edge."""
        meta, full = await self._receive(body, file)
        if meta is None or kind.partition(";")[0].strip().lower() not in {"", DICOM}:
            report.unreadable(NOT_UNDERSTOOD)
            return
        identity = await asyncio.to_thread(_identify, file.fileno(), meta.transfer_syntax)
        sop_class = parse_uid(meta.sop_class) or (identity.sop_class if identity else None)
        sop_instance = parse_uid(meta.sop_instance) or (identity.sop_instance if identity else None)
        if sop_class is None or sop_instance is None or parse_uid(meta.transfer_syntax) is None:
            report.unreadable(NOT_UNDERSTOOD)
            return
        if full is not None:
            report.failed(sop_class, sop_instance, OUT_OF_RESOURCES, full)
            return
        if report.study is not None and identity is not None and identity.study != report.study:
            report.failed(sop_class, sop_instance, MISMATCH, None)
            return
        question = Admit(
            sop_class=sop_class, sop_instance=sop_instance, transfer_syntax=meta.transfer_syntax, calling_ae=CALLING_AE, address=address
        )
        try:
            outcome = await self._admit(question, file.fileno())
        except (Transient, Refused) as fault:
            reason = OUT_OF_RESOURCES if isinstance(fault, StoreFull) else PROCESSING
            report.failed(sop_class, sop_instance, reason, fault if isinstance(fault, Transient) else None)
            return
        if outcome in _REASONS or identity is None:
            report.failed(sop_class, sop_instance, _REASONS.get(outcome, PROCESSING), None)
        else:
            report.took(identity)

    async def _receive(self, body: MultipartBody, file: BinaryIO) -> tuple[FileMeta | None, OutpostError | None]:
        """The part's file meta, None where it has none; the dataset behind it is in the file, unless the disk is at its reserve.

        A part that cannot be kept is read to its end all the same.
        """
        pending, meta, broken = bytearray(), None, False
        full: OutpostError | None = None
        async with aclosing(body.data()) as data:
            async for piece in data:
                if broken or full is not None:
                    continue
                pending += piece
                if meta is None and len(pending) >= _META_BYTES:
                    meta = _meta_of(pending)
                    broken = meta is None
                elif meta is not None and len(pending) >= _STEP:
                    full = await asyncio.to_thread(self._write, file, bytes(pending))
                    pending.clear()
        if meta is None and not broken:
            meta = _meta_of(pending)
        if meta is not None and full is None:
            full = await asyncio.to_thread(self._write, file, bytes(pending))
        return meta, full

    def _write(self, file: BinaryIO, data: bytes) -> OutpostError | None:
        try:
            self._room.demand(len(data))
            with disk_errors():
                write_all(file.fileno(), data)
        except StoreFull as fault:
            return fault
        return None

    async def _admit(self, question: Admit, descriptor: int) -> str:
        os.lseek(descriptor, 0, os.SEEK_SET)
        async with aclosing(ask(self._layout.control, question, descriptor)) as answers:
            async for answer in answers:
                if isinstance(answer, Admitted):
                    return answer.outcome
        raise Refused("Edge did not say what became of it.")


def _meta_of(pending: bytearray) -> FileMeta | None:
    """The file meta at the head of what came; it is taken off."""
    try:
        meta = read_file_meta(bytes(pending))
    except Malformed:
        return None
    del pending[: meta.dataset_offset]
    return meta


def _identify(descriptor: int, transfer_syntax: str) -> Identity | None:
    try:
        found = identify(os.pread(descriptor, _FIRST_LOOK, 0), transfer_syntax)
        return found or look(PackSource(descriptor, 0, os.fstat(descriptor).st_size), transfer_syntax)[1]
    except Malformed:
        return None
