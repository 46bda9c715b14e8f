"""What each process of Outpost does when it starts: one at a time on its directory, log lines in JSON, and an end with its supervisor."""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import signal
import sys
from pathlib import Path
from traceback import extract_tb
from typing import NoReturn

from edge.clock import utc
from edge.errors import AlreadyRunning, OutpostError, StoreFailed

SUPERVISED = "OUTPOST_SUPERVISOR"
"""Environment variable: the process id of `outpost run`, or of the demo, where it started this process."""
BEHIND_RECEPTION = 10
"""The niceness of the processes that must not slow reception when all cores are busy."""
_PR_SET_PDEATHSIG = 1


def begin(name: str, niceness: int = 0) -> None:
    """Log to standard error as JSON lines, write files that others cannot read, and end when the supervisor is gone.

    `niceness` is the least that the process is to have (setpriority(2)); one that was started with more keeps it.
    """
    os.umask(0o027)
    if os.getpriority(os.PRIO_PROCESS, 0) < niceness:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(name))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    end_with_supervisor()


def end_with_supervisor() -> None:
    """Get SIGTERM when the process that started this one, and said so in the environment, ends in whatever way."""
    supervisor = os.environ.get(SUPERVISED)
    if supervisor:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(supervisor):  # it was gone before that call
            os.kill(os.getpid(), signal.SIGTERM)


def lock(path: Path) -> int:
    """Be the only process on a directory; held until the process ends, however it ends. Raises AlreadyRunning at once."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        os.close(descriptor)
        raise AlreadyRunning from fault
    return descriptor


def failed(fault: OutpostError | BaseExceptionGroup[BaseException]) -> int:
    """Log why the process ends and return its exit code. A group that holds anything but errors of Outpost is raised again."""
    while isinstance(fault, BaseExceptionGroup):
        known, others = fault.split(OutpostError)
        if known is None or others is not None:
            raise fault
        inner = known.exceptions[0]
        assert isinstance(inner, OutpostError | BaseExceptionGroup)
        fault = inner
    logging.getLogger(__name__).error("%s", fault)
    return fault.exit_code


def stop_dead(fault: StoreFailed) -> NoReturn:
    """End the process at once, as a power cut would: on a disk that failed nothing is to be closed, flushed or written any more."""
    os._exit(failed(fault))


class _JsonLines(logging.Formatter):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": utc(record.created), "process": self._name, "level": record.levelname.lower(), "says": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            # Never the text of a foreign exception: it may quote a value.
            line["fault"] = record.exc_info[0].__name__
            line["where"] = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(extract_tb(record.exc_info[2])))
        return json.dumps(line)
