"""Goodput: bytes a second that arrive whole, while something is under way. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, replace

_MEMORY_SECONDS = 30.0
"""What was measured so long ago (counting busy time only) weighs about a third of what is measured now."""
_SAMPLE_SECONDS = 0.05
"""Shorter spans say nothing about a link; they are added up first."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """An estimate that follows the link. 0 bytes a second means that nothing was measured yet."""

    bytes_per_second: float = 0.0
    weight_seconds: float = 0.0
    """Busy seconds that the estimate rests on, faded."""
    pending_bytes: int = 0
    pending_seconds: float = 0.0

    def after(self, moved_bytes: int, busy_seconds: float) -> Goodput:
        """The estimate after `busy_seconds` in which `moved_bytes` arrived; 0 bytes is an observation too (a stalled link)."""
        moved, busy = self.pending_bytes + moved_bytes, self.pending_seconds + busy_seconds
        if busy < _SAMPLE_SECONDS:
            return replace(self, pending_bytes=moved, pending_seconds=busy)
        faded = self.weight_seconds * _MEMORY_SECONDS / (_MEMORY_SECONDS + busy)
        rate = (self.bytes_per_second * faded + moved) / (faded + busy)
        return Goodput(rate, faded + busy)


def deadline_seconds(size_bytes: int, goodput: Goodput, transfers: int, cap_bytes_per_second: float = 0.0) -> float:
    """How long one transfer may take before it counts as stalled: eight times its fair share of the goodput, a minute at least.

    Before anything was measured, and for links that became slower, 1 KiB/s is what a living link moves at least. A cap, the lowest of
    the week, 0 for none, makes it longer: what we hold back ourselves is no stall, also when the hours change in the middle.
    """
    share, capped = goodput.bytes_per_second / max(transfers, 1), 0.0
    if cap_bytes_per_second > 0:
        share = min(share, cap_bytes_per_second / max(transfers, 1))
        capped = 60.0 + 2 * size_bytes * max(transfers, 1) / cap_bytes_per_second
    slowest = max(60.0 + size_bytes / 1024, capped)
    return slowest if share <= 0 else min(slowest, 60.0 + 8 * size_bytes / share)
