"""The edge-web process: binds, serves until it is told to stop, ends in order."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import warnings
from contextlib import suppress

from aiohttp import web

from edge.config import Config, Layout
from edge.durable import write_whole
from edge.errors import ConfigError
from edge.notify import notify
from edge.web.app import make
from edge.web.token import load

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10.0
"""How long answers may go on after SIGTERM."""


async def serve(config: Config, layout: Layout) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError for settings that cannot be."""
    host = check_host(config.web.host)
    warnings.filterwarnings("ignore", module="pydicom")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _make_directories(layout)
    app = make(config, layout, load(layout.web_token))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        port = await _bind(runner, host, config.web.port)
        write_whole(layout.edge / "web.port", b"%d\n" % port)
        log.info("listening", extra={"port": port})
        notify("READY=1")
        await stop.wait()
        notify("STOPPING=1")
    finally:
        await runner.cleanup()


def check_host(host: str) -> str:
    """The host to bind. Raises ConfigError for any but the loopback: there is a token, but no TLS yet."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    if host == "localhost":
        return host
    raise ConfigError(
        "web.host",
        f"{host!r} is not an address of this machine alone, and DICOMweb has no TLS in this release",
        'Use "127.0.0.1", and a TLS proxy on this machine for others.',
    )


def _make_directories(layout: Layout) -> None:
    for path in (layout.edge, layout.quarantine):
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as fault:
            cure = "Run `outpost setup`, or give this user the right to write there."
            raise ConfigError("--state", f"{path} cannot be made ({fault.strerror})", cure) from fault


async def _bind(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise ConfigError("web.port", f"{port} is in use", "Stop what listens there, or choose another port.") from fault
        raise ConfigError("web.port", f"{port} cannot be bound ({fault.strerror})", "Choose another port.") from fault
    return int(runner.addresses[0][1])
