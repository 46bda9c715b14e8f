"""`python -m cloudsync --state DIR`: ships and recalls until SIGTERM or SIGINT. A second signal ends it at once."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from edge import process
from edge.config import Config, Layout, load
from edge.errors import OutpostError
from edge.notify import notify


def main() -> int:
    """Run it; returns the exit code of the error that ended it, 0 after a signal."""
    parser = argparse.ArgumentParser(prog="python -m cloudsync", description="Seals, ships and recalls; holds the keys.")
    parser.add_argument("--state", type=Path, required=True, help="the state directory that `outpost setup` made")
    layout = Layout(parser.parse_args().state)
    process.begin("cloudsync", process.BEHIND_RECEPTION)
    for chatty in ("azure", "aiosqlite"):  # they log every request
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        config = load(layout.config)
        process.lock(layout.cloudsync_lock)
        asyncio.run(_serve(config, layout))
    except (OutpostError, BaseExceptionGroup) as fault:
        return process.failed(fault)
    return 0


async def _serve(config: Config, layout: Layout) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end(number: int) -> None:
        notify("STOPPING=1")
        stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    # Imported once the lock is held: a second cloudsync is refused without waiting for it.
    if config.archive.kind == "dicomweb":
        from cloudsync.instance_service import InstanceService  # noqa: PLC0415

        await InstanceService(config, layout).run(stop, lambda: notify("READY=1"))
        return
    from cloudsync.service import Service  # noqa: PLC0415

    await Service(config, layout).run(stop, lambda: notify("READY=1"))


if __name__ == "__main__":
    sys.exit(main())
