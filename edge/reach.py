"""Whether the archive can be reached, as edge knows it."""

from __future__ import annotations

from edge.clock import Clock
from edge.link import LinkState, reachable, silent_since
from edge.store.catalogue import Catalogue


class Reach:
    """Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, offline_after_seconds: float, clock: Clock) -> None:
        self._catalogue = catalogue
        self._offline_after = offline_after_seconds
        self._clock = clock
        self._began = clock.now()

    def up(self) -> bool:
        """False once the link has been down, or cloudsync silent, for longer than `link.offline_after_seconds`."""
        return reachable(self.link(), self._offline_after, self._began, self._clock.now())

    def link(self) -> LinkState | None:
        """What cloudsync said last."""
        return self._catalogue.link()

    def silent_since(self) -> float | None:
        """Since when cloudsync has been silent, in seconds since the epoch; None while it speaks."""
        return silent_since(self.link(), self._began, self._clock.now())
