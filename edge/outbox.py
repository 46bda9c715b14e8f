"""The outbox: quiet packs are closed, coded in shipping order, and asked to be shipped.

Nothing is enqueued: what is to be coded is "closed and not coded", what is to be shipped is "coded and not held". Both are read from the
catalogue after a start, so nothing can be forgotten.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from edge import heads
from edge.clock import Clock
from edge.code.jobs import CodedPack, CodeJob, MemberRow
from edge.code.worker import Coder, JobTimeout, WorkerDied
from edge.config import Config, Layout
from edge.durable import disk_errors, flush_directory, write_whole
from edge.errors import Corrupt, OutpostError, Permanent, StoreFailed, StoreFull
from edge.journal import Coded, JournalWriter, Recall, Restate, SiteState, Taken
from edge.model import Json, PackId
from edge.store import site
from edge.store.catalogue import Catalogue
from edge.store.packs import OpenPacks

log = logging.getLogger(__name__)

FULL_SECONDS = 30.0
"""Pause before a write on a full disk is tried again, unless something has made room."""
ATTEMPTS = 3
"""How often a pack may kill the coder before it waits for a person."""
SITE_QUIET_SECONDS = 2.0
SITE_PAUSE_SECONDS = 60.0
"""At least so long between two copies; each is an object in the archive for good."""
SITE_COPIES = 8
"""Copies of site state that stay in the outbox: cloudsync may still be behind, and a newer one always follows."""


class Asks:
    """The journal of asks with its doorbell: written, then rung. Safe to use from several threads."""

    def __init__(self, journal: JournalWriter, ring: Callable[[], None]) -> None:
        self._journal = journal
        self._ring = ring
        self.forget = journal.forget

    def tell(self, *asks: Coded | SiteState | Recall | Taken | Restate) -> None:
        if asks:
            self._journal.append(*asks)
            self._ring()


class Outbox:
    """Closes, codes and asks, as three tasks of the loop."""

    def __init__(
        self, config: Config, layout: Layout, catalogue: Catalogue, packs: OpenPacks, coder: Coder, asks: Asks, clock: Clock
    ) -> None:
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._packs = packs
        self._coder = coder
        self._asks = asks
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._died: Counter[PackId] = Counter()
        self._put_off: set[PackId] = set()
        self.part_bytes = config.link.part_bytes

    async def close_quiet(self) -> None:
        """Close packs whose study is quiet, for ever. Raises StoreFailed when the disk fails."""
        quiet = min(self._config.cache.quiet_seconds, self._config.cache.stat_quiet_seconds)
        while True:
            await self.close_due()
            await asyncio.sleep(min(max(quiet / 4, 0.1), 2.0))

    async def close_due(self, everything: bool = False) -> None:
        """Close what is due now; with `everything`, every pack that is not being written."""
        for pack in self._packs.take_due(everything):
            try:
                await asyncio.to_thread(self._packs.close, pack)
            except StoreFull as fault:  # until there is room it is served from cache/open
                self._packs.put_off(pack)
                if pack.id not in self._put_off:
                    log.warning("pack %s is not closed yet: %s", pack.id, fault)
                self._put_off.add(pack.id)
            else:
                self._put_off.discard(pack.id)
                self._work.set()

    async def code_closed(self) -> None:
        """Code closed packs one after the other, urgent ones first, while outbox and disk have room; for ever."""
        await asyncio.to_thread(self._sweep)
        untold = True
        while True:
            self._work.clear()
            try:
                if untold:
                    await asyncio.to_thread(self._tell_again)
                    untold = False
                rows = self._catalogue.rows("next_to_code")
                if not rows or int(self._catalogue.figure("outbox_bytes")) >= self._config.cache.outbox_max_bytes:
                    await self._work.wait()
                    continue
                await self._code(PackId(rows[0][0]))
            except StoreFull as fault:
                untold = True
                log.warning("coding waits: %s", fault)
                with suppress(TimeoutError):
                    async with asyncio.timeout(FULL_SECONDS):
                        await self._work.wait()

    async def copy_site(self, state: site.SiteState) -> None:
        """Ask for a sealed copy of site state whenever it has changed and a person has finished changing it; for ever."""
        told = -1
        while True:
            seen = state.changes
            await asyncio.sleep(SITE_QUIET_SECONDS)
            if seen != told and seen == state.changes:
                try:
                    await asyncio.to_thread(self._copy_site, state)
                    told = seen
                except StoreFull as fault:
                    log.warning("site state is not copied yet: %s", fault)
                await asyncio.sleep(SITE_PAUSE_SECONDS)

    def settle(self, pack: str) -> None:
        """A pack is held: its outbox files are no longer needed. Idempotent; safe from any thread."""
        shutil.rmtree(self._layout.outbox / pack, ignore_errors=True)
        self._loop.call_soon_threadsafe(self._work.set)

    def _sweep(self) -> None:
        """At start: what was being coded, and what Outpost had no time to remove when it was held."""
        for path in self._layout.outbox.iterdir():
            state = self._catalogue.pack(path.name)
            if path.name.startswith(".") or (state is not None and state.held):
                shutil.rmtree(path, ignore_errors=True)

    def _tell_again(self) -> None:
        """Every ask to ship that cloudsync may not have heard."""
        with disk_errors():
            self._asks.tell(*(msgspec.json.decode(asked, type=Coded) for (asked,) in self._catalogue.rows("asked_not_held")))

    async def _code(self, pack: PackId) -> None:
        try:
            coded = await self._coder.code(self._job(pack))
            await asyncio.to_thread(self._publish, pack, coded)
        except (StoreFull, StoreFailed):
            raise
        except (WorkerDied, JobTimeout) as fault:
            self._died[pack] += 1
            log.error("pack %s: the coder died (%s), time %d", pack, fault, self._died[pack])
            if self._died[pack] >= ATTEMPTS:
                self._stop(pack, fault)
        except (Corrupt, Permanent) as fault:
            self._stop(pack, fault)

    def _stop(self, pack: PackId, fault: OutpostError) -> None:
        log.error("pack %s is not coded: %s", pack, fault)
        with self._catalogue.change():
            self._catalogue.mark_stopped(pack, f"It could not be coded: {fault}")

    def _job(self, pack: PackId) -> CodeJob:
        state = self._catalogue.pack(pack)
        assert state is not None
        assert state.sha256 is not None
        study, series = self._attributes(pack)
        return CodeJob(
            pack=pack,
            pack_path=str(self._layout.cached(pack)),
            target_dir=str(self._layout.outbox / f".{pack}.new"),
            part_bytes=self.part_bytes,
            sha256=state.sha256,
            study=study,
            series=series,
            verbatim=self._died[pack] > 0,
            members=[member_row(row) for row in self._catalogue.rows("members_of_pack", pack)],
        )

    def _attributes(self, pack: PackId) -> tuple[Json, list[Json]]:
        ((patient, study),) = self._catalogue.rows("study_of_pack", pack)
        series = [
            json.loads(attributes) | {"00201209": {"vr": "IS", "Value": [count]}}
            for attributes, count in self._catalogue.rows("series_of_pack", pack)
        ]
        return json.loads(patient) | json.loads(study), series

    def _publish(self, pack: PackId, coded: CodedPack) -> None:
        """The coded directory appears in the outbox whole, the head is kept, the ask is recorded, then told."""
        fresh, target = self._layout.outbox / f".{pack}.new", self._layout.outbox / pack
        with disk_errors():
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
            flush_directory(self._layout.outbox)
            coded_at = float(int(self._clock.now()))
            heads.keep(self._layout, pack, (target / "000000").read_bytes(), coded_at)
        state = self._catalogue.pack(pack)
        assert state is not None
        assert state.sha256 is not None
        study, series = self._attributes(pack)
        ask = Coded(
            pack=pack,
            urgency=state.urgency,
            instances=state.instances,
            raw_bytes=coded.raw_bytes,
            sha256=state.sha256,
            study=study,
            series=series,
            parts=coded.parts,
        )
        # Head, parts, sums.
        objects = len(coded.parts) + 1
        self._catalogue.mark_coded(pack, coded_at, coded.coded_bytes, msgspec.json.encode(ask).decode(), objects)
        with disk_errors():
            self._asks.tell(ask)

    def _copy_site(self, state: site.SiteState) -> None:
        copy = state.copy()
        digest = site.digest(copy)
        directory = self._layout.outbox / "site"
        with disk_errors():
            directory.mkdir(mode=0o750, exist_ok=True)
            write_whole(directory / digest, copy)
            copies = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in copies[:-SITE_COPIES]:
                old.unlink()
            self._asks.tell(SiteState(bytes=len(copy), digest=digest))


def member_row(row: tuple[Any, ...]) -> MemberRow:
    """A row of the named query `members_of_pack` as the coder takes it."""
    study, series, sop_instance, sop_class, syntax, digest, header_offset, dataset_offset, dataset_length, attributes = row
    return MemberRow(
        study=study,
        series=series,
        sop_instance=sop_instance,
        sop_class=sop_class,
        transfer_syntax=syntax,
        digest=digest,
        header_offset=header_offset,
        dataset_offset=dataset_offset,
        dataset_length=dataset_length,
        attributes=json.loads(attributes),
    )
