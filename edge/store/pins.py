"""Pins, as rows of site state: studies that people want to stay in the cache. A rebuilt box has them."""

from __future__ import annotations

from dataclasses import dataclass

from edge.model import UID
from edge.store.site import SiteState


@dataclass(frozen=True, slots=True)
class Pin:
    """A study that stays in the cache."""

    study: UID
    until: float | None
    """Seconds since the epoch; None until it is taken back."""
    pinned_at: float


class Pins:
    """Pins in `site.db`. Safe to use from several threads."""

    def __init__(self, site: SiteState) -> None:
        self._site = site

    def put(self, pin: Pin) -> None:
        """Keep a pin in place of an earlier one of its study; flushed."""
        self._site.decide("put_pin", pin.study, pin.until, pin.pinned_at)

    def remove(self, study: str) -> bool:
        """False when the study was not pinned."""
        return self._site.decide("remove_pin", study) == 1

    def standing(self, now: float) -> list[Pin]:
        """The pins that have not run out, the newest first."""
        rows = (Pin(UID(study), until, pinned_at) for study, until, pinned_at in self._site.rows("pins"))
        return [pin for pin in rows if pin.until is None or now < pin.until]

    def studies(self, now: float) -> frozenset[str]:
        """The studies that stay."""
        return frozenset(pin.study for pin in self.standing(now))
