"""Asking edge over its Unix socket, and waiting for the answers (edge.web.asking does it in an event loop)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from edge.control.lines import LINE_BYTES, Answer, NotRunning, Request, decode_answer, encode, failure
from edge.control.message import Done, Failed


def ask(path: Path, request: Request, descriptor: int | None = None, timeout_seconds: float | None = None) -> Iterator[Answer]:
    """Send one request to the socket at `path` and yield its answers; Done ends it silently, Failed raises. Blocking.

    Raises NotRunning when nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_seconds)
        try:
            line.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as fault:
            raise NotRunning from fault
        message = encode(request) + b"\n"
        if descriptor is None:
            line.sendall(message)
        else:
            socket.send_fds(line, [message], [descriptor])
        with line.makefile("rb") as answers:
            while data := answers.readline(LINE_BYTES):
                answer = decode_answer.decode(data)
                if isinstance(answer, Done):
                    return
                if isinstance(answer, Failed):
                    raise failure(answer)
                yield answer
    raise NotRunning("Outpost ended before it answered. Try again; `outpost run` starts it.")
