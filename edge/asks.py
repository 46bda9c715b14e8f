"""The asks as edge makes them: written, then the doorbell is rung."""

from __future__ import annotations

from collections.abc import Callable

from edge.journal import Coded, Pause, Recall, Restate, Resume, SiteState, Taken, Verify
from edge.journalfiles import JournalWriter


class Asks:
    """The journal of asks with its doorbell: written, then rung. Safe to use from several threads."""

    def __init__(self, journal: JournalWriter, ring: Callable[[], None]) -> None:
        self._journal = journal
        self._ring = ring
        self.forget = journal.forget

    def tell(self, *asks: Coded | SiteState | Recall | Taken | Restate | Verify | Pause | Resume) -> int:
        """Durable when it returns; the seq of the last one."""
        seq = self._journal.append(*asks)
        if asks:
            self._ring()
        return seq
