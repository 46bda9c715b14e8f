"""Reading multipart bodies (RFC 2046 section 5.1, RFC 2387) as they stream in: strict, within fixed memory, whatever is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.message import Message

from aiohttp import StreamReader
from aiohttp.http_exceptions import PayloadEncodingError

from edge.web.faults import BadRequest, TooLarge, TooSlow

HEADERS_MAX_BYTES = 8192
PREAMBLE_MAX_BYTES = 8192
STALL_SECONDS = 30.0
"""How long no byte may come."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type header, as far as it matters here."""

    media: str
    type: str
    """The parameter `type` of multipart/related."""
    boundary: str


def content_type(header: str) -> ContentType:
    """Reads a Content-Type. Raises BadRequest for a multipart without a boundary of RFC 2046."""
    message = Message()
    message["Content-Type"] = header[:1024]
    media = message.get_content_type()
    boundary = message.get_param("boundary", "")
    kind = message.get_param("type", "")
    if not isinstance(boundary, str) or not isinstance(kind, str):
        raise BadRequest("The Content-Type cannot be read.")
    if media.startswith("multipart/") and not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("The Content-Type has no boundary of 1 to 70 characters.")
    return ContentType(media, kind.lower(), boundary)


class MultipartBody:
    """The parts of a body, one after the other: `next_part` and then `data` until it ends, and so on.

    Every method raises BadRequest where the body is no multipart, TooLarge above `most_bytes`, TooSlow when nothing comes.
    """

    def __init__(self, content: StreamReader, boundary: str, most_bytes: int) -> None:
        self._content = content
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._room = most_bytes
        self._buffer = bytearray(b"\r\n")
        self._ended = False
        self._opened = False

    async def next_part(self) -> str | None:
        """The Content-Type of the next part, empty where it has none; None behind the last. The part before must be read to its end."""
        if not self._opened:
            await self._skip_preamble()
        if self._ended:
            return None
        head = await self._headers()
        kind = ""
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadRequest("A part has a header that cannot be read.")
            if name.strip().lower() == b"content-type":
                kind = value.decode("latin-1").strip()
            if name.strip().lower() in {b"content-encoding", b"content-transfer-encoding"} and value.strip().lower() not in {
                b"binary",
                b"8bit",
            }:
                raise BadRequest("A part is encoded; send it as binary.")
        return kind

    async def data(self) -> AsyncGenerator[memoryview, None]:
        """The bytes of the part; each piece is valid until the next is asked for."""
        while True:
            place = self._buffer.find(self._delimiter)
            if place >= 0:
                if place:
                    yield memoryview(bytes(self._buffer[:place]))
                del self._buffer[: place + len(self._delimiter)]
                await self._after_delimiter()
                return
            ready = len(self._buffer) - len(self._delimiter) + 1
            if ready > 0:
                piece = bytes(self._buffer[:ready])
                del self._buffer[:ready]
                yield memoryview(piece)
            await self._more()

    async def _skip_preamble(self) -> None:
        self._opened = True
        skipped = 0
        async for piece in self.data():
            skipped += len(piece)
            if skipped > PREAMBLE_MAX_BYTES:
                raise BadRequest("The body does not begin with its boundary.")

    async def _after_delimiter(self) -> None:
        """What stands behind a boundary: two hyphens behind the last one, else the end of the line."""
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer.startswith(b"--"):
            self._ended = True
            return
        line = await self._through(b"\r\n", 256)
        if line.strip(b" \t"):
            raise BadRequest("A boundary is followed by something that does not belong there.")

    async def _headers(self) -> bytes:
        if await self._starts_with(b"\r\n"):
            del self._buffer[:2]
            return b"Content-Type:"
        return await self._through(b"\r\n\r\n", HEADERS_MAX_BYTES)

    async def _starts_with(self, prefix: bytes) -> bool:
        while len(self._buffer) < len(prefix):
            await self._more()
        return self._buffer.startswith(prefix)

    async def _through(self, end: bytes, most: int) -> bytes:
        """The bytes before `end`, which is taken too."""
        while (place := self._buffer.find(end, 0, most + len(end))) < 0:
            if len(self._buffer) >= most + len(end):
                raise BadRequest("The headers of a part are too long.")
            await self._more()
        found = bytes(self._buffer[:place])
        del self._buffer[: place + len(end)]
        return found

    async def _more(self) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                data = await self._content.readany()
        except TimeoutError as fault:
            raise TooSlow from fault
        except (ConnectionError, RuntimeError) as fault:  # aiohttp says the latter when it has seen the end of the connection
            raise BadRequest("The caller hung up.") from fault
        except PayloadEncodingError as fault:
            raise BadRequest("The body does not end as its headers say.") from fault
        if not data:
            raise BadRequest("The body ends before its last boundary.")
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge
        self._buffer += data
