"""The outbox: closed packs are coded in shipping order, and asked to be shipped.

Nothing is enqueued: what is to be coded is "closed and not coded", what is to be shipped is "coded and not held". Both are read from the
catalogue after a start, so nothing can be forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

import msgspec

from edge import heads, listing
from edge.asks import Asks
from edge.clock import Clock
from edge.code.jobs import HEAD_APART, CodedPack, CodeJob, MemberRow
from edge.code.worker import Coder, JobTimeout, WorkerDied
from edge.config import Config, Layout
from edge.control.studies import Retried, RetryStudies
from edge.durable import disk_errors, flush_directory
from edge.errors import Corrupt, OutpostError, Permanent, Refused, StoreFailed, StoreFull, Unknown
from edge.journal import Coded
from edge.link import part_bytes
from edge.model import FRESH_SECONDS, Json, PackId, Urgency
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.files import is_on_its_way
from edge.store.room import Room
from edge.store.salvage import salvage
from edge.wall import Gate, Trespass

log = logging.getLogger(__name__)

FULL_SECONDS = 30.0
"""Pause before a write on a full disk is tried again, unless something has made room."""
PLAINTEXT = (
    "The archive reads the images, so they lie there unencrypted (archive.plaintext_archive). Corrections, and what was decided at this"
    " site, are on this box alone, and a box that is lost is not rebuilt from such an archive."
)
ATTEMPTS = 3
"""How often a pack may kill the coder before it waits for a person."""


class Outbox:
    """Codes and asks, as a task of the loop."""

    def __init__(self, config: Config, layout: Layout, catalogue: Catalogue, room: Room, coder: Coder, asks: Asks, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._catalogue = catalogue
        self._room = room
        self._coder = coder
        self._asks = asks
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._died: Counter[PackId] = Counter()
        self._form: Literal["parts", "instances"] = "instances" if config.archive.kind == "dicomweb" else "parts"
        self.part_bytes = config.link.part_bytes

    async def code_closed(self) -> None:
        """Code closed packs one after the other, as they are shipped, while outbox and disk have room; for ever."""
        await asyncio.to_thread(self._sweep)
        untold = True
        while True:
            self._work.clear()
            try:
                if untold:
                    await asyncio.to_thread(self._tell_again)
                    untold = False
                rows = self._catalogue.rows("next_to_code", since=self._clock.now() - FRESH_SECONDS)
                pack = PackId(rows[0][0]) if rows else None
                if pack is None:
                    await self._work.wait()
                    continue
                if not self._has_room_for(pack):
                    await self._wait_for_room()
                    continue
                if is_on_its_way(self._layout, pack):  # `closed` follows when it has come
                    await self._work.wait()
                    continue
                await asyncio.to_thread(self._clear_stopped)
                await self._code(pack)
            except StoreFull as fault:
                untold = True
                log.warning("coding waits: %s", fault)
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """What stops makes room too, and rings for nobody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FULL_SECONDS):
                await self._work.wait()

    def _has_room_for(self, pack: PackId) -> bool:
        """Whether the outbox takes one more: an outage fills it, and STAT does not wait for that."""
        state = self._catalogue.pack(pack)
        if state is not None and state.urgency is Urgency.STAT:
            return True
        return int(self._catalogue.figure("outbox_bytes")) < self._config.cache.outbox_max_bytes

    def closed(self) -> None:
        """A pack was closed: there may be something to code. In the loop."""
        self._work.set()

    def notices(self) -> list[str]:
        """What an archive that reads DICOM does not give, for people."""
        return [PLAINTEXT] if self._form == "instances" else []

    def responders(self) -> Iterable[Responder]:
        return [at_once(RetryStudies, PEOPLE, self._retry)]

    def settle(self, pack: str) -> None:
        """A pack is held: its outbox files are no longer needed. Idempotent; safe from any thread."""
        shutil.rmtree(self._layout.outbox / pack, ignore_errors=True)
        self._loop.call_soon_threadsafe(self._work.set)

    def _clear_stopped(self) -> None:
        """What waits for a person fills no disk: when it is more than the outbox may hold, it is coded anew once it goes on."""
        if int(self._catalogue.figure("stopped_outbox_bytes")) < self._config.cache.outbox_max_bytes:
            return
        for (pack,) in self._catalogue.rows("stopped_in_outbox"):
            with self._catalogue.change():
                uncoded = self._catalogue.rows("uncode", pack)
            if uncoded:
                shutil.rmtree(self._layout.outbox / pack, ignore_errors=True)

    def _sweep(self) -> None:
        """At start: what was being coded, and what Outpost had no time to remove when it was held."""
        for path in self._layout.outbox.iterdir():
            state = self._catalogue.pack(path.name)
            if path.name.startswith(".") or (state is not None and state.held):
                shutil.rmtree(path, ignore_errors=True)

    def _tell_again(self) -> None:
        """Every ask to ship that cloudsync may not have heard. What was coded for an archive of another kind is coded anew."""
        asks = [msgspec.json.decode(asked, type=Coded) for (asked,) in self._catalogue.rows("asked_not_held")]
        with self._catalogue.change():
            for ask in asks:
                if ask.form != self._form:
                    self._catalogue.rows("code_again", ask.pack)
        with disk_errors():
            self._asks.tell(*(ask for ask in asks if ask.form == self._form))

    def _retry(self, request: RetryStudies, _asker: Asker) -> list[Retried]:
        """What waits for a person goes on: as it lies in the outbox, or coded anew where that is not what was asked for."""
        stopped = self._catalogue.rows("stopped_packs", study=request.study)
        if request.study is not None and not stopped:
            if not self._catalogue.rows("study_row", request.study):
                raise Unknown(f"There is no study {request.study} here. `outpost studies ls` lists them.")
            raise Refused(f"Nothing of study {request.study} waits for a person. `outpost studies show` says how far it is.")
        retried = []
        for pack, study, asked in stopped:
            ask = None if asked is None else msgspec.json.decode(asked, type=Coded)
            whole = ask is not None and ask.form == self._form and self._lies_whole(ask)
            with self._catalogue.change():
                self._catalogue.rows("ship_again" if whole else "code_again", pack)
            if whole and ask is not None:
                with disk_errors():
                    self._asks.tell(ask)
            retried.append(Retried(pack=pack, study=study, coded_anew=not whole))
        self._loop.call_soon_threadsafe(self._begin_anew, [PackId(one.pack) for one in retried])
        return retried

    def _begin_anew(self, packs: Iterable[PackId]) -> None:
        for pack in packs:
            self._died.pop(pack, None)
        self._work.set()

    def _lies_whole(self, ask: Coded) -> bool:
        """Whether the outbox holds what an ask says, as cloudsync will look at it."""
        gate = Gate(self._layout.outbox)
        try:
            for part in ask.parts:
                data = gate.read(f"{ask.pack}/{part.number:06d}", part.bytes)
                if hashlib.sha256(data).hexdigest() != part.digest:
                    return False
                if ask.form == "instances":  # each is proven by its digest before it is sent
                    files = enumerate(listing.read(data), 1)
                    return all((self._layout.outbox / ask.pack / f"{number:06d}").stat().st_size == file.bytes for number, file in files)
            return True
        except (FileNotFoundError, Trespass):
            return False

    async def _code(self, pack: PackId) -> None:
        state = self._catalogue.pack(pack)
        assert state is not None
        self._room.demand_for_archive(state.bytes or 0)
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
        except Corrupt as fault:
            await self._salvage(pack, fault)
        except Permanent as fault:
            self._stop(pack, fault)

    async def _salvage(self, pack: PackId, fault: Corrupt) -> None:
        """A pack is not what was closed: what is whole in it is coded as a pack of its own, which comes next, and the rest is lost."""
        state = self._catalogue.pack(pack)
        assert state is not None
        self._room.demand_for_archive(state.bytes or 0)
        try:
            found = await asyncio.to_thread(salvage, self._layout.cache, self._catalogue, pack, self._clock)
        except Corrupt as unread:
            self._stop(pack, unread)
            return
        if found is None:  # it is as it was closed, and the coder still cannot take it
            self._stop(pack, fault)
            return
        log.error(
            "pack %s of study %s is not what was closed (%s): %d of its instances are lost until sent again, %d are whole, in pack %s",
            *(pack, state.study, fault, found.lost, found.kept, found.pack),
        )

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
            part_bytes=part_bytes(self._catalogue.link(), self.part_bytes),
            sha256=state.sha256,
            study=study,
            series=series,
            verbatim=self._died[pack] > 0,
            form=self._form,
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
            head = target / ("000000" if self._form == "parts" else HEAD_APART)
            heads.keep(self._layout, pack, head.read_bytes(), coded_at)
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
            form=self._form,
            received_at=state.opened_at,
        )
        self._catalogue.mark_coded(pack, coded_at, coded.coded_bytes, msgspec.json.encode(ask).decode(), coded.objects)
        with disk_errors():
            self._asks.tell(ask)


def member_row(row: tuple[Any, ...]) -> MemberRow:
    """A row of the named query `members_of_pack` as the coder takes it."""
    study, series, sop_instance, sop_class, syntax, digest, header_offset, dataset_offset, dataset_length, attributes, fault = row
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
        fault=fault,
    )
