"""What goes into one request to store, as functions of values."""

from __future__ import annotations

from collections import deque

from cloudsync.ledger.values import Instance
from edge.model import Digest

_REQUEST_SECONDS = 30.0
"""Of goodput in one request: what a fault costs, because a request is sent again as a whole."""
_LEAST_BYTES = 128 << 10
_AT_MOST = 200
"""Instances in one request."""


def request_bytes(goodput: float, lanes: int, most_seconds: float, most_bytes: int) -> int:
    """How many bytes a request may have: half a minute of one lane's share of the goodput (bytes a second), and far less than the
    archive's time limit. Before anything was measured it is the least.
    """
    share = goodput / max(lanes, 1)
    return int(min(most_bytes, max(_LEAST_BYTES, share * min(_REQUEST_SECONDS, most_seconds / 4))))


def take(waiting: deque[Instance], at_most_bytes: int) -> list[Instance]:
    """The next instances for one request, removed from `waiting`; one at least, however large."""
    taken, size = [waiting.popleft()], 0
    while waiting and len(taken) < _AT_MOST:
        size = sum(instance.size for instance in taken)
        if size + waiting[0].size > at_most_bytes:
            break
        taken.append(waiting.popleft())
    return taken


def outlasts(size: int, goodput: float, most_seconds: float) -> bool:
    """Whether an instance cannot be sent, all of the line for itself, before the archive ends the request."""
    return goodput > 0 and size / goodput > most_seconds


def sampled(digest: Digest, percent: float) -> bool:
    """Whether an instance is among the `percent` that are read again: always the same ones, as likely as any other."""
    return int(digest[:8], 16) < percent / 100 * (1 << 32)
