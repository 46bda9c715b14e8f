"""Asking edge over its Unix socket, in an event loop (edge.control has the requests, the answers and the blocking end)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

from edge.control.lines import LINE_BYTES, Answer, NotRunning, Request, decode_answer, encode, failure
from edge.control.message import Done, Failed


async def ask(path: Path, request: Request, descriptor: int | None = None) -> AsyncGenerator[Answer, None]:
    """Send one request and yield its answers; Done ends it silently, Failed raises. Closing the iterator takes the request back.

    Raises NotRunning when nobody listens, or edge ends before it has answered. The descriptor stays the caller's.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        try:
            await loop.sock_connect(line, str(path))
            message = encode(request) + b"\n"
            # A descriptor goes with the first byte; the buffer of a fresh socket takes a whole request.
            sent = socket.send_fds(line, [message], [] if descriptor is None else [descriptor])
            if sent < len(message):  # edge may have answered and hung up on a whole one by now
                await loop.sock_sendall(line, message[sent:])
        except (FileNotFoundError, ConnectionError, BlockingIOError) as fault:
            raise NotRunning from fault
        async for data in _lines(line):
            answer = decode_answer.decode(data)
            if isinstance(answer, Done):
                return
            if isinstance(answer, Failed):
                raise failure(answer)
            yield answer
    raise NotRunning("Outpost ended before it answered. Try again; `outpost run` starts it.")


async def listens(path: Path) -> bool:
    """Whether edge takes requests."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(line, str(path)), 2.0)
        except (OSError, TimeoutError):
            return False
    return True


async def _lines(line: socket.socket) -> AsyncGenerator[bytes, None]:
    """What comes, line by line, until the other end closes."""
    loop = asyncio.get_running_loop()
    pending = b""
    with contextlib.suppress(ConnectionError):
        while data := await loop.sock_recv(line, 1 << 16):
            *whole, pending = (pending + data).split(b"\n")
            for one in whole:
                yield one
            if len(pending) > LINE_BYTES:
                raise NotRunning("Edge sent a line without an end. Run edge and edge-web of one release.")
