"""Requests to an object store over HTTP, at the pace of the link: one attempt each, the whole answer, no redirect followed."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NoReturn
from urllib.parse import SplitResult

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from cloudsync.archive import address, dates
from cloudsync.archive.line import Line
from cloudsync.archive.paced import Paced, session
from cloudsync.archive.port import (
    ClockWrong,
    CredentialRefused,
    LinkDown,
    NotThere,
    ObjectRefused,
    QuotaExceeded,
    Throttled,
    seconds_asked,
)
from cloudsync.link import unreached
from cloudsync.link.farclock import SET_CLOCK
from edge.clock import Clock
from edge.errors import ConfigError

TAKEN = frozenset({403, 409, 412})
"""What an archive may answer to a create-only put of a name that exists."""
_REQUEST_BYTES, _ANSWER_BYTES = 700, 500
_ANSWER_MAX_BYTES = 80 << 20
"""More than the largest sealed object."""
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>|\"reason\":\s*\"([A-Za-z0-9.]{1,80})\"")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    """In whatever case they are asked for."""
    body: bytes

    def every(self, header: str) -> str:
        """The values of a header that may come more than once, as one (RFC 9110 section 5.3)."""
        return ", ".join(self.headers.getall(header, []))

    @property
    def code(self) -> str:
        """The service's own word for a fault: `<Code>` of S3, `reason` of Google; empty where it has none."""
        found = _CODE.search(self.body[:65536]) if self.status >= 300 else None
        return (found[1] or found[2]).decode() if found else ""


@dataclass(frozen=True, slots=True)
class Words:
    """The codes of one service that say more than the HTTP status does."""

    of_one_object: frozenset[str] = frozenset()
    """What it may hold against one object. Any other refusal would meet each object alike: it waits for a person."""
    slow_down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    """The account, not the credential."""
    try_again: frozenset[str] = frozenset()
    no_place: frozenset[str] = frozenset()
    """There is no such bucket, or not where we ask for it."""
    no_object: frozenset[str] = frozenset()
    clock: frozenset[str] = frozenset()


class ObjectHttp:
    """Connections to one service, made at first use."""

    def __init__(self, line: Line, place: SplitResult, marks: Collection[str], clock: Clock) -> None:
        """`place` is the address of the service; one of the headers `marks` tells its answers from those of a portal or a proxy."""
        self.line = line
        self._place, self._marks, self._clock = place, marks, clock
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The connections, for who asks something else of them (a token)."""
        if self._session is None:
            line = self.line
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=line.connect_seconds, sock_read=line.silence_seconds)
            self._session = session(line.pacing.largest_cap, line.silence_seconds, line.trust, timeout=timeout, auto_decompress=False)
        return self._session

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: Sequence[bytes] = ()) -> Answer:
        """The answer to one request, whatever its status. Raises LinkDown, and ClockWrong where a certificate is refused for it.

        `target` is path and query, encoded.
        """
        sent = {**headers, "Accept-Encoding": "identity"}
        if method in {"PUT", "POST"}:
            sent["Content-Length"] = str(sum(map(len, body)))
        url = URL(f"{self._place.scheme}://{self._place.netloc}{target}", encoded=True)
        try:
            await self.line.pacing.up.take(_REQUEST_BYTES + len(target))
            # Bytes go as a stream, also because in one write nobody could cancel them.
            data = self._pieces(body) if any(body) else None
            async with self.session().request(method, url, headers=sent, data=data, allow_redirects=False) as response:
                await self.line.pacing.down.take(_ANSWER_BYTES)
                if any(mark in response.headers for mark in self._marks):
                    self.line.far.answered(response.headers.get("Date", ""))
                return Answer(response.status, response.headers, await self._whole(response))
        except (aiohttp.ClientError, OSError, ValueError) as fault:  # of OSError TimeoutError is one
            cause = unreached.bottom(fault)
            if isinstance(cause, ssl.SSLCertVerificationError) and dates.concern(cause):
                raise await dates.explained(cause, self._place, self.line, self._clock) from fault
            raise LinkDown(unreached.sentence(fault)) from fault

    async def close(self) -> None:
        made, self._session = self._session, None
        if made is not None:
            await made.close()

    async def _pieces(self, body: Sequence[bytes]) -> AsyncIterator[bytes]:
        for data in body:
            async for piece in self.line.pacing.up.pieces(data):
                yield piece

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        # BytesIO hands out what it holds without a copy: an object lies in memory once. aiohttp reads ahead as much as it is asked for.
        paced, whole = Paced(response.content, self.line.pacing.down), BytesIO()
        while piece := await paced.read(self.line.pacing.down.piece_bytes):
            if whole.write(piece) and whole.tell() > _ANSWER_MAX_BYTES:
                raise LinkDown("the archive's answer does not end")
        return whole.getvalue()


def md5_header(md5: bytes) -> str:
    """As `Content-MD5` (RFC 1864) and Google's `md5Hash` write it."""
    return base64.b64encode(md5).decode()


def raise_status(status: int, code: str, words: Words, name: str, retry_after: str = "") -> NoReturn:
    """A refusal as one of the port's errors. `name` is the object, or empty where the request was about none."""
    reason = f"HTTP {status} {code}".rstrip()
    if code in words.paused or status == 507:
        raise QuotaExceeded(f"the archive's account is closed or full ({reason}): settle it")
    if code in words.clock:
        raise ClockWrong(f"the archive holds the clock of this box for wrong ({reason}): set it; {SET_CLOCK}")
    if code in words.slow_down or status in {429, 503}:
        raise Throttled(f"the archive asks us to slow down ({reason})", seconds_asked(retry_after))
    if code in words.no_place:
        raise CredentialRefused(
            f"the archive's bucket is not there ({reason}): correct archive.container, archive.region or archive.endpoint"
        )
    if code in words.try_again:
        raise LinkDown(f"the archive does not answer properly ({reason})")
    if status == 413 or code in words.of_one_object:
        raise ObjectRefused(f"the archive refuses {name or 'what it is asked for'} ({reason})")
    if status in {401, 403}:
        raise CredentialRefused(f"the archive refuses our credential ({reason}): put a valid one in archive.credential_file")
    if status == 404 and code in words.no_object:
        raise NotThere(f"the archive has no {name}")
    if status < 400 or status in {404, 408, 409, 412, 511} or status >= 500:
        raise LinkDown(f"the archive does not answer properly ({reason})")
    raise CredentialRefused(f"the archive refuses our requests ({reason}): compare the section [archive] of the settings with the service")


def check(bucket: str, endpoint: str) -> None:
    """Raises ConfigError, naming the key, when these do not say where a bucket is; an empty endpoint is the service's own."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", bucket):
        raise ConfigError("archive.container", f"{bucket!r} is no name of a bucket", "Copy it from the console of the service.")
    if endpoint:
        address.check("archive.endpoint", endpoint, "a service", 'Write it like "https://s3.example.org".')
