"""Answers that stream: pieces of pack files go out in bounded steps, whatever their length, alone or in multipart/related (RFC 2387)."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import hdrs, web

from edge.durable import read_errors
from edge.errors import Corrupt, OutpostError

log = logging.getLogger(__name__)

STEP = 1 << 20
"""The most of a pack file that one answer holds in memory, bytes."""
STALL_SECONDS = 60.0
"""How long a caller may take no byte."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of bytes of an open file."""

    descriptor: int
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length


Piece = bytes | FileRange


@dataclass(frozen=True, slots=True)
class Part:
    """One body: its Content-Type, its bytes in order, and where it can be had alone."""

    content_type: str
    pieces: Sequence[Piece]
    location: str | None = None
    unread: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """Called when its bytes are not there or cannot be read."""

    @property
    def length(self) -> int:
        return sum(len(piece) for piece in self.pieces)


async def steps(piece: Piece) -> AsyncIterator[bytes]:
    """The bytes of a piece, at most STEP at a time. Raises Corrupt when the file ends before the range does, or cannot be read."""
    if isinstance(piece, bytes):
        yield piece
        return
    offset, end = piece.offset, piece.offset + piece.length
    while offset < end:
        data = await _read(piece.descriptor, min(STEP, end - offset), offset)
        if not data:
            raise Corrupt("A pack file is shorter than the catalogue says. Evict and recall the study; check the disk.")
        yield data
        offset += len(data)


class Answer:
    """A response that is being streamed. Leaving its context ends it; a fault after its first byte cuts the connection, so that nobody
    takes a half for the whole.
    """

    def __init__(self, request: web.Request, content_type: str, length: int | None = None) -> None:
        self._request = request
        self._boundary: bytes | None = None
        self.response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: content_type})
        self.response.content_length = length

    @classmethod
    def multipart(cls, request: web.Request, media: str) -> Answer:
        """An answer of many parts of one media type."""
        boundary = secrets.token_hex(16)
        answer = cls(request, f'multipart/related; type="{media}"; boundary={boundary}')
        answer._boundary = boundary.encode()
        return answer

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> bool:
        if fault is None:
            if not self.response.prepared:
                await self.response.prepare(self._request)
            if self._boundary is not None:
                await self._write(b"--%b--\r\n" % self._boundary)
            await self.response.write_eof()
            return False
        if not self.response.prepared:
            return False
        if self._request.transport is not None:
            self._request.transport.abort()
        if isinstance(fault, OutpostError):
            log.warning("an answer was cut off: %s", type(fault).__name__)
            return True
        return isinstance(fault, TimeoutError | ConnectionError)

    async def send(self, part: Part) -> None:
        """Send a part; the first of a response opens it. Raises TimeoutError when the caller takes nothing for STALL_SECONDS."""
        if self._boundary is not None:
            lines = [b"--%b" % self._boundary, b"Content-Type: %b" % part.content_type.encode(), b"Content-Length: %d" % part.length]
            if part.location is not None:
                lines.append(b"Content-Location: %b" % part.location.encode())
            await self._write(b"\r\n".join([*lines, b"", b""]))
        try:
            for piece in part.pieces:
                async for data in steps(piece):
                    await self._write(data)
        except Corrupt:
            part.unread()
            raise
        if self._boundary is not None:
            await self._write(b"\r\n")

    async def write(self, data: bytes) -> None:
        """Send bytes of a body that is no multipart."""
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(STALL_SECONDS):
            if not self.response.prepared:
                await self.response.prepare(self._request)
            await self.response.write(data)


async def _read(descriptor: int, count: int, offset: int) -> bytes:
    """From the page cache at once; what the disk has to bring, in a thread."""
    buffer = bytearray(count)
    with read_errors():
        try:
            found = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError as fault:
            if fault.errno not in {errno.EAGAIN, errno.EOPNOTSUPP}:
                raise
            found = 0
        if found:
            return bytes(memoryview(buffer)[:found]) if found < count else bytes(buffer)
        return await asyncio.to_thread(os.pread, descriptor, count, offset)
