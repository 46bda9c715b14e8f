"""The worker process, `python -m edge.code`: one job a line on standard input, one answer a line on standard output."""

from __future__ import annotations

import argparse
import errno
import functools
import math
import os
import resource
import socket
import sys

import msgspec

from edge import errors
from edge.code.coder import code
from edge.code.confine import confine
from edge.code.decoder import finish_job, restore
from edge.code.fingerprint import fingerprints
from edge.code.jobs import (
    Answer,
    CodeJob,
    DecodeJob,
    Failure,
    FingerprintJob,
    Fingerprints,
    Finished,
    FinishJob,
    Job,
    Native,
    NativeJob,
    Restoration,
)
from edge.dataset.source import PackSource
from edge.durable import write_all

_BUFFER_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_JOBS: msgspec.json.Decoder[Job] = msgspec.json.Decoder(Job)
_BROKEN = frozenset({errno.EIO, errno.EROFS, errno.EUCLEAN})


def main() -> None:
    """Answer jobs until standard input ends."""
    arguments = argparse.ArgumentParser(prog="edge.code", description=__doc__)
    arguments.add_argument("--memory-bytes", type=int, default=2 << 30)
    arguments.add_argument("--cpu-seconds", type=int, default=900, help="for each job")
    arguments.add_argument("--lent", type=int, required=True, help="the socket over which descriptors come, with the jobs that want them")
    limits = arguments.parse_args()
    lent = socket.socket(fileno=limits.lent)
    answers = os.dup(1)
    # Whatever a library prints goes to the log, never between two answers.
    os.dup2(2, 1)
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = math.ceil(used.ru_utime + used.ru_stime + limits.cpu_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        write_all(answers, msgspec.json.encode(_answer(line, lent)) + b"\n")


def _answer(line: bytes, lent: socket.socket) -> Answer:
    try:
        return _do(_JOBS.decode(line), lent)
    except errors.OutpostError as fault:
        return Failure(error=_known(type(fault)), message=str(fault))
    except MemoryError:
        return Failure(error="Permanent", message="the job needs more memory than the worker may have")
    except OSError as fault:
        kind = "StoreFull" if fault.errno in _FULL else "StoreFailed" if fault.errno in _BROKEN else "Permanent"
        return Failure(error=kind, message=f"{fault.strerror} ({os.path.basename(fault.filename or '')})")
    except msgspec.MsgspecError as fault:
        return Failure(error="Permanent", message=f"no job: {fault}")


def _do(job: Job, lent: socket.socket) -> Answer:
    match job:
        case CodeJob():
            return code(job)
        case DecodeJob():
            return Restoration(members=restore(job))
        case FinishJob():
            return Finished(sha256_ok=finish_job(job))
        case FingerprintJob():
            return Fingerprints(prints=fingerprints(job))
        case NativeJob():
            return Native(length=_native(job, lent))


@functools.cache
def _confined() -> bool:
    return confine()


def _native(job: NativeJob, lent: socket.socket) -> int:
    # Taken before anything can fail: what stayed in the socket would be taken for the next job's.
    _, (source, target), _, _ = socket.recv_fds(lent, 1, 2)
    with os.fdopen(source, "rb"), os.fdopen(target, "wb", buffering=_BUFFER_BYTES) as out:
        from edge.code.native import write_native  # noqa: PLC0415 - its decoders are loaded in the workers that decode

        _confined()  # after the decoders were loaded, before they see anything
        return write_native(PackSource(source, job.dataset_offset, job.dataset_length), job.transfer_syntax, out.write, job.at_most_bytes)


def _known(kind: type[errors.OutpostError]) -> str:
    """The nearest type that the other side knows."""
    return str(next(base.__name__ for base in kind.__mro__ if getattr(errors, base.__name__, None) is base))


if __name__ == "__main__":
    main()
