"""Rotates copies of a box's keys, each in a process that is killed one write later than the one before, until one comes to its end.

`python -m tests.cloudsync.rotating BOX TARGET` makes TARGET/1, TARGET/2 and so on. A program of its own, because it forks: no other
thread is alive then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from cloudsync import epochs
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal.keys import Keys

AT = 1_767_225_601.0
WRITES = frozenset({"open", "write", "fsync", "rename", "execute", "commit", "unlink", "close", "put"})
"""Functions written in C before which it is killed: whatever makes something durable or visible, and the hand-over to SQLite."""
_AT_MOST = 1000


async def rotate(place: Path) -> Keys:
    """As `outpost keys rotate` does on the directory of a box."""
    ledger = await Ledger.open(place / "ledger.db")
    try:
        own = await epochs.current(place / "keys", ledger)
        return await epochs.begin(place / "keys", ledger, own, own.siblings, AT)
    finally:
        await ledger.close()


def killed(place: Path, moment: int) -> bool:
    """Whether it was killed before its N-th write; False when it came to its end first."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def look(frame: FrameType, event: str, argument: object) -> None:
            if event == "c_call" and getattr(argument, "__name__", "") in WRITES:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            threading.setprofile(look)
            sys.setprofile(look)
            asyncio.run(rotate(place))
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in {0, -signal.SIGKILL}, ended
    return ended != 0


def main(box: Path, target: Path) -> None:
    for moment in range(1, _AT_MOST):
        place = target / str(moment)
        shutil.copytree(box, place)
        if not killed(place, moment):
            return
    raise AssertionError("it never came to its end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
