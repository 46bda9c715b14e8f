"""`python -m cloudsync --state DIR`: ships and recalls until SIGTERM or SIGINT. A second signal ends it at once."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from cloudsync import logs
from cloudsync.service import Service, lock
from edge.config import Layout, load
from edge.errors import OutpostError
from edge.notify import notify

log = logging.getLogger("cloudsync")


def main() -> int:
    """Run it; returns the exit code of the error that ended it, 0 after a signal."""
    parser = argparse.ArgumentParser(prog="python -m cloudsync", description="Seals, ships and recalls; holds the keys.")
    parser.add_argument("--state", type=Path, required=True, help="the state directory that `outpost setup` made")
    layout = Layout(parser.parse_args().state)
    logs.to_stderr()
    os.umask(0o027)
    try:
        config = load(layout.config)
        with lock(layout.cloudsync_lock):
            asyncio.run(_serve(Service(config, layout)))
    except OutpostError as fault:
        log.critical("%s", fault)
        return fault.exit_code
    except BaseExceptionGroup as group:
        first = _first(group)
        log.critical("%s", first, exc_info=None if isinstance(first, OutpostError) else group)
        return first.exit_code if isinstance(first, OutpostError) else 1
    return 0


async def _serve(service: Service) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end(number: int) -> None:
        notify("STOPPING=1")
        stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    await service.run(stop, lambda: notify("READY=1"))
    log.info("stopped")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


if __name__ == "__main__":
    sys.exit(main())
