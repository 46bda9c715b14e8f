"""Ships what edge coded: seal, record, send, confirm. Each step is safe to be torn at any instant.

Sealed bytes lie in their file, and their digest in the ledger, before the first of them is sent; a retry sends the same bytes. What is
confirmed is a row; after a restart the next byte sent is of the next unconfirmed object. When sealed bytes are lost, the archive is asked
whether it has them already, and only if not they are sealed again under another name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import msgspec

from cloudsync.archive.port import Archive, ObjectRefused, Occupied, md5_of
from cloudsync.archive.retrying import Wake
from cloudsync.catalog import site_state_name
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Complete, Part, Sealed, SiteState
from cloudsync.link.order import Turn, choose
from cloudsync.link.refusal import Refusal
from cloudsync.seal import sums
from cloudsync.seal.keys import Keys
from cloudsync.sealed import SITE, SealedFiles
from cloudsync.segment import Held, SiteStateEntry
from cloudsync.teller import Teller
from cloudsync.watch import DISK_SECONDS, Watch, disk_full
from edge.clock import Clock
from edge.errors import Refused, StoreFull
from edge.journal import Progress, Stopped
from edge.model import FRESH_SECONDS, Digest, PackId
from edge.wall import Gate, Trespass

log = logging.getLogger(__name__)

Job = Part | Complete | SiteState

_PROGRESS_SECONDS = 1.0
_REFUSAL = Refusal()


class Missing(Refused):
    """What lies in the outbox is not what edge asked for. Edge codes the pack again once a person has looked at it."""


class Shipper:
    """Keeps as many objects in flight as the link may have, always the most urgent ones."""

    def __init__(
        self,
        ledger: Ledger,
        keys: Keys,
        archive: Archive,
        outbox: Gate,
        sealed: SealedFiles,
        teller: Teller,
        watch: Watch,
        wake: Wake,
        clock: Clock,
        *,
        changed: asyncio.Event,
        lanes: Callable[[], int],
        urgent_only: Callable[[], bool] = lambda: False,
        refusal: Refusal = _REFUSAL,
        settled: Callable[[], None],
    ) -> None:
        """`changed` is set by whoever has something new to ship, or makes room for it; `lanes` says how many objects may be in flight.

        `urgent_only` whether nothing but STAT goes; `refusal` how often what the archive refuses is tried. `settled` is called when a pack
        or site state has no more to send.
        """
        self._ledger = ledger
        self._keys = keys
        self._archive = archive
        self._outbox = outbox
        self._sealed = sealed
        self._teller = teller
        self._watch = watch
        self._wake = wake
        self._clock = clock
        self._lanes = lanes
        self._urgent_only = urgent_only
        self._refusal = refusal
        self._settled = settled
        self._under_way: set[tuple[object, ...]] = set()
        self._changed = changed
        self._turn = Turn()
        self._sealing = asyncio.Semaphore(1)
        self._progress: dict[PackId, float] = {}

    async def run(self) -> None:
        """Ship, for ever."""
        parts, site_states = await self._ledger.shipping.parts_kept(), await self._ledger.shipping.site_states_kept()
        await asyncio.to_thread(self._sealed.sweep, parts | {(SITE, number) for number in site_states})
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = self._clock.now()
                retry_at = await self._ledger.shipping.go_on(now, self._refusal.max_seconds)
                for job in await self._choose():
                    self._under_way.add(_key(job))
                    group.create_task(self._work(job), name=f"ship {'/'.join(map(str, _key(job)))}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if retry_at is None else retry_at - now):
                        await self._changed.wait()

    async def _choose(self) -> list[Job]:
        """What goes next into the free lanes: urgent before the rest; what finishes a pack before what begins one; else by the law."""
        # One that ends while the ledger is read may be among the rows that were read before it ended.
        busy = frozenset(self._under_way)
        free = self._lanes() - len(busy)
        if free <= 0:
            return []
        enough, since = free + len(busy), self._clock.now() - FRESH_SECONDS
        shipping = self._ledger.shipping
        site_state = await shipping.next_site_state()
        ends: list[Job] = [*await shipping.complete(enough)]
        ends += [site_state] if site_state else []
        kinds = [[part for part in kind if _key(part) not in busy] for kind in await shipping.next_parts(enough, since)]
        chosen: list[Job] = []
        for routine in (False,) if self._urgent_only() else (False, True):
            chosen += [job for job in ends if _routine(job) is routine and _key(job) not in busy][: free - len(chosen)]
            fresh, backlog = ([part for part in kind if _routine(part) is routine] for kind in kinds)
            parts, self._turn = choose(fresh, backlog, free - len(chosen), self._turn)
            chosen += parts
        return chosen

    async def _work(self, job: Job) -> None:
        try:
            match job:
                case Part():
                    await self._ship_part(job)
                case Complete():
                    await self._ship_sums(job)
                case SiteState():
                    await self._ship_site_state(job)
        except (OSError, StoreFull) as fault:
            full = disk_full(fault)
            if full is None:
                raise
            self._watch.failed(full)
            await self._wake.wait(DISK_SECONDS)
        finally:
            self._under_way.discard(_key(job))
            self._changed.set()

    async def _ship_part(self, part: Part) -> None:
        shipping = self._ledger.shipping
        place = f"{self._keys.site_id}/p/{part.stored_as}/{sums.object_name(part.number, part.attempt)}"
        try:
            if part.sealed is None:
                data, sealed = await self._seal(
                    f"{part.pack}/{part.number:06d}", part.plain_bytes, part.plain_digest, place, part.pack, part.number
                )
                if not await shipping.sealed(part, sealed):
                    return
                await self._archive.put(place, data, sealed.md5)
            elif not await self._send_recorded(place, part.pack, part.number, part.sealed):
                log.warning("sealed bytes of %s are lost; it is sealed again under another name", place)
                await shipping.lost(part)
                return
        except ObjectRefused as fault:
            await self._refused(part.pack, fault)
            return
        except (Trespass, Missing, Occupied) as fault:
            await self._stop(part.pack, fault)
            return
        progress = await shipping.confirmed(part)
        await asyncio.to_thread(self._sealed.drop, part.pack, part.number)
        self._tell_progress(part.pack, progress.confirmed, progress.total + 1)

    async def _seal(self, name: str, size: int, digest: Digest, place: str, pack: PackId, number: int) -> tuple[bytes, Sealed]:
        """Read through the wall, compare with the ask, seal, and keep the sealed bytes in their file."""
        async with self._sealing:
            return await asyncio.to_thread(self._seal_now, name, size, digest, place, pack, number)

    def _seal_now(self, name: str, size: int, digest: Digest, place: str, pack: PackId, number: int) -> tuple[bytes, Sealed]:
        try:
            plain = self._outbox.read(name, size)
        except FileNotFoundError as fault:
            raise Missing(f"outbox/{name}: it is not there") from fault
        if len(plain) != size or sha256(plain).hexdigest() != digest:
            raise Missing(f"outbox/{name}: it is not what was asked to be shipped")
        data = self._keys.seal(place, plain)
        return data, self._sealed.keep(pack, number, data)

    async def _send_recorded(self, place: str, pack: PackId, number: int, recorded: Sealed) -> bool:
        """Send sealed bytes that the ledger names. False when they are lost, and the archive does not have them either."""
        found = await self._archive.head(place)
        if found is not None and (found.size, found.md5) == (recorded.size, recorded.md5):
            return True  # it arrived before, and nobody lived to hear of it
        data = await asyncio.to_thread(self._sealed.read, pack, number, recorded)
        if data is None:
            return False
        await self._archive.put(place, data, recorded.md5)
        return True

    async def _ship_sums(self, complete: Complete) -> None:
        pack, stored_as, site = complete.pack, complete.stored_as, self._keys.site_id
        text = complete.sums
        if text is None:
            text = await self._ledger.shipping.sum_up(pack, lambda objects: sums.write(sums.Sums(site, stored_as, objects)))
        if text is None:
            return
        whole = sums.parse(text, site, stored_as)
        try:
            await self._archive.put(whole.place, text, md5_of(text))
        except ObjectRefused as fault:
            await self._refused(pack, fault)
            return
        except Occupied as fault:
            await self._stop(pack, fault)
            return
        entry = await self._entry(pack, whole, text)
        await self._ledger.shipping.proven(pack, entry.sealed_bytes, entry.held_at, msgspec.json.encode(entry), urgent=complete.urgent)
        self._progress.pop(pack, None)
        self._teller.say(Progress(pack=pack, confirmed=len(whole.objects) + 1, total=len(whole.objects) + 1))
        self._settled()

    async def _entry(self, pack: PackId, whole: sums.Sums, text: bytes) -> Held:
        row = await self._ledger.holdings.pack(pack)
        assert row is not None
        head = whole.objects[0]
        return Held(
            pack=whole.pack,
            held_at=self._clock.now(),
            instances=row.instances,
            raw_bytes=row.raw_bytes,
            sealed_bytes=sum(each.bytes for each in whole.objects),
            sha256=row.sha256,
            study=row.study,
            series=row.series,
            objects=len(whole.objects),
            head=head.name,
            head_digest=head.digest,
            sums_digest=sha256(text).hexdigest(),
            replaces=row.replaces or "",
        )

    async def _ship_site_state(self, state: SiteState) -> None:
        shipping = self._ledger.shipping
        place = site_state_name(self._keys.site_id, state.number)
        sealed = state.sealed
        try:
            if sealed is None:
                data, sealed = await self._seal(f"site/{state.digest}", state.size, state.digest, place, SITE, state.number)
                await shipping.site_state_sealed(state.number, sealed)
                await self._archive.put(place, data, sealed.md5)
            elif not await self._send_recorded(place, SITE, state.number, sealed):
                await shipping.site_state_again(state)
                return
        except Occupied:  # of a box that this one was rebuilt from, which did not live to name it in the catalog
            await shipping.site_state_again(state)
            return
        except (Trespass, Missing, ObjectRefused) as fault:
            log.error("site state %d is not shipped: %s", state.number, fault)
            await shipping.site_state_dropped(state.number)
            self._teller.say(Stopped(pack=SITE, reason=str(fault)))
            self._settled()
            return
        entry = SiteStateEntry(
            number=state.number,
            at=self._clock.now(),
            bytes=state.size,
            digest=state.digest,
            sealed_bytes=sealed.size,
            sealed_digest=sealed.digest,
        )
        await shipping.site_state_proven(state.number, entry.at, msgspec.json.encode(entry))
        await asyncio.to_thread(self._sealed.drop, SITE, state.number)
        self._settled()

    async def _refused(self, pack: PackId, fault: ObjectRefused) -> None:
        """The archive would not take an object of a pack: the others go on, and that one later; in the end a person sees to it."""

        def again(refused: int) -> float | None:
            seconds = self._refusal.again_seconds(refused)
            return None if seconds is None else self._clock.now() + seconds

        if await self._ledger.shipping.refused(pack, str(fault), again):
            self._stopped(pack, fault)
        else:
            log.warning("pack %s waits, because %s", pack, fault)
            self._settled()

    async def _stop(self, pack: PackId, fault: Exception) -> None:
        await self._ledger.shipping.stop(pack, str(fault))
        self._stopped(pack, fault)

    def _stopped(self, pack: PackId, fault: Exception) -> None:
        log.error("pack %s is not shipped any further: %s", pack, fault)
        self._progress.pop(pack, None)
        self._teller.wake()
        self._settled()

    def _tell_progress(self, pack: PackId, confirmed: int, total: int) -> None:
        now = self._clock.monotonic()
        if now - self._progress.get(pack, -_PROGRESS_SECONDS) >= _PROGRESS_SECONDS:
            self._progress[pack] = now
            self._teller.say(Progress(pack=pack, confirmed=confirmed, total=total))


def _routine(job: Job) -> bool:
    return isinstance(job, SiteState) or not job.urgent


def _key(job: Job) -> tuple[object, ...]:
    match job:
        case Part():
            return (job.pack, job.number)
        case Complete():
            return (job.pack, "sums")
        case SiteState():
            return (SITE, job.number)
