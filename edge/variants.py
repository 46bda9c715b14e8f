"""Variants are classed: another digest of an instance is stored and acknowledged at once, and compared afterwards, beside reception.

What is to be classed is a query; a start goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from edge import heads
from edge.clock import Clock
from edge.code.head_source import HeadSource
from edge.code.jobs import Fingerprint, FingerprintJob
from edge.code.jobs import Variant as VariantFile
from edge.code.worker import Coder, JobTimeout, WorkerDied
from edge.config import Layout
from edge.dataset.attributes import describe
from edge.dataset.look import look
from edge.dataset.source import PackSource
from edge.errors import Corrupt, Permanent, StoreFailed, StoreFull
from edge.model import UID
from edge.recall import RecallDesk
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.files import Gone, PackFiles
from edge.store.variants import Said, Standing, Variant, Verdict, decide, undecided, variants_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
MOST = 64
"""Instances that are looked up at once."""
ASK_AGAIN_SECONDS = 600.0
"""A recall that a comparison waits for is asked for again after so long."""
ATTEMPTS = 3
"""How often variants may kill their worker before they count as unreadable."""

Key = tuple[str, str, str]
"""Study, series and SOP Instance UID."""


class Away(Exception):
    """The bytes that a comparison needs are in the archive, and are being recalled."""


class Variants:
    """The task that classes variants."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        decisions: Decisions,
        coder: Coder,
        desk: RecallDesk,
        clock: Clock,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._decisions = decisions
        self._coder = coder
        self._desk = desk
        self._clock = clock
        self._look_seconds = look_seconds
        self._asked: dict[Key, float] = {}
        self._died: dict[Key, int] = {}

    async def class_all(self) -> None:
        """Class what is to be classed, for ever."""
        while True:
            if not await self.class_some():
                await asyncio.sleep(self._look_seconds)

    async def class_some(self) -> int:
        """Class what can be classed now; how many instances that were."""
        done = 0
        for key in self._catalogue.rows("unclassed", most=MOST + len(self._asked)):
            try:
                await self._class(key)
            except Away:
                continue
            except StoreFull as fault:
                log.warning("variants are not classed: %s", fault)
                return 0
            done += 1
        return done

    async def _class(self, key: Key) -> None:
        variants = variants_of(self._catalogue, *key)
        choice = self._decisions.choice(*key)
        said = await self._read(key, undecided(variants, choice))
        verdict = decide(variants, choice, lambda one: said.get(one.row))
        await asyncio.to_thread(self._act, key, variants, verdict)
        self._asked.pop(key, None)
        self._died.pop(key, None)
        if any(standing is Standing.CONFLICT for standing, _ in verdict.standings):
            log.warning("pack %s: an instance has variants that a person must choose from: `outpost conflicts ls`", variants[-1].pack)

    async def _read(self, key: Key, variants: Sequence[Variant]) -> dict[int, Said | None]:
        """What each variant says. Raises Away."""
        readable = [one for one in variants if not one.lost]
        if not readable:
            return {}
        job = FingerprintJob(pack=readable[0].pack, variants=[self._file(one) for one in readable])
        try:
            prints: Sequence[Fingerprint | None] = await self._coder.fingerprints(job)
        except (WorkerDied, JobTimeout) as fault:
            self._died[key] = self._died.get(key, 0) + 1
            if self._died[key] < ATTEMPTS:
                raise Away from fault
            return {}
        except (StoreFull, StoreFailed):
            raise
        except (Corrupt, Permanent) as fault:
            log.error("pack %s: variants cannot be compared: %s", readable[-1].pack, fault)
            return {}
        away = [one for one, said in zip(readable, prints, strict=True) if said is None]
        if away:
            self._recall(key, away)
            raise Away
        return {one.row: _said(said) for one, said in zip(readable, prints, strict=True) if said is not None}

    def _recall(self, key: Key, variants: Sequence[Variant]) -> None:
        now = self._clock.monotonic()
        if now - self._asked.get(key, -ASK_AGAIN_SECONDS) >= ASK_AGAIN_SECONDS:
            self._asked[key] = now
            for one in variants:
                self._desk.want(one.pack, [one.dataset_offset])

    def _file(self, one: Variant) -> VariantFile:
        place = self._layout.open_packs / f"{one.pack}.tar"
        return VariantFile(
            path=str(place if place.exists() else self._layout.cached(one.pack)),
            dataset_offset=one.dataset_offset,
            dataset_length=one.dataset_length,
            transfer_syntax=one.transfer_syntax,
            head_path=None if one.here else str(self._layout.head(one.pack)),
        )

    def _act(self, key: Key, variants: Sequence[Variant], verdict: Verdict) -> None:
        visible = verdict.visible
        changes = [
            (int(place == visible), *standing, one.row)
            for place, (one, standing) in enumerate(zip(variants, verdict.standings, strict=True))
        ]
        changed = visible is not None and not variants[visible].visible
        description = self._describe(variants[visible]) if changed and visible is not None else None
        with self._catalogue.change():
            for change in sorted(changes, key=lambda change: change[0]):  # what becomes hidden first: one variant is visible
                self._catalogue.rows("class_variant", *change)
            if description is not None and visible is not None and not variants[visible].stranger:
                self._catalogue.arrived_anew(UID(key[0]), *description, variants[visible].source_ae)

    def _describe(self, one: Variant) -> tuple[dict[str, object], dict[str, object]] | None:
        """Patient and study attributes of a variant."""
        try:
            if one.here:
                with PackFiles(self._layout) as files:
                    source = PackSource(files.open(one.pack), one.dataset_offset, one.dataset_length)
                    head, _ = look(source, one.transfer_syntax)
            else:
                found = heads.load(self._layout, one.pack)
                member = next(member for member in found.manifest.members if member.dataset_offset == one.dataset_offset)
                head, _ = look(HeadSource(found, member), one.transfer_syntax)
        except (Gone, FileNotFoundError, Corrupt, StopIteration):
            return None
        found_there = describe(head, one.transfer_syntax, None)
        return found_there.patient, found_there.study


def _said(one: Fingerprint) -> Said:
    return Said(one.study, one.rest, one.pixels, one.patient_id, one.birth_date)
