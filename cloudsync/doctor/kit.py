"""When the recovery kit was last tested."""

from __future__ import annotations

from datetime import datetime

from cloudsync.seal.tested import Tested
from edge.finding import Finding

_YEAR_DAYS = 365.0
_CURE = "Fetch the printed sheet from the safe and run `outpost kit test`: while the box still runs, an unreadable kit costs nothing."


def look(passed: Tested | None, now: float) -> Finding:
    """What follows from the last test at `now`, in seconds since the epoch; None: there was none with these keys."""
    check = "kit.tested"
    if passed is None:
        return Finding(check, "warning", "The recovery kit was never tested here: nobody knows whether it opens the archive.", _CURE)
    days = (now - datetime.fromisoformat(passed.at).timestamp()) / 86_400
    figures = {"days": round(days, 2)}
    sentence = (
        f"The recovery kit was last tested {days:.0f} days ago, by its {'printed sheet' if passed.by == 'sheet' else 'files and words'}."
    )
    if days > _YEAR_DAYS:
        return Finding(check, "warning", sentence, _CURE, figures)
    return Finding(check, "good", sentence, "", figures)
