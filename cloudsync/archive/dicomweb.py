"""An archive that speaks DICOMweb (PS3.18): Google Cloud Healthcare API, Azure DICOM, dcm4chee, Orthanc.

Instances go up by STOW-RS as the files they are, QIDO-RS says what is there, and WADO-RS brings them back untouched
(`transfer-syntax=*`). There is no `google-cloud-healthcare` package: Google's own way is google-auth and HTTPS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol
from urllib.parse import urlsplit

import aiohttp

from cloudsync.archive import address, dates, json_text, stow
from cloudsync.archive.access import Access
from cloudsync.archive.instances import InstanceName, Offer, Reply
from cloudsync.archive.line import Line
from cloudsync.archive.paced import Paced, session
from cloudsync.archive.port import (
    CredentialRefused,
    Damaged,
    LinkDown,
    NotThere,
    ObjectRefused,
    QuotaExceeded,
    Throttled,
    seconds_asked,
)
from cloudsync.link import unreached
from cloudsync.link.pacing import Pacing
from edge.clock import Clock, SystemClock
from edge.model import UID, parse_uid

_REQUEST_BYTES, _ANSWER_BYTES = 900, 500
_READ_BYTES = 1 << 20
_ANSWER_MAX_BYTES = 64 << 20
PAGE = 1000
"""Matches that are asked for at once. Google gives 5,000 studies at most."""
_JSON = "application/dicom+json"
_OF_DICOM = frozenset({_JSON, "application/dicom", "multipart/related"})
_UNTOUCHED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_PORTAL = f"{unreached.PORTAL} and archive.url"
_READ_ITEM_BY_ITEM = frozenset({200, 202, 400, 409})
_OF_THE_REQUEST = frozenset({400, 409, 413, 415, 422})
"""What an archive may hold against one request. Any other refusal would meet each request alike: it waits for a person."""


class DicomWeb:
    """The archive at one DICOMweb address; `credential_file` is as cloudsync.archive.access says, None for none."""

    def __init__(self, url: str, credential_file: Path | None = None, line: Line | None = None, clock: Clock | None = None) -> None:
        """Without `line` nothing holds it back. Raises ConfigError as `check`."""
        check(url)
        self._url = url.rstrip("/")
        self._clock = clock or SystemClock()
        self._line = line or Line.of(clock=self._clock)
        self._pacing = self._line.pacing
        self._access = Access(credential_file, self._clock, self._line)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"DicomWeb({self._url!r})"

    async def store(self, offers: Sequence[Offer]) -> tuple[Reply, ...]:
        if not offers:
            return ()
        body = _Multipart(offers)
        headers = {"Content-Type": body.content_type, "Content-Length": str(body.size), "Accept": _JSON}
        async with self._asked("POST", "/studies", headers, body) as response:
            answer = await self._whole(response)
        return self._replies(response, answer, offers)

    async def exists(self, study: UID, series: UID) -> frozenset[UID]:
        return frozenset([uid async for uid, _ in self._matches(f"/studies/{study}/series/{series}/instances", _INSTANCE)])

    async def retrieve(self, name: InstanceName, into: BinaryIO, at_most: int) -> None:
        into.seek(0)
        into.truncate()
        path = f"/studies/{name.study}/series/{name.series}/instances/{name.sop_instance}"
        async with self._asked("GET", path, {"Accept": _UNTOUCHED}) as response:
            if response.status in {404, 410}:
                raise NotThere(f"the archive has no instance {name.sop_instance}")
            if response.status in _OF_THE_REQUEST:
                raise ObjectRefused(f"the archive refuses to give instance {name.sop_instance} (HTTP {response.status})")
            if response.status != 200:
                _raise(response, path)
            response.content = Paced(response.content, self._pacing.down)  # type: ignore[assignment]
            try:
                await _receive(response, into, at_most)
            except ValueError as fault:  # aiohttp's word for a multipart body that is none, or is cut short
                raise Damaged(f"what the archive sends of instance {name.sop_instance} is cut short") from fault

    async def list(self) -> AsyncIterator[InstanceName]:
        async for study, _ in self._matches("/studies", _STUDY):
            async for uid, item in self._matches(f"/studies/{study}/instances", _INSTANCE):
                yield InstanceName(study, _uid(item, _SERIES), uid)

    async def close(self) -> None:
        made, self._session = self._session, None
        if made is not None:
            await made.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            line = self._line
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=line.connect_seconds, sock_read=line.silence_seconds)
            self._session = session(line.pacing.largest_cap, line.silence_seconds, line.trust, timeout=timeout)
        return self._session

    @contextlib.asynccontextmanager
    async def _asked(
        self, method: str, path: str, headers: dict[str, str], body: _Multipart | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request; where a token that was fetched is not taken any more, to the same with a fresh one."""
        client = self._connected()
        async with self._mapped():
            for renewed in (False, True):
                known = await self._access.headers(client)
                await self._pacing.up.take(_REQUEST_BYTES)
                data = None if body is None else body.sent(self._pacing)
                async with client.request(method, self._url + path, headers=headers | known, data=data, allow_redirects=False) as response:
                    await self._pacing.down.take(_ANSWER_BYTES)
                    if response.content_type in _OF_DICOM:  # the archive itself, not a portal or a proxy
                        self._line.far.answered(response.headers.get("Date", ""))
                    if response.status == 401 and self._access.refused(known) and not renewed:
                        continue
                    yield response
                    return

    @contextlib.asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as fault:
            cause = unreached.bottom(fault)
            if isinstance(cause, ssl.SSLCertVerificationError) and dates.concern(cause):
                raise await dates.explained(cause, urlsplit(self._url), self._line, self._clock) from fault
            raise LinkDown(unreached.sentence(fault)) from fault

    async def _matches(self, path: str, tag: str) -> AsyncIterator[tuple[UID, dict[str, object]]]:
        """What QIDO-RS lists, each once, by the UID in `tag`, page by page. A page without anything new is the end: so it is of an archive
        that passes over `limit` and `offset`, too, in whatever order it lists.
        """
        offset = 0
        seen: set[UID] = set()
        while True:
            async with self._asked("GET", f"{path}?limit={PAGE}&offset={offset}", {"Accept": _JSON}) as response:
                answer = await self._whole(response)
            if response.status == 204 or (response.status == 404 and path != "/studies"):
                return
            if response.status not in {200, 206}:
                _raise(response, path)
            page = json_text.read(answer, object)
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise LinkDown(_PORTAL)
            before = len(seen)
            for item in page:
                uid = _uid(item, tag)
                if uid not in seen:
                    seen.add(uid)
                    yield uid, item
            if len(seen) == before:
                return
            offset += len(page)  # an archive may give fewer at once than it is asked for

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        paced, answer = Paced(response.content, self._pacing.down), bytearray()
        while piece := await paced.read(_READ_BYTES):
            answer += piece
            if len(answer) > _ANSWER_MAX_BYTES:
                raise LinkDown("the archive's answer does not end")
        return bytes(answer)

    def _replies(self, response: aiohttp.ClientResponse, answer: bytes, offers: Sequence[Offer]) -> tuple[Reply, ...]:
        uids = [offer.name.sop_instance for offer in offers]
        if response.status in _READ_ITEM_BY_ITEM:
            try:
                replies = stow.replies(answer, uids)
            except stow.NoAnswer:
                if response.status in {200, 202}:
                    raise LinkDown(_PORTAL) from None
            else:
                if stow.is_without_room(answer):
                    raise QuotaExceeded("the archive has no room for more instances: make some there")
                return replies if len(uids) > 1 else (_said(replies[0]),)
        if response.status not in _OF_THE_REQUEST:
            _raise(response, "/studies")
        reason = f"the archive does not take it (HTTP {response.status})"
        return tuple(Reply(uid, "failed" if len(uids) == 1 else "unsaid", reason) for uid in uids)


class _Multipart:
    """The body of a STOW-RS request (PS3.18 section 10.5): its size is known, and it can be sent more than once."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        boundary = uuid.uuid4().hex
        self._offers = offers
        self._begin = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"--{boundary}--\r\n".encode()
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self.size = sum(len(self._begin) + offer.size + 2 for offer in offers) + len(self._end)

    async def sent(self, pacing: Pacing) -> AsyncIterator[bytes]:
        """The bytes, each piece as soon as it may go."""
        async for data in self._content():
            async for piece in pacing.up.pieces(data):
                yield piece

    async def _content(self) -> AsyncIterator[bytes]:
        for offer in self._offers:
            yield self._begin
            for offset in range(0, offer.size, _READ_BYTES):
                yield await asyncio.to_thread(offer.read, offset, min(_READ_BYTES, offer.size - offset))
            yield b"\r\n"
        yield self._end


def check(url: str) -> None:
    """Raises ConfigError where it is no address of a DICOMweb service that may be spoken to."""
    address.check("archive.url", url, "a DICOMweb service", 'Write it like "https://host/path/dicom-web".')


class _Readable(Protocol):
    async def read(self, count: int, /) -> bytes: ...


class _Part:
    """The body of one part, as a stream."""

    def __init__(self, part: aiohttp.BodyPartReader) -> None:
        self._part = part

    async def read(self, count: int, /) -> bytes:
        return await self._part.read_chunk(count)


async def _receive(response: aiohttp.ClientResponse, into: BinaryIO, at_most: int) -> None:
    """Write the one instance of an answer, which Google may also send without multipart."""
    kind = response.content_type
    if kind == "multipart/related":
        part = await aiohttp.MultipartReader.from_response(response).next()
        if not isinstance(part, aiohttp.BodyPartReader):
            raise Damaged("the archive sends an answer without an instance")
        await _copy(_Part(part), into, at_most)
    elif kind == "application/dicom":
        await _copy(response.content, into, at_most)
    else:
        raise LinkDown(_PORTAL)


async def _copy(source: _Readable, into: BinaryIO, at_most: int) -> None:
    size, held = 0, bytearray()
    while piece := await source.read(64 << 10):
        size += len(piece)
        if size > at_most:
            raise Damaged(f"the archive sends more than {at_most} bytes of one instance")
        held += piece
        if len(held) >= _READ_BYTES:
            await asyncio.to_thread(into.write, held)
            held = bytearray()
    await asyncio.to_thread(into.write, held)


def _said(reply: Reply) -> Reply:
    """Of one that was offered alone: what is not said to be stored failed."""
    return Reply(reply.sop_instance, "failed", reply.reason) if reply.outcome == "unsaid" else reply


def _raise(response: aiohttp.ClientResponse, path: str) -> NoReturn:
    status = response.status
    reason = f"HTTP {status}"
    if status == 507:
        raise QuotaExceeded(f"the archive is full ({reason}): make room there")
    if status in {401, 403}:
        raise CredentialRefused(f"the archive refuses our credential ({reason}): put a valid one in archive.credential_file")
    if status in {429, 503}:
        raise Throttled(f"the archive asks us to slow down ({reason})", seconds_asked(response.headers.get("Retry-After", "")))
    if status < 400 or status in {408, 511} or status >= 500:
        raise LinkDown(f"the archive does not answer properly ({reason})")
    if status in {404, 405, 410} and path == "/studies":
        raise CredentialRefused(f"there is no DICOMweb service ({reason}): correct archive.url")
    raise CredentialRefused(f"the archive refuses our requests ({reason}): compare archive.url and archive.credential_file with it")


def _uid(item: dict[str, object], tag: str) -> UID:
    found = parse_uid(stow.text(item, tag))
    if found is None:
        raise LinkDown("the archive lists something that has no UID")
    return found
