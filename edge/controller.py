"""The answering end of edge's Unix socket: a table of responders, one task a request, rights by who the caller is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from edge.control import lines
from edge.control.message import Done, Message
from edge.crew import Crew
from edge.errors import OutpostError, Refused, StoreFailed
from edge.responder import Asker, Responder, Responding, Role

log = logging.getLogger(__name__)

REQUEST_BYTES = 1 << 16
REQUEST_SECONDS = 10.0
"""For a request to be whole: it fits the socket's buffer, so it is here, or follows at once."""
REQUESTS_MAX = 256
"""Answered at the same time; more wait to be taken."""
_PAUSE_SECONDS = 0.1
_CREDENTIALS = struct.Struct("3i")


class Controller:
    """Answers the requests of edge.control."""

    def __init__(
        self,
        path: Path,
        responding: Iterable[Responding],
        fail_stop: Callable[[StoreFailed], object] = lambda fault: None,
        most: int = REQUESTS_MAX,
    ) -> None:
        """`path` is the socket, in a directory that keeps strangers out; `fail_stop` is told when the disk failed under a request."""
        self._path = path
        self._most = most
        self._fail_stop = fail_stop
        self._responders: dict[type[Message], Responder] = {}
        for noun in responding:
            for responder in noun.responders():
                assert responder.request not in self._responders, responder.request
                self._responders[responder.request] = responder

    @property
    def requests(self) -> frozenset[type[Message]]:
        """What it answers."""
        return frozenset(self._responders)

    async def serve(self) -> None:
        """Listen, for ever."""
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            listener.bind(str(self._path))
            self._path.chmod(0o660)
            listener.listen(64)
            listener.setblocking(False)
            async with Crew(self._most, _failed) as crew:
                while True:
                    await crew.room()
                    crew.start(self._serve_one(await _accepted(listener)), "control request")

    async def _serve_one(self, line: socket.socket) -> None:
        descriptors: list[int] = []
        with line, contextlib.suppress(ConnectionError):
            try:
                await self._respond(line, descriptors)
                await _send(line, Done())
            except OutpostError as fault:
                if isinstance(fault, StoreFailed):
                    self._fail_stop(fault)
                await _send(line, lines.failed(fault))
            except msgspec.MsgspecError as fault:
                await _send(line, lines.failed(Refused(f"That is no request: {fault}")))
            except ConnectionError:
                raise
            except Exception:
                await _send(line, lines.failed(OutpostError("Outpost has a fault there: its log says more. Please report it.")))
                raise
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    async def _respond(self, line: socket.socket, descriptors: list[int]) -> None:
        user = _user(line)
        request = await _receive(line, descriptors)
        responder = self._responders[type(request)]
        asker = Asker(user, _role(user), descriptors[0] if descriptors else None)
        if asker.role not in responder.who:
            raise Refused("Only root and the edge user may ask this. Use sudo.")
        async with contextlib.aclosing(responder.answer(request, asker)) as answers:
            async for answer in answers:
                await _send(line, answer)


def _failed(task: str, fault: BaseException) -> None:
    log.error("%s failed", task, exc_info=fault)


async def _accepted(listener: socket.socket) -> socket.socket:
    """The next connection."""
    while True:
        try:
            line, _ = await asyncio.get_running_loop().sock_accept(listener)
        except ConnectionAbortedError:
            continue
        except OSError as fault:
            # Out of descriptors or memory: who asks waits in the backlog until there are some again; no spinning meanwhile.
            log.warning("a control request waits: %s", fault)
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return line


async def _receive(line: socket.socket, descriptors: list[int]) -> lines.Request:
    data = b""
    while not data.endswith(b"\n"):
        await _readable(line)
        more, received, _, _ = socket.recv_fds(line, REQUEST_BYTES, 1)
        descriptors += received
        data += more
        if not more or len(data) > REQUEST_BYTES:
            raise Refused("The request did not end.")
    return lines.decode_request.decode(data)


async def _readable(line: socket.socket) -> None:
    """Raises Refused when nothing comes."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(line, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), REQUEST_SECONDS)
    except TimeoutError as fault:
        raise Refused("The request did not end.") from fault
    finally:
        loop.remove_reader(line)


async def _send(line: socket.socket, answer: Message) -> None:
    await asyncio.get_running_loop().sock_sendall(line, lines.encode(answer) + b"\n")


def _user(line: socket.socket) -> int:
    """The Unix user who asks."""
    _, user, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


def _role(user: int) -> Role:
    return Role.ROOT if user == 0 else Role.EDGE if user == os.getuid() else Role.OTHER
