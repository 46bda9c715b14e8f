"""Something that answers every HTTP request alike, in the place of an archive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def answering(answer: bytes, puts: bytes = b"", tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Its address; to PUT and POST it answers `puts` where that is given."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
                await reader.readexactly(length)
                said = puts if puts and head.startswith((b"PUT", b"POST")) else answer
                writer.write(said if not head.startswith(b"HEAD") else said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        gc.collect()


def response(status: str, headers: str = "", body: bytes = b"") -> bytes:
    """An HTTP response; `headers` are whole lines."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
