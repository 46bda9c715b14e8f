"""What people are told about the link: its state, since when, and a plain sentence with the cure."""

from __future__ import annotations

import errno
from collections.abc import Callable

from cloudsync.archive.port import CredentialRefused, LinkDown, QuotaExceeded, Throttled
from cloudsync.archive.retrying import Wake
from edge.clock import Clock
from edge.errors import OutpostError, StoreFull
from edge.journal import Link

UP = "The archive answers."

STATES: tuple[tuple[type[OutpostError], str, str], ...] = (
    (CredentialRefused, "credential", "Nothing is shipped; scanning continues. {fault}."),
    (QuotaExceeded, "quota", "Nothing is shipped; scanning continues. {fault}."),
    (Throttled, "throttled", "Shipping is slower for a while. {fault}."),
    (StoreFull, "disk", "The gateway's own disk is full; shipping waits. {fault}."),
    (LinkDown, "down", "Scanning continues and everything is kept; shipping goes on by itself. {fault}."),
    (OutpostError, "conflict", "Shipping stopped; scanning continues. {fault}."),
)
"""What each class of fault is called, and what is said about it. The first that fits counts."""

DISK_SECONDS = 30.0
"""Pause before a write on a full disk is tried again."""
_GOODPUT_SECONDS = 60.0
"""Goodput is told again when it changed by half or more, and at most so often."""


def disk_full(fault: OSError) -> StoreFull | None:
    """What to say of a write on our own disk that failed because it is full; None when it failed for another reason."""
    if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return None
    return StoreFull("Free space on the disk of the state directory")


class Watch:
    """Follows how calls end, and tells edge when the state of the link changes. It is up from the first answer on."""

    def __init__(self, clock: Clock, wake: Wake, goodput: Callable[[], float], tell: Callable[[Link], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._goodput = goodput
        self._tell = tell
        self._told_at = 0.0
        self._told_goodput = 0.0
        self._last_answer = clock.monotonic()
        self._alarmed = False
        self.state = ""
        self.since = clock.now()
        self.sentence = "The archive was not asked yet."

    @property
    def up(self) -> bool:
        return self.state == "up"

    @property
    def quiet_seconds(self) -> float:
        """Seconds since the archive last answered."""
        return self._clock.monotonic() - self._last_answer

    def answered(self) -> None:
        """The archive answered as it should."""
        self._last_answer = self._clock.monotonic()
        if not self.up:
            self._change("up", UP)
            self._wake.ring()
        elif self._last_answer - self._told_at >= _GOODPUT_SECONDS and _differs(self._goodput(), self._told_goodput):
            self._say()

    def failed(self, fault: OutpostError) -> None:
        """An attempt failed."""
        state, sentence = next((state, sentence) for kind, state, sentence in STATES if isinstance(fault, kind))
        self._change(state, sentence.format(fault=str(fault).rstrip(".")))

    def alarm(self, fault: OutpostError) -> None:
        """A fault that stays until somebody has acted and Outpost was started again."""
        self.failed(fault)
        self._alarmed = True

    def _change(self, state: str, sentence: str) -> None:
        if state == self.state or self._alarmed:
            return
        self.state, self.sentence, self.since = state, sentence, self._clock.now()
        self._say()

    def _say(self) -> None:
        self._told_at, self._told_goodput = self._clock.monotonic(), self._goodput()
        self._tell(Link(state=self.state, since=self.since, goodput_bytes_per_second=self._told_goodput, sentence=self.sentence))


def _differs(now: float, before: float) -> bool:
    return abs(now - before) * 2 >= before
