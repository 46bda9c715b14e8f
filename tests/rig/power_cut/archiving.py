"""cloudsync with its folder archive, told on the tape what lies in it: `python -m tests.rig.power_cut.archiving NOTES --state DIR`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from cloudsync.archive.folder import Folder
from cloudsync.archive.port import Stat
from cloudsync.service import Service
from edge import process
from edge.config import Layout, load
from edge.errors import OutpostError
from tests.rig.power_cut.notes import Notes


class Noted:
    """A folder archive; each object is noted after it is there, and before anybody hears of it."""

    def __init__(self, folder: Folder, notes: Notes) -> None:
        self._folder = folder
        self._notes = notes

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        await self._folder.put(name, data, md5)
        self._notes.say(put=name)

    async def get(self, name: str) -> bytes:
        return await self._folder.get(name)

    async def head(self, name: str) -> Stat | None:
        return await self._folder.head(name)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        return self._folder.list(prefix)

    async def close(self) -> None:
        await self._folder.close()


async def serve(layout: Layout, notes: Notes) -> None:
    config, stop, loop = load(layout.config), asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await Service(config, layout, archive=Noted(Folder(Path(config.archive.path)), notes)).run(stop, lambda: None)


def main() -> int:
    notes, _, state = sys.argv[1:]
    process.begin("cloudsync")
    try:
        asyncio.run(serve(Layout(Path(state)), Notes(Path(notes))))
    except (OutpostError, BaseExceptionGroup) as fault:
        return process.failed(fault)
    return 0


if __name__ == "__main__":
    sys.exit(main())
