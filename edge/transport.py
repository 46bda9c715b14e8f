"""Transport connections that several threads hold."""

from __future__ import annotations

import contextlib
import socket


def cut(connection: socket.socket) -> None:
    """From any thread: every wait on the connection ends, with OSError or as if the other side had closed. Idempotent.

    What the `ssl` module does instead, at `shutdown` and at `close`, is to forget TLS first: whoever is sending in that moment would go on
    in the clear.
    """
    with contextlib.suppress(OSError):  # it is gone already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
