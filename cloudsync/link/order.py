"""What goes next, as a function of values: the most urgent class; in it what is fresh, while the backlog gets its share of the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from edge.model import BACKLOG_SHARE


class Claim(Protocol):
    """Something that waits to be sent."""

    @property
    def rank(self) -> int:
        """Of its class; the lowest goes first."""
        ...

    @property
    def plain_bytes(self) -> int: ...


C = TypeVar("C", bound=Claim)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is where a class has both."""

    owed_bytes: float = 0.0
    """What the backlog has yet to get for its share; below zero: what it got in advance."""

    def backlog_goes(self, fresh: Claim | None, backlog: Claim | None) -> bool:
        """Which of the first ones goes next, where there is one at all."""
        if fresh is None or backlog is None:
            return fresh is None
        return backlog.rank < fresh.rank or (backlog.rank == fresh.rank and self.owed_bytes > 0)

    def after(self, gone: Claim, passed_over: Claim | None, of_backlog: bool) -> Turn:
        """The turn after one went while `passed_over` was the first of the other kind. Bytes count only where both could have gone."""
        if passed_over is None or passed_over.rank != gone.rank:
            return self
        return Turn(self.owed_bytes + gone.plain_bytes * (BACKLOG_SHARE - of_backlog))


def choose(fresh: Sequence[C], backlog: Sequence[C], at_most: int, turn: Turn) -> tuple[list[C], Turn]:
    """At most so many of both, in the order in which they go, and the turn behind them. Each comes sorted by rank, heads before parts."""
    chosen: list[C] = []
    here = there = 0
    while len(chosen) < at_most and (here < len(fresh) or there < len(backlog)):
        one = fresh[here] if here < len(fresh) else None
        other = backlog[there] if there < len(backlog) else None
        goes = turn.backlog_goes(one, other)
        gone, passed_over = (other, one) if goes else (one, other)
        assert gone is not None
        turn = turn.after(gone, passed_over, goes)
        here, there = here + (not goes), there + goes
        chosen.append(gone)
    return chosen, turn
