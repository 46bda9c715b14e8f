"""A datagram that says "look now". Losing it costs one poll interval, nothing else."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path


class Doorbell:
    """The listening end, one for each side; `fileno` goes into an event loop or selector."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        path.chmod(0o660)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """Forget every ring so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)

    def close(self) -> None:
        self._socket.close()


def ring(path: Path) -> None:
    """Ring at `path`. Nobody there, a full queue, or something else that the other side put there: nothing happens."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as bell,
        contextlib.suppress(OSError),
    ):
        bell.sendto(b"!", str(path))
