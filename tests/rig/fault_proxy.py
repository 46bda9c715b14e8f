"""A proxy between cloudsync and Azurite that does to a request what a link, a hotspot or a service may do to it.

It speaks TCP, TLS where it has a certificate, and HTTP/1.1: a request is read whole, or as far as the fault lets it, and goes on to
Azurite on a connection of its own. Its receive buffers are small, as those of a modem would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

_BUFFER_BYTES = 16 << 10
_GONE = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)
_CLIENT_HELLO = b"\x16"
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER that sends RST."""


@dataclass(frozen=True, slots=True)
class Request:
    """`name` is what the archive calls the object; empty for a request to the container."""

    method: str
    name: str
    length: int
    """Bytes of the body."""
    head: bytes = field(repr=False)


@dataclass(slots=True)
class Exchange:
    """One request on its way, and the means to let it fail."""

    request: Request
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _archive: int
    _days: Callable[[], float]
    taken: int = 0
    """Bytes of the body that crossed."""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    """Of these bytes."""
    archive_said: int = 0
    """The status of the archive's answer; 0 while it was not asked."""
    answered: int = 0
    """The status of the answer that went back whole; 0 for none."""

    async def take(self, most: int | None = None) -> bytes:
        """The next bytes of the body: `most`, or what is left."""
        left = self.request.length - self.taken
        body = b""
        while (missing := min(left, left if most is None else most) - len(body)) > 0:
            piece = await self._reader.read(min(missing, _BUFFER_BYTES))
            if not piece:
                raise ConnectionResetError
            body += piece
            self.taken += len(piece)
            self.digest.update(piece)
        return body

    async def ask(self, body: bytes) -> bytes:
        """What the archive answers, byte for byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._archive)
        try:
            writer.write(self.request.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
        self.archive_said = int(answer[9:12])
        head, end, rest = answer.partition(b"\r\n\r\n")
        head = re.sub(rb"(?i)\r\n(connection|keep-alive):[^\r]*", b"", head)
        return re.sub(rb"(?i)(?<=\r\ndate: )[^\r]*", self._dated, head) + end + rest

    async def answer(self, answer: bytes) -> None:
        self._writer.write(answer)
        await self._writer.drain()
        self.answered = self.answered or int(answer[9:12])

    def reset(self) -> NoReturn:
        """The connection breaks off at once."""
        self.answered = 0
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._writer.transport.abort()
        raise ConnectionResetError

    async def stall(self) -> NoReturn:
        """Nothing moves any more, either way, until whoever waits hangs up, or the proxy does."""
        self._writer.transport.pause_reading()
        await asyncio.Event().wait()
        raise AssertionError

    def _dated(self, found: re.Match[bytes]) -> bytes:
        there = parsedate_to_datetime(found[0].decode()).timestamp() + self._days() * 86_400
        return formatdate(there, usegmt=True).encode()


Deed = Callable[[Exchange], Awaitable[None]]


async def pass_on(exchange: Exchange) -> None:
    """No fault at all."""
    await exchange.answer(await exchange.ask(await exchange.take()))


async def lose_answer(exchange: Exchange) -> None:
    """The request reached the archive, and the answer reaches nobody."""
    await exchange.ask(await exchange.take())
    exchange.reset()


async def cut_answer(exchange: Exchange) -> None:
    """The answer breaks off in its middle."""
    answer = await exchange.ask(await exchange.take())
    await exchange.answer(answer[: len(answer) * 2 // 3])
    exchange.reset()


def reset_after(share: float) -> Deed:
    """The connection breaks off in the middle of a body, after this share of it."""

    async def deed(exchange: Exchange) -> None:
        await exchange.take(int(exchange.request.length * share))
        exchange.reset()

    return deed


def stall_after(share: float) -> Deed:
    """After this share of a body nothing is taken any more, and the connection stays."""

    async def deed(exchange: Exchange) -> None:
        await exchange.take(int(exchange.request.length * share))
        await exchange.stall()

    return deed


async def half_open(exchange: Exchange) -> None:
    """Everything is taken, and nobody is there who would answer."""
    await exchange.take()
    await exchange.stall()


def delayed(seconds: float, then: Deed = pass_on) -> Deed:
    async def deed(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await then(exchange)

    return deed


def slowly(bytes_per_second: float) -> Deed:
    """A line that carries no more than this, up and down."""

    async def deed(exchange: Exchange) -> None:
        body = b""
        while exchange.taken < exchange.request.length:
            body += await exchange.take(_BUFFER_BYTES)
            await asyncio.sleep(_BUFFER_BYTES / bytes_per_second)
        answer = await exchange.ask(body)
        for begin in range(0, len(answer), _BUFFER_BYTES):
            await exchange.answer(answer[begin : begin + _BUFFER_BYTES])
            await asyncio.sleep(_BUFFER_BYTES / bytes_per_second)

    return deed


def answering(status: str, code: str = "", headers: str = "", body: bytes = b"", arrives: bool = False) -> Deed:
    """Answers in the archive's place; with `arrives` the archive has done what it was asked for all the same."""
    said = f"x-ms-error-code: {code}\r\nx-ms-request-id: 1\r\n" if code else ""

    async def deed(exchange: Exchange) -> None:
        taken = await exchange.take()
        if arrives:
            await exchange.ask(taken)
        dated = f"Date: {formatdate(usegmt=True)}".encode()
        dated = re.sub(rb"(?<=Date: ).*", exchange._dated, dated)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{said}{headers}".encode() + dated + b"\r\n\r\n"
        await exchange.answer(head + (b"" if exchange.request.method == "HEAD" else body))

    return deed


portal = answering("200 OK", headers="Content-Type: text/html\r\n", body=b"<html>Sign in to the hotspot</html>")
redirect = answering("302 Found", headers="Location: http://hotspot.example/login\r\n")


@dataclass(slots=True)
class FaultProxy:
    """While it listens. What is done to a request is chosen when its head has come."""

    archive: int
    """The port of Azurite."""
    port: int = 0
    choose: Callable[[Request], Deed] = field(default=lambda request: pass_on)
    certificate: tuple[Path, Path] | None = None
    """For connections that begin from now on; None to speak no TLS."""
    days: float = 0.0
    """The archive's clock is so far ahead of ours."""
    ended: Callable[[Exchange], None] = field(default=lambda exchange: None)
    """Is told of each exchange when it ended, whichever way."""
    _busy: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def hang_up(self) -> None:
        """All connections break off."""
        for task, writer in list(self._busy.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy[task] = writer
        try:
            with contextlib.suppress(*_GONE):
                if self.certificate is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*self.certificate)
                    await writer.start_tls(context)
                while True:
                    await self._exchange(reader, writer)
        finally:
            del self._busy[task]
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == _CLIENT_HELLO:  # to somebody who speaks no TLS
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            raise ConnectionResetError
        head = first + await reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(_request(head), reader, writer, self.archive, lambda: self.days)
        try:
            await self.choose(exchange.request)(exchange)
        finally:
            self.ended(exchange)


def _request(head: bytes) -> Request:
    method, target, *_ = head.split(b" ", 2)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    _account, _container, *name = unquote(urlsplit(target.decode()).path).removeprefix("/").split("/", 2) + [""] * 2
    return Request(method.decode(), name[0], int(length[1]) if length else 0, head)


@contextlib.asynccontextmanager
async def proxying(archive: int) -> AsyncIterator[FaultProxy]:
    """On a free port of this machine until the block ends; `archive` is the port of Azurite."""
    proxy = FaultProxy(archive)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)  # connections inherit it
    server = await asyncio.start_server(proxy._serve, sock=listener, limit=_BUFFER_BYTES)
    proxy.port = listener.getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.hang_up()
        await server.wait_closed()
