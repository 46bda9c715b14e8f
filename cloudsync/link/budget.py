"""The data budget of a month, as a function of values: when the month began, and what may still go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Hold(StrEnum):
    """Why not everything goes."""

    NONE = ""
    """Everything goes."""
    RESERVE = "reserve"
    """What is left of the month's budget is for STAT studies and recalls."""
    SPENT = "spent"
    """The month's budget is used up: nothing goes."""
    PAUSED = "paused"
    """A person paused shipping: only recalls go."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may go over the link in a month."""

    month_bytes: int = 0
    """0: as much as there is."""
    first_day: int = 1
    """Of the month, 1 to 28."""
    stat_percent: int = 10
    """Of it, kept for STAT studies and recalls."""

    def began(self, local: datetime) -> datetime:
        """When the month of a time of the clinic's clock began."""
        first = local.replace(day=self.first_day, hour=0, minute=0, second=0, microsecond=0)
        if first <= local:
            return first
        return first.replace(year=local.year - 1, month=12) if local.month == 1 else first.replace(month=local.month - 1)

    def ends(self, began: datetime) -> datetime:
        """When the month that began then ends."""
        return began.replace(year=began.year + 1, month=1) if began.month == 12 else began.replace(month=began.month + 1)

    def hold(self, used_bytes: int) -> Hold:
        """What of the budget keeps things from going, once so much of it is used."""
        if not self.month_bytes or used_bytes < self.month_bytes * (100 - self.stat_percent) // 100:
            return Hold.NONE
        return Hold.RESERVE if used_bytes < self.month_bytes else Hold.SPENT


def hold(paused: bool, budget: Hold) -> Hold:
    """What counts of a person's pause and the budget: nothing goes against a budget that is used up, and a pause keeps back STAT too."""
    if budget is Hold.SPENT:
        return budget
    return Hold.PAUSED if paused else budget
