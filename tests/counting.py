"""A TCP proxy that counts what crosses the wire, and when. Its buffers are small, as those of a modem would be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_BUFFER_BYTES = 8 << 10


@dataclass(slots=True)
class Crossed:
    """What crossed in one direction."""

    at: list[tuple[float, int]] = field(default_factory=list)
    """Monotonic times, and bytes."""

    @property
    def bytes(self) -> int:
        return sum(count for _, count in self.at)

    @property
    def seconds(self) -> float:
        """From the first byte to the last."""
        return self.at[-1][0] - self.at[0][0]

    def rate(self, after: float) -> float:
        """Bytes a second once this share of the bytes has crossed: before that, buffers on the way are filled."""
        crossed, begin = 0, 0
        while crossed < after * self.bytes:
            crossed += self.at[begin][1]
            begin += 1
        return (self.bytes - crossed) / (self.at[-1][0] - self.at[begin - 1][0])


@dataclass(slots=True)
class Counting:
    """The proxy, while it listens."""

    port: int = 0
    up: Crossed = field(default_factory=Crossed)
    down: Crossed = field(default_factory=Crossed)


@contextlib.asynccontextmanager
async def counting(target_port: int) -> AsyncIterator[Counting]:
    """Listens on a free port of this machine until the block ends; each connection goes on to `target_port`."""
    counts, busy = Counting(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        there_reader, there = await asyncio.open_connection("127.0.0.1", target_port, limit=_BUFFER_BYTES)
        await asyncio.gather(_pass_on(reader, there, counts.up), _pass_on(there_reader, writer, counts.down))
        busy.discard(task)

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)  # connections inherit them
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    server = await asyncio.start_server(serve, sock=listener, limit=_BUFFER_BYTES)
    counts.port = listener.getsockname()[1]
    try:
        yield counts
    finally:
        server.close()
        for task in list(busy):
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await server.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, crossed: Crossed) -> None:
    writer.transport.set_write_buffer_limits(high=0)
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_BUFFER_BYTES):
                writer.write(data)
                await writer.drain()
                crossed.at.append((time.monotonic(), len(data)))
    finally:
        writer.close()
