"""How long to wait between attempts at another application entity, as a function of values. None is given up on by this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling waits with jitter, capped."""

    first_seconds: float
    max_seconds: float

    def wait_seconds(self, attempt: int, jitter: float) -> float:
        """Seconds after the `attempt`-th failure in a row (1 is the first): half to all of first * 2^(attempt - 1), at most the cap.

        `jitter` is uniform in [0, 1).
        """
        ceiling = min(self.max_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 60))
        return ceiling * (1 + jitter) / 2
