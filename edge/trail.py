"""The audit trail on the disk: hash-chained lines that are only added to.

`audit/<number of its first line, 12 digits>.jsonl`, readable by the edge user alone. Each line is one JSON object: its number, the time,
the SHA-256 of the line before it, how often the event happened, and the event. A line that was changed, taken out or put in breaks the
chain.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.audit import AnyRefusal, AuditFull, ContextRefused, Event, NotRecorded, Refusal, StoreRefused
from edge.clock import Clock, utc
from edge.durable import disk_errors, flush_directory, write_all
from edge.errors import Corrupt, StoreFailed, StoreFull

log = logging.getLogger(__name__)

GATHERED = 256
NAMES = 8
"""AE titles, instances and SOP classes that are named of refusals that were counted together."""
NOTHING_BEFORE = "0" * 64
_NAME = re.compile(r"[0-9]{12}\.jsonl")


@dataclass(frozen=True, slots=True)
class Limits:
    file_bytes: int = 16 << 20
    """A file that has grown to this is followed by the next."""
    queued: int = 4096
    """Events that are held while the disk is slow or full; more are counted."""
    gather_seconds: float = 60.0
    """A refusal that happens again within this is counted, and written once more, with the number, when the time is over."""
    retry_seconds: float = 1.0
    """How often a full disk is tried again."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the trail."""

    number: int
    at: str
    previous: str
    """SHA-256 of the line before, without its end of line; zeros before the first."""
    times: int
    event: Event


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


@dataclass(slots=True)
class _Gathered:
    event: AnyRefusal
    until: float
    times: int = 0


class Trail:
    """The one writer. A thread of its own writes and flushes what `record` was told; nobody waits for it.

    While the disk is full events are held, at most 4,096, and `demand` refuses; those beyond are counted, and the count is written. Any
    other fault of the disk calls `fail_stop`. A line that a power cut tore is cut off at start.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        fail_stop: Callable[[StoreFailed], None],
        limits: Limits | None = None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """`written` is called, by the thread that writes, whenever there are more lines on the disk."""
        self._written = written
        self._directory = directory
        self._clock = clock
        self._fail_stop = fail_stop
        limits = limits or Limits()
        self._limits = limits
        self._queue: queue.Queue[tuple[float, Event] | None] = queue.Queue(limits.queued)
        self._gathered: dict[tuple[type[Refusal], str, str], _Gathered] = {}
        self._stuck = threading.Event()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._missed = 0
        self._descriptor, self._size, self._number, self._previous = _resume(directory)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Keep an event. Never waits, never raises."""
        try:
            self._queue.put_nowait((self._clock.now(), event))
        except queue.Full:
            with self._lock:
                self._missed += 1

    def demand(self) -> None:
        """Raises AuditFull while events cannot be kept."""
        if self._stuck.is_set() or self._queue.full():
            raise AuditFull

    def close(self) -> None:
        """Write what was told so far, if the disk takes it. Idempotent."""
        if not self._ending.is_set():
            self._ending.set()
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join()
            os.close(self._descriptor)

    def _run(self) -> None:
        while not self._ending.is_set():
            batch = self._take()
            with self._lock:
                missed, self._missed = self._missed, 0
            if missed:
                batch.append((self._clock.now(), missed, NotRecorded()))
            if batch and not self._write(batch):
                return
        rest = [item for item in self._drain() if item is not None]
        self._write([(at, 1, event) for at, event in rest] + self._due(everything=True))

    def _take(self) -> list[tuple[float, int, Event]]:
        """Wait for something to write; what is gathered and due comes with it."""
        patience = min((one.until for one in self._gathered.values()), default=None)
        first: list[tuple[float, Event] | None] = []
        with contextlib.suppress(queue.Empty):
            first.append(self._queue.get(timeout=None if patience is None else max(0.0, patience - self._clock.monotonic())))
        batch: list[tuple[float, int, Event]] = []
        for item in (*first, *self._drain()):
            if item is not None:
                batch += self._gather(*item)
        return batch + self._due()

    def _drain(self) -> Iterator[tuple[float, Event] | None]:
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._queue.get_nowait()

    def _gather(self, at: float, event: Event) -> Iterator[tuple[float, int, Event]]:
        """The event itself, unless it is a refusal that was written within the last minute."""
        if not isinstance(event, Refusal):
            yield at, 1, event
            return
        key = type(event), event.address, event.reason
        known = self._gathered.get(key)
        if known is not None:
            known.times += 1
            known.event = _joined(known.event, event) if known.times > 1 else event
            return
        if len(self._gathered) >= GATHERED:
            oldest = self._gathered.pop(next(iter(self._gathered)))
            if oldest.times:
                yield at, oldest.times, oldest.event
        self._gathered[key] = _Gathered(event, self._clock.monotonic() + self._limits.gather_seconds)
        yield at, 1, event

    def _due(self, everything: bool = False) -> list[tuple[float, int, Event]]:
        now = self._clock.monotonic()
        due = [key for key, one in self._gathered.items() if everything or one.until <= now]
        found: list[tuple[float, int, Event]] = []
        for key in due:
            one = self._gathered.pop(key)
            if one.times:
                found.append((self._clock.now(), one.times, one.event))
                self._gathered[key] = _Gathered(one.event, now + self._limits.gather_seconds)
        return found

    def _write(self, batch: list[tuple[float, int, Event]]) -> bool:
        """Put the batch on the disk, however long it is full; False when it cannot be done."""
        number, previous, lines = self._number, self._previous, []
        for at, times, event in batch:
            number += 1
            line = _encode(Line(number=number, at=utc(at), previous=previous, times=times, event=event))
            previous = hashlib.sha256(line).hexdigest()
            lines.append(line + b"\n")
        data = b"".join(lines)
        while True:
            try:
                with disk_errors():
                    if self._size >= self._limits.file_bytes:
                        self._next_file()
                    write_all(self._descriptor, data)
                    os.fdatasync(self._descriptor)
                break
            except StoreFailed as fault:
                self._stuck.set()
                self._fail_stop(fault)
                return False
            except StoreFull:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                if not self._stuck.is_set():
                    log.error("%s", AuditFull())
                self._stuck.set()
                if self._ending.wait(self._limits.retry_seconds):
                    return False
        self._stuck.clear()
        self._size += len(data)
        self._number, self._previous = number, previous
        self._written()
        return True

    def _next_file(self) -> None:
        descriptor = _create(self._directory, self._number + 1)
        os.close(self._descriptor)
        self._descriptor, self._size = descriptor, 0


@dataclass(frozen=True, slots=True)
class Proof:
    """An unbroken chain: its first and last number, and the SHA-256 of the last line."""

    first: int
    last: int
    digest: str


def read(directory: Path) -> Iterator[tuple[Line, str]]:
    """The lines of a trail with the SHA-256 of each, in order, while it may be written. Raises Corrupt where the chain breaks.

    A last line without its end is not read: it is being written, or a power cut tore it.
    """
    expected, previous = 0, ""
    files = _files(directory)
    for place, path in enumerate(files):
        *lines, tail = path.read_bytes().split(b"\n")
        if tail and place < len(files) - 1:
            raise Corrupt(f"audit/{path.name} ends in the middle of a line, and a later file follows.")
        for count, text in enumerate(lines, 1):
            where = f"audit/{path.name}, line {count}"
            try:
                line = _decode(text)
            except msgspec.MsgspecError as fault:
                raise Corrupt(f"{where} is no line of an audit trail ({fault}).") from fault
            expected = expected or int(path.stem)
            previous = previous or (NOTHING_BEFORE if expected == 1 else line.previous)
            if line.number != expected:
                raise Corrupt(f"{where} has number {line.number}, where {expected} was expected: lines were taken out or put in.")
            if line.previous != previous:
                raise Corrupt(f"{where} does not continue the line before it: one of the two was changed.")
            previous = hashlib.sha256(text).hexdigest()
            expected += 1
            yield line, previous


def follow(directory: Path, after: int) -> Iterator[Line | None]:
    """The lines behind number `after`, in order and for ever: None whenever there is no more yet. `verify` says whether they are unbroken;
    one that cannot be read comes as an event that was not recorded.
    """
    path = next((path for path in reversed(_files(directory)) if int(path.stem) <= after + 1), None)
    at = ""
    while True:
        if path is None:
            path = next(iter(_files(directory)), None)
            if path is None:
                yield None
                continue
        number = int(path.stem) - 1
        with path.open("rb") as file:
            followed = None
            while True:
                text = file.readline()
                if text.endswith(b"\n"):
                    number += 1
                    try:
                        line = _decode(text)
                    except msgspec.MsgspecError:
                        line = Line(number=number, at=at or utc(0.0), previous="", times=1, event=NotRecorded())
                    at = line.at
                    if number > after:
                        yield msgspec.structs.replace(line, number=number)
                    continue
                file.seek(-len(text), os.SEEK_CUR)
                if followed is not None:  # nothing was added to this file after the next one was there
                    break
                followed = next((later for later in _files(directory) if later > path), None)
                if followed is None:
                    yield None
        path = followed


def verify(directory: Path) -> Proof | None:
    """Walk the whole chain; None when nothing was written yet. Raises Corrupt."""
    proof = None
    for line, digest in read(directory):
        proof = Proof(proof.first if proof else line.number, line.number, digest)
    return proof


def _joined(before: AnyRefusal, event: AnyRefusal) -> AnyRefusal:
    """One refusal for both, with the names of both."""
    joined = msgspec.structs.replace(event, calling=_names(before.calling, event.calling))
    if isinstance(joined, StoreRefused) and isinstance(before, StoreRefused):
        joined = msgspec.structs.replace(joined, instances=_names(before.instances, joined.instances))
    if isinstance(joined, ContextRefused) and isinstance(before, ContextRefused):
        joined = msgspec.structs.replace(joined, classes=_names(before.classes, joined.classes))
    return joined


def _names(before: list[str], more: list[str]) -> list[str]:
    return list(dict.fromkeys([*before, *more]))[:NAMES]


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def _create(directory: Path, first: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(directory / f"{first:012}.jsonl", flags, 0o600)
    flush_directory(directory)
    return descriptor


def _resume(directory: Path) -> tuple[int, int, int, str]:
    """Descriptor, size, number and digest of the end of the trail. What is damaged stays, and `verify` names it; the trail goes on."""
    files = _files(directory)
    number, previous = 0, NOTHING_BEFORE
    for path in reversed(files):
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end == 0 and path != files[0]:
            continue
        lines = data[:end].splitlines()
        if lines:
            number, previous = int(path.stem) + len(lines) - 1, hashlib.sha256(lines[-1]).hexdigest()
        if end < len(data):
            os.truncate(path, end)
        break
    descriptor = _create(directory, int(files[-1].stem) if files else 1)
    return descriptor, os.fstat(descriptor).st_size, number, previous
