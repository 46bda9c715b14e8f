"""Who was turned away, kept for a person who may want to let them in.

In the catalogue and not in site state: it is no decision, losing it costs nothing, and neither a flush nor a copy to the archive may follow
from what a stranger does.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.clock import Clock
from edge.model import AETitle
from edge.store.catalogue import Catalogue

MOST = 256
MOST_OF_ONE_ADDRESS = 16


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Somebody who asked for an association under this AE title from this address."""

    ae_title: AETitle
    address: str
    called: str
    """The AE title that was called last."""
    reason: str
    first_at: float
    last_at: float
    times: int


class Callers:
    """Capped in number, in all and for one address: who tries many names pushes out only its own. Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock

    def note(self, calling_ae: AETitle, called_ae: str, address: str, reason: str) -> None:
        """Somebody called, and was turned away for this reason."""
        self._catalogue.rows(
            "note_caller", ae_title=calling_ae, address=address, called=called_ae[:16], reason=reason, now=self._clock.now()
        )
        self._catalogue.rows("forget_surplus_callers", address=address, most_of_one=MOST_OF_ONE_ADDRESS, most=MOST)

    def forget(self, ae_title: AETitle) -> None:
        """It is a peer now."""
        self._catalogue.rows("forget_caller", ae_title)

    def all(self) -> list[TurnedAway]:
        """Last seen first."""
        return [TurnedAway(*row) for row in self._catalogue.rows("callers")]
