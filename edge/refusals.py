"""What was refused at the wall since the process began: shown with the status, so that somebody looks."""

from __future__ import annotations

from collections import deque

KEPT = 20


class Refusals:
    """The last refusals, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=KEPT)

    def report(self, refusal: str) -> None:
        """A sentence without patient data; the same one twice in a row counts once."""
        if not self._kept or self._kept[-1] != refusal:
            self._kept.append(refusal)

    def all(self) -> list[str]:
        return list(self._kept)
