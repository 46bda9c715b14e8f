"""What a process asked of the kernel, as strace wrote it down, and the orders that must hold in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STRACE = ("strace", "-D", "-f", "-qq", "-yy", "-s", "0", "--seccomp-bpf")
"""The process stays the child of who started it."""
CALLS = "openat,fsync,fdatasync,pwrite64,ftruncate,unlink,sendto,sendmsg"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_FILE = re.compile(r"\d+<([^<>]*)>")
_OPEN_PACK = re.compile(r"/cache/open/\w{26}\.tar")


@dataclass(frozen=True, slots=True)
class Call:
    """One that has ended, at its end."""

    thread: int
    name: str
    text: str
    """Its arguments and its result."""

    @property
    def succeeded(self) -> bool:
        return bool(re.search(r"\) += \d", self.text))

    @property
    def file(self) -> str:
        """What its first descriptor is of; of openat what it opened."""
        found = _FILE.findall(self.text)
        return (found[-1] if self.name == "openat" else found[0]) if found else ""

    @property
    def answers(self) -> bool:
        """Whether it sends to a peer."""
        return self.name in {"sendto", "sendmsg"} and "<TCP:" in self.text


def read(path: Path) -> list[Call]:
    """Calls in the order in which they ended; one that sends stands where it began, because it may have arrived before it ended."""
    begun: dict[int, str] = {}
    calls: list[Call] = []
    for line in path.read_text(errors="replace").splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        thread, resumed, name, text = int(found[1]), found[2], found[3] or found[2], found[4]
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            if name not in {"sendto", "sendmsg"}:
                continue
        elif resumed:
            text = begun.pop(thread, "") + text
            if name in {"sendto", "sendmsg"}:
                continue
        calls.append(Call(thread, name, text))
    return calls


def answered_before_the_name_was_flushed(calls: list[Call]) -> Iterator[str]:
    """Answers of a thread that had created a pack in cache/open and not flushed that directory since."""
    owed: dict[int, str] = {}
    for call in calls:
        if call.name == "openat" and "O_CREAT" in call.text and call.succeeded and _OPEN_PACK.search(call.file):
            owed[call.thread] = call.file
        elif call.name == "fsync" and call.succeeded and call.file.endswith("/cache/open"):
            owed.pop(call.thread, None)
        elif call.answers and call.thread in owed:
            yield f"an answer left before the name of {owed.pop(call.thread)} was flushed"


def answered_before_the_data_was_flushed(calls: list[Call]) -> Iterator[str]:
    """Answers of a thread that had written to an open pack, and neither flushed nor cut it since."""
    owed: dict[int, str] = {}
    for call in calls:
        if call.name == "pwrite64" and _OPEN_PACK.search(call.file):
            owed[call.thread] = call.file
        elif call.name in {"fdatasync", "ftruncate"} and call.succeeded and call.file == owed.get(call.thread):
            del owed[call.thread]
        elif call.answers and call.thread in owed:
            yield f"an answer left before what was written to {owed.pop(call.thread)} was flushed"
