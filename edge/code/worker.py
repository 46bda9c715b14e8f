"""The way to the worker process that codes and decodes: pixel data is touched nowhere else, and never beside reception."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import TypeVar

import msgspec

import edge
from edge import errors
from edge.code.jobs import (
    Answer,
    CodedPack,
    CodeJob,
    DecodeJob,
    Failure,
    Fingerprint,
    FingerprintJob,
    Fingerprints,
    Finished,
    FinishJob,
    Job,
    Native,
    NativeJob,
    Restoration,
    Restored,
)

_A = TypeVar("_A", bound=Answer)

LINE_MAX_BYTES = 64 << 20
_GRACE_SECONDS = 5.0

_ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_ROOT = str(Path(edge.__file__).resolve().parent.parent)


class WorkerDied(errors.Transient):
    """The coding worker ended before it answered (out of its CPU or memory limit, or killed). It is started again for the next job."""


class JobTimeout(errors.Transient):
    """A job took longer than it may; its worker was ended. It is tried again by itself."""


class Coder:
    """One worker process and its jobs, one at a time. Use one for coding and another for recalls, so that neither waits for the other.

    The process is started on demand, ended when idle, and started again after it died. Cancelling a job kills it: what it wrote is
    replaced by the next attempt.
    """

    def __init__(
        self,
        memory_bytes: int = 2 << 30,
        cpu_seconds: int = 900,
        job_seconds: float = 3600.0,
        idle_seconds: float = 30.0,
    ) -> None:
        """`cpu_seconds` and `job_seconds` (wall clock) bound each job, `memory_bytes` the address space of the process."""
        self._arguments = ("--memory-bytes", str(memory_bytes), "--cpu-seconds", str(cpu_seconds))
        self._job_seconds = job_seconds
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._lending: socket.socket | None = None
        """To the process that runs: descriptors go there, so that what it decodes needs no path."""
        self._leaving: set[Process] = set()
        self._idle: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Coder {'idle' if self._process is None else f'process {self._process.pid}'}>"

    async def code(self, job: CodeJob) -> CodedPack:
        """Errors as `coder.code`, and as `run`."""
        return await self._expect(job, CodedPack)

    async def restore(self, job: DecodeJob) -> list[Restored]:
        """Errors as `decoder.restore`, and as `run`."""
        return (await self._expect(job, Restoration)).members

    async def finish(self, job: FinishJob) -> bool:
        """Whether the restored pack is, byte for byte, what was closed."""
        return (await self._expect(job, Finished)).sha256_ok

    async def fingerprints(self, job: FingerprintJob) -> list[Fingerprint | None]:
        """Errors as `fingerprint.fingerprints`, and as `run`."""
        return (await self._expect(job, Fingerprints)).prints

    async def native(self, job: NativeJob, descriptors: tuple[int, int]) -> int:
        """The length of what was written. Errors as `native.write_native`, and as `run`."""
        return (await self._expect(job, Native, descriptors)).length

    async def run(self, job: Job, descriptors: tuple[int, ...] = ()) -> Answer:
        """The worker's answer; `descriptors` are lent to it, in the order in which its kind of job wants them.

        Raises what the job failed with (a type of edge.errors), WorkerDied or JobTimeout, naming the pack.
        """
        async with self._turn:
            if self._idle:
                self._idle.cancel()
            process = await self._running()
            answer: Answer | None = None
            grace_seconds = 0.0
            try:
                async with asyncio.timeout(self._job_seconds):
                    answer = await _exchange(process, msgspec.json.encode(job) + b"\n", self._lending, descriptors)
                grace_seconds = _GRACE_SECONDS
            except TimeoutError as fault:
                raise JobTimeout(f"pack {job.pack}: {_verb(job)} took longer than {self._job_seconds:.0f} s") from fault
            finally:
                if answer:
                    self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._dismiss)
                else:
                    self._process = None
                    self._lend_no_more()
                    await _end(process, grace_seconds)
        if answer is None:
            raise WorkerDied(f"pack {job.pack}: the worker ended with {process.returncode} while {_verb(job)}")
        if isinstance(answer, Failure):
            raise _error(answer)
        return answer

    async def close(self) -> None:
        """End the process after the job that it has. Idempotent."""
        async with self._turn:
            if self._idle:
                self._idle.cancel()
            self._dismiss()
            for process in tuple(self._leaving):
                await process.wait()
            self._leaving.clear()

    async def _running(self) -> Process:
        self._leaving = {process for process in self._leaving if process.returncode is None}
        if self._process is None or self._process.returncode is not None:
            # One thread: numpy would reserve address space for a pool that nothing here uses.
            environment = {**os.environ, "PYTHONPATH": _ROOT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._lend_no_more()
            self._lending, theirs = socket.socketpair()
            with theirs:
                command = (sys.executable, "-m", "edge.code", *self._arguments, "--lent", str(theirs.fileno()))
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=PIPE,
                    stdout=PIPE,
                    env=environment,
                    limit=LINE_MAX_BYTES,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
        return self._process

    async def _expect(self, job: Job, kind: type[_A], descriptors: tuple[int, ...] = ()) -> _A:
        answer = await self.run(job, descriptors)
        assert isinstance(answer, kind)
        return answer

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        self._lend_no_more()
        if process and process.stdin:
            self._leaving.add(process)
            process.stdin.close()

    def _lend_no_more(self) -> None:
        if self._lending is not None:
            self._lending.close()
            self._lending = None


async def _exchange(process: Process, line: bytes, lending: socket.socket | None, descriptors: tuple[int, ...]) -> Answer | None:
    """The answer to one job; None when the process ended before it, or said something else."""
    assert process.stdin and process.stdout
    try:
        if descriptors and lending is not None:
            socket.send_fds(lending, [b"\0"], descriptors)
        process.stdin.write(line)
        await process.stdin.drain()
        return _ANSWERS.decode(await process.stdout.readline())
    except (BrokenPipeError, ConnectionResetError, ValueError, msgspec.MsgspecError):
        return None


async def _end(process: Process, grace_seconds: float) -> None:
    """Wait for a process that is ending by itself, so long, and kill it then."""
    ended = asyncio.ensure_future(process.wait())
    # Not asyncio.timeout: in a task that is being cancelled, that of Python 3.11.2 (Debian 12) ends with CancelledError instead.
    await asyncio.wait({ended}, timeout=grace_seconds)
    if process.returncode is None:
        process.kill()
    await ended


def _verb(job: Job) -> str:
    return {CodeJob: "coding", DecodeJob: "restoring", FinishJob: "finishing", FingerprintJob: "comparing", NativeJob: "decoding"}[
        type(job)
    ]


def _error(failure: Failure) -> errors.OutpostError:
    kind = getattr(errors, failure.error, errors.OutpostError)
    assert isinstance(kind, type) and issubclass(kind, errors.OutpostError)
    return kind(failure.message)
