"""What people decided about studies, as rows of site state: they outlive the catalogue, and a rebuilt box has them."""

from __future__ import annotations

import json
from typing import Any

from edge.model import UID, Correction
from edge.store.site import SiteState
from edge.store.variants import Choice


class Decisions:
    """Corrections and choices in `site.db`. Safe to use from several threads."""

    def __init__(self, site: SiteState) -> None:
        self._site = site

    def corrections(self) -> list[Correction]:
        """Every correction that stands, the newest first."""
        return [_correction(row) for row in self._site.rows("corrections")]

    def correction(self, study: UID) -> Correction | None:
        rows = self._site.rows("correction", study)
        return _correction(rows[0]) if rows else None

    def put_correction(self, one: Correction) -> None:
        """Keep a correction in place of an earlier one of its study; one that says nothing takes that back."""
        if one.attributes or one.rejected:
            self._site.decide("put_correction", one.study, json.dumps(one.attributes), one.corrected_at, int(one.rejected))
        else:
            self._site.decide("remove_correction", one.study)

    def choice(self, study: str, series: str, instance: str) -> Choice | None:
        """What was chosen among the variants of an instance."""
        rows = self._site.rows("choice", study, series, instance)
        return Choice(UID(study), UID(series), UID(instance), *rows[0]) if rows else None

    def put_choice(self, one: Choice) -> None:
        """Keep a choice in place of an earlier one."""
        self._site.decide("put_choice", one.study, one.series, one.instance, one.digest, one.chosen_at)


def _correction(row: tuple[Any, ...]) -> Correction:
    study, attributes, corrected_at, rejected = row
    return Correction(UID(study), json.loads(attributes), corrected_at, bool(rejected))
