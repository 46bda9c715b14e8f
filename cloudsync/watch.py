"""What people are told about the link: its state, since when, and a plain sentence with the cure."""

from __future__ import annotations

import errno
from collections.abc import Callable

from cloudsync.archive.port import ClockWrong, CredentialRefused, LinkDown, QuotaExceeded, Throttled
from cloudsync.archive.retrying import Wake
from cloudsync.ledger.database import FULL
from edge.clock import Clock
from edge.errors import OutpostError, StoreFull
from edge.journal import Link

UP = "The archive answers."

STATES: tuple[tuple[type[OutpostError], str], ...] = (
    (CredentialRefused, "credential"),
    (QuotaExceeded, "quota"),
    (ClockWrong, "clock"),
    (Throttled, "throttled"),
    (StoreFull, "disk"),
    (LinkDown, "down"),
    (OutpostError, "conflict"),
)
"""What each class of fault is called; the first that fits counts. What it means for the clinic is edge's to say."""

DISK_SECONDS = 5.0
"""Pause before a write on a full disk is tried again."""
AGAIN_SECONDS = 60.0
"""How the link is, is said again so often: edge counts it as down when it hears nothing (edge.link)."""


_TURNS_SECONDS = 5.0


def disk_full(fault: BaseException) -> StoreFull | None:
    """What to say of a write on our own disk that failed because it is full; None when it failed for another reason. Of a group, each
    fault has to be such a one.
    """
    if isinstance(fault, BaseExceptionGroup):
        found = [disk_full(each) for each in fault.exceptions]
        return None if None in found else found[0]
    if isinstance(fault, OSError) and fault.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFull(FULL)
    return fault if isinstance(fault, StoreFull) else None


class Watch:
    """Follows how calls end, and tells edge how the link is. It is up from the first answer on."""

    def __init__(
        self,
        clock: Clock,
        wake: Wake,
        goodput: Callable[[], float],
        tell: Callable[[Link], None],
        sequence: int,
        clock_fault: Callable[[], str] = lambda: "",
    ) -> None:
        """`sequence` is the number of the last catalog segment that the archive has; `clock_fault` says what is wrong with our clock by the
        archive's, and nothing while it is right.
        """
        self._clock = clock
        self._wake = wake
        self._goodput = goodput
        self._tell = tell
        self._sequence = sequence
        self._clock_fault = clock_fault
        self._told_at = 0.0
        self._last_answer = clock.monotonic()
        self._answered_at = 0.0
        self._alarmed = False
        self.up = False
        """Whether the archive answered when it was asked last."""
        self.state = ""
        self.since = clock.now()
        self.sentence = "The archive was not asked yet."

    @property
    def quiet_seconds(self) -> float:
        """Seconds since the archive last answered."""
        return self._clock.monotonic() - self._last_answer

    def answered(self) -> None:
        """The archive answered as it should."""
        self._last_answer, self._answered_at = self._clock.monotonic(), self._clock.now()
        back, self.up, clock_fault = not self.up, True, self._clock_fault()
        if clock_fault:
            self._change("clock", _said(clock_fault))
        else:
            self._change("up", UP)
        self.again()
        if back:
            self._wake.ring()

    def again(self) -> float:
        """Say how the link is, once it is known, unless that was just said; the seconds until it is due next."""
        waited = self._clock.monotonic() - self._told_at
        if not self.state or waited < AGAIN_SECONDS:
            return AGAIN_SECONDS - waited if self.state else AGAIN_SECONDS
        self._say()
        return AGAIN_SECONDS

    def written(self, sequence: int) -> None:
        """The archive has the catalog segment of this number."""
        self._sequence = sequence
        self._say()

    def failed(self, fault: OutpostError) -> None:
        """An attempt failed."""
        state = next(state for kind, state in STATES if isinstance(fault, kind))
        self.up = False
        self._change(state, _said(str(fault)))

    def alarm(self, fault: OutpostError) -> None:
        """A fault that stays until somebody has acted and Outpost was started again."""
        self.failed(fault)
        self._alarmed = True

    def _change(self, state: str, sentence: str) -> None:
        """Another state is said at once; another sentence of the same state too, unless it was said a moment ago: faults may take turns."""
        if self._alarmed or (state, sentence) == (self.state, self.sentence):
            return
        if state != self.state:
            self.state, self.since = state, self._answered_at if self.up else self._clock.now()
        elif self._clock.monotonic() - self._told_at < _TURNS_SECONDS:
            return
        self.sentence = sentence
        self._say()

    def _say(self) -> None:
        self._told_at = self._clock.monotonic()
        self._tell(
            Link(
                state=self.state,
                since=self.since,
                goodput_bytes_per_second=self._goodput(),
                sentence=self.sentence,
                answered_at=self._answered_at,
                said_at=self._clock.now(),
                sequence=self._sequence,
            )
        )


def _said(text: str) -> str:
    """As a sentence."""
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
