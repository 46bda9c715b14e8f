"""Conflicts as people settle them: a choice is a row of site state, in force when the variants are classed again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from edge import audit
from edge.audit import Audit
from edge.clock import Clock
from edge.control.conflicts import Choose, Chosen, Conflict, ListConflicts, SharedId, ShowConflict, VariantRow
from edge.errors import Refused, Unknown
from edge.model import UID, Digest
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.variants import Choice


class Conflicts:
    """Answers what is asked about conflicts; what cannot be is refused with the reason and the cure. Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, decisions: Decisions, trail: Audit, clock: Clock) -> None:
        self._catalogue = catalogue
        self._decisions = decisions
        self._audit = trail
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(ListConflicts, PEOPLE, self._list),
            at_once(ShowConflict, PEOPLE, self._show),
            at_once(Choose, PEOPLE, self._choose),
        ]

    def _list(self, _request: ListConflicts, _asker: Asker) -> list[Conflict | SharedId]:
        return [*self._studies(), *self._shared_ids()]

    def _show(self, request: ShowConflict, _asker: Asker) -> list[VariantRow]:
        return self._variants(request.study)

    def _studies(self) -> list[Conflict]:
        return [
            Conflict(study=study, instances=count, since=since, reasons=sorted(filter(None, json.loads(reasons))))
            for study, count, since, reasons in self._catalogue.rows("conflicts")
        ]

    def _shared_ids(self) -> list[SharedId]:
        return [
            SharedId(patient_id=patient_id, issuer=issuer, people=people)
            for patient_id, issuer, people in self._catalogue.rows("people_apart")
        ]

    def _variants(self, study: str) -> list[VariantRow]:
        found = [
            VariantRow(
                series=series,
                instance=instance,
                digest=digest,
                received_at=received_at,
                source_ae=source_ae,
                bytes=size,
                visible=bool(visible),
                standing=standing,
                because=because,
            )
            for series, instance, digest, received_at, source_ae, size, visible, standing, because in self._catalogue.rows(
                "variants_in_conflict", study=study
            )
        ]
        if not found:
            raise Unknown(f"No instance of study {study} is in conflict. `outpost conflicts ls` lists what is.")
        return found

    def _choose(self, request: Choose, asker: Asker) -> list[Chosen]:
        now = self._clock.now()
        instances: defaultdict[tuple[str, str], list[VariantRow]] = defaultdict(list)
        for row in self._variants(request.study):
            if request.instance in {None, row.instance}:
                instances[row.series, row.instance].append(row)
        if not instances:
            raise Refused(f"Instance {request.instance} is not in conflict. `outpost conflicts show {request.study}` lists those that are.")
        for (series, instance), variants in instances.items():
            visible = next((row.digest for row in variants if row.visible), None)
            kept = variants[-1].digest if request.keep == "newest" else visible
            digest = None if kept is None else Digest(kept)
            # Decided first: a start in between classes by what stands in site state.
            self._decisions.put_choice(Choice(UID(request.study), UID(series), UID(instance), digest, now))
            self._catalogue.rows("class_again", instance, series, request.study)
        named = [] if request.instance is None else [request.instance]
        self._audit.record(audit.Decided(user=asker.user, study=request.study, change=f"kept {request.keep}", fields=named))
        return [Chosen(instances=len(instances))]
