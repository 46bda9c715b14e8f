"""How often an archive is asked again that refuses an object, and when, as a function of values.

A refusal may pass (a policy just being changed, a gateway in between that restarts), and may stand for ever: then that one pack waits for a
person, and never the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudsync.link.backoff import Backoff

_FIRST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The law of one pack of which objects are refused."""

    tries: int = 5
    """So many, and a person has to look at it."""
    max_seconds: float = 300.0
    """Between two."""

    def again_seconds(self, refused: int) -> float | None:
        """How long the pack waits after it was refused so often; None once it is given up."""
        if refused >= self.tries:
            return None
        return Backoff(_FIRST_SECONDS, self.max_seconds).wait_seconds(refused, 1.0)
