"""HTTP at the pace of the link, for every adapter: sessions with small buffers, bodies that go piece by piece, answers that come so.

What comes is held back by TCP itself: what is not read fills a small buffer, and the other side waits.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp

from cloudsync.link.pacing import Way

_UNREAD_BYTES = (16 << 10, 4 << 20)
_UNREAD_SECONDS = 0.2
"""So much of the cap may lie unread in the buffer of one connection: four of them fill a link whose round trip takes 0.8 s."""
_READ_AHEAD_BYTES = 64 << 10


class Paced:
    """The body of an answer: what was read is taken from the allowance before the next is."""

    def __init__(self, content: aiohttp.StreamReader, way: Way) -> None:
        self._content = content
        self._way = way

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, count: int = -1) -> bytes:
        """As StreamReader says."""
        data = await self._content.read(count)
        await self._way.take(len(data))
        return data


def session(cap: float, silence_seconds: float, trust: ssl.SSLContext | None = None, **options: Any) -> aiohttp.ClientSession:
    """With small buffers where there is a cap, by the proxy that the environment names, and without cookies.

    A connection that takes nothing for `silence_seconds` breaks off; `trust` are the authorities, those of the system unless given.
    """
    unread = min(_UNREAD_BYTES[1], max(_UNREAD_BYTES[0], int(cap * _UNREAD_SECONDS))) if cap > 0 else 0

    def socket_of(address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(address[0], address[1], address[2])
        made.setblocking(False)
        # What was written and is not taken: the line is gone, or a modem came back with another address and nobody answers any more.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_seconds * 1000))
        if unread:  # before it connects, because the window is agreed on then
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread // 2)  # Linux doubles it
        return made

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=socket_of, ssl=trust or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        read_bufsize=min(_READ_AHEAD_BYTES, unread // 4) if unread else _READ_AHEAD_BYTES,
        **options,
    )
