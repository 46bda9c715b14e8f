"""Edge's decoder as a process of its own, `python -m edge.code`: one job a line, one answer a line. Cloudsync parses no DICOM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from edge import errors
from edge.errors import Corrupt, Permanent

_LINE_MAX_BYTES = 64 << 20
_ROOT = str(Path(__file__).resolve().parents[2])


class Decoder:
    """One worker, from `async with` to its end."""

    async def __aenter__(self) -> Decoder:
        environment = {**os.environ, "PYTHONPATH": _ROOT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        ours, theirs = socket.socketpair()
        # The worker wants a socket for descriptors that are lent to it. No job of a rehearsal lends any.
        with ours, theirs:
            self._process: Process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge.code", "--lent", str(theirs.fileno())),
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                limit=_LINE_MAX_BYTES,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if kind is not None and self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def restore(self, pack: str, head: Path, parts: dict[int, Path], target: Path) -> int:
        """Write the cached file of a pack from its head and all of its parts; how many instances it has. Raises Corrupt when one of them is
        not what its digest says, else what the worker failed with: a full disk is no fault of the archive.
        """
        named = {str(number): str(path) for number, path in parts.items()}
        job = {"job": "restore", "pack": pack, "head_path": str(head), "parts": named, "target_path": str(target)}
        members = (await self._answer(job))["members"]
        wrong = sum(not member["digest_ok"] for member in members)
        if wrong:
            raise Corrupt(f"pack {pack}: {wrong} of {len(members)} instances are not what their digests say")
        finished = await self._answer({"job": "finish", "pack": pack, "head_path": str(head), "target_path": str(target)})
        if not finished["sha256_ok"]:
            raise Corrupt(f"pack {pack} does not come back byte for byte")
        return len(members)

    async def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # It has ended: the answer, which is none, says so.
            self._process.stdin.write(msgspec.json.encode(job) + b"\n")
            await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise Permanent(f"pack {job['pack']}: the decoder ended with {await self._process.wait()}")
        answer = msgspec.json.decode(line, type=dict[str, Any])
        if answer["answer"] == "failure":
            raise _error(answer["error"], f"pack {job['pack']}: {answer['message']}")
        return answer


def _error(name: str, message: str) -> errors.OutpostError:
    kind = getattr(errors, name, Permanent)
    assert isinstance(kind, type) and issubclass(kind, errors.OutpostError)
    return kind(message)
