"""Pacing: bytes go at most as fast as the cap allows, in pieces so small that other traffic on the line hardly notices one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from edge.clock import Clock

_SAVED_SECONDS = 0.25
"""So much of the cap may be caught up after a pause: a process that was not scheduled in time loses nothing, and no burst is noticed."""
_PIECE_SECONDS = 0.03
_PIECE_BYTES = (1 << 10, 64 << 10)
_ON_THE_WIRE = 1500 / 1448
"""Of IP and TCP, with timestamps: an Ethernet packet of 1500 bytes carries 1448."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Bytes that may go now, as of a monotonic time; below zero: what has gone, and is not paid for yet."""

    at: float
    bytes: float = 0.0

    def spent(self, count: float, cap_bytes_per_second: float, now: float) -> Allowance:
        """The allowance after `count` more bytes."""
        earned = self.bytes + max(0.0, now - self.at) * cap_bytes_per_second
        return Allowance(now, min(earned, cap_bytes_per_second * _SAVED_SECONDS) - count)

    def wait_seconds(self, cap_bytes_per_second: float) -> float:
        """How long whoever spent last has to wait."""
        return max(0.0, -self.bytes / cap_bytes_per_second)


class Way:
    """One direction of the link. All who use it share its cap, in the order in which they come."""

    def __init__(self, clock: Clock, cap: Callable[[], float]) -> None:
        """`cap` says how many bytes a second may go now; 0 for as many as can."""
        self._clock = clock
        self._cap = cap
        self._allowance = Allowance(clock.monotonic())
        self.wire_bytes = 0.0
        """That have gone, with what IP and TCP add to them."""

    async def take(self, count: int) -> None:
        """`count` bytes go; returns when the next may."""
        wire, cap = count * _ON_THE_WIRE, self._cap()
        self.wire_bytes += wire
        if cap <= 0:
            return
        self._allowance = self._allowance.spent(wire, cap, self._clock.monotonic())
        wait = self._allowance.wait_seconds(cap)
        if wait > 0:
            await asyncio.sleep(wait)

    async def pieces(self, data: bytes) -> AsyncIterator[bytes]:
        """The bytes, each piece as soon as it may go."""
        begin = 0
        while begin < len(data):
            piece = data[begin : begin + self.piece_bytes]
            begin += len(piece)
            await self.take(len(piece))
            yield piece

    @property
    def piece_bytes(self) -> int:
        """How many bytes to take at once."""
        cap, (least, most) = self._cap(), _PIECE_BYTES
        return most if cap <= 0 else min(most, max(least, int(cap * _PIECE_SECONDS)))


class Pacing:
    """Both directions of the link."""

    def __init__(self, clock: Clock, cap: Callable[[], float], largest_cap: float = 0.0) -> None:
        """`cap` as of Way; `largest_cap` is the most that it ever says, 0 when there is none."""
        self.up = Way(clock, cap)
        self.down = Way(clock, cap)
        self.largest_cap = largest_cap

    @property
    def wire_bytes(self) -> int:
        """That have crossed the wire, both ways together."""
        return round(self.up.wire_bytes + self.down.wire_bytes)
