"""Ships instances to an archive that reads DICOM, by requests that hold several, and proves that it has them.

A pack is held once the archive has said of each of its instances that it is stored, lists every one of them, and those of a sample were
read again with the same dataset. What is listed before it was sent (by somebody else, or before a restart) is always read and compared:
some archives say "stored" to other bytes under the same UID, and keep what they had.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cloudsync.archive.instances import InstanceArchive, Offer
from cloudsync.archive.part10 import NoFile, dataset_digest
from cloudsync.archive.port import ObjectRefused, Occupied
from cloudsync.archive.retrying import Wake
from cloudsync.instances import proof
from cloudsync.instances.batch import outlasts, request_bytes, sampled, take
from cloudsync.instances.turns import Turns
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Instance, InstancePack
from cloudsync.link.refusal import Refusal
from cloudsync.teller import Teller
from cloudsync.watch import DISK_SECONDS, Watch, disk_full
from edge import listing
from edge.clock import Clock
from edge.errors import Corrupt, Refused, StoreFull
from edge.journal import Progress
from edge.wall import Gate, Trespass

log = logging.getLogger(__name__)

_PACKS = 8
"""Under way at the same time; an urgent one that comes is one more."""
_LISTINGS = 5
"""How often it is asked whether the archive lists what it stored, until a person has to look."""
_PROGRESS_SECONDS = 1.0


class Missing(Refused):
    """What lies in the outbox is not what edge asked for. Edge codes the pack again once a person has looked at it."""


@dataclass(frozen=True, slots=True)
class Law:
    """What the archive allows, and how much is proven."""

    lanes: int
    most_seconds: float
    most_bytes: int
    read_percent: float
    refusal: Refusal


class InstanceShipper:
    """Keeps several packs under way, and of them as many requests as the link may have, always the most urgent ones."""

    def __init__(
        self,
        ledger: Ledger,
        archive: InstanceArchive,
        outbox: Gate,
        scratch: Path,
        teller: Teller,
        watch: Watch,
        wake: Wake,
        clock: Clock,
        law: Law,
        *,
        changed: asyncio.Event,
        goodput: Callable[[], float],
        lanes: Callable[[], int],
        urgent_only: Callable[[], bool],
        listing_seconds: float,
    ) -> None:
        """`scratch` is a directory for what is read to be compared. `changed` is set by whoever has something new to ship, or makes room
        for it; `lanes` says how many requests may be under way now, `urgent_only` whether of STAT alone. After `listing_seconds`, and then
        after ever longer, it is asked again whether the archive lists what it stored.
        """
        self._ledger = ledger
        self._archive = archive
        self._outbox = outbox
        self._scratch = scratch
        self._teller = teller
        self._watch = watch
        self._wake = wake
        self._clock = clock
        self._law = law
        self._goodput = goodput
        self._listing_seconds = listing_seconds
        self._turns = Turns(lanes, urgent_only)
        self._under_way: set[str] = set()
        self._changed = changed
        self._progress: dict[str, float] = {}

    async def run(self) -> None:
        """Ship, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                self._turns.changed()
                now = self._clock.now()
                retry_at = await self._ledger.shipping.go_on(now, self._law.refusal.max_seconds)
                for pack in await self._ledger.instances.next_packs(_PACKS):
                    if pack.pack not in self._under_way:
                        self._under_way.add(pack.pack)
                        group.create_task(self._work(pack), name=f"ship {pack.pack}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if retry_at is None else retry_at - now):
                        await self._changed.wait()

    async def _work(self, pack: InstancePack) -> None:
        try:
            await self._ship(pack)
        except ObjectRefused as fault:
            log.warning("pack %s waits, because %s", pack.pack, fault)
            await self._ledger.shipping.refused(pack.pack, str(fault), self._again)
            self._teller.wake()
        except (Trespass, Missing, Occupied) as fault:
            log.error("pack %s is not shipped any further: %s", pack.pack, fault)
            await self._ledger.shipping.stop(pack.pack, str(fault))
            self._teller.wake()
        except (OSError, StoreFull, BaseExceptionGroup) as fault:
            full = disk_full(fault)
            if full is None:
                raise
            self._watch.failed(full)
            await self._wake.wait(DISK_SECONDS)
        finally:
            self._under_way.discard(pack.pack)
            self._progress.pop(pack.pack, None)
            self._changed.set()

    def _again(self, refused: int) -> float | None:
        """When a pack of which so often something was refused is tried again."""
        seconds = self._law.refusal.again_seconds(refused)
        return None if seconds is None else self._clock.now() + seconds

    async def _ship(self, pack: InstancePack) -> None:
        instances = await self._ledger.instances.of(pack.pack) or await self._listed(pack)
        asked = [instance for instance in instances if instance.state == "asked"]
        there = await self._there(asked)
        found = [instance for instance in asked if instance.sop_instance in there]
        for instance in found:
            await self._settle_by_reading(pack, instance)
        await self._send(pack, [instance for instance in asked if instance.sop_instance not in there])
        if refused := [instance for instance in instances if instance.state == "refused"]:
            raise Occupied(f"the archive holds one version of an instance, and has another one of {refused[0].sop_instance} already")
        await self._prove(pack)

    async def _listed(self, pack: InstancePack) -> tuple[Instance, ...]:
        """The instances of a new pack, from its listing in the outbox."""
        name = f"{pack.pack}/{0:06d}"
        try:
            data = await asyncio.to_thread(self._outbox.read, name, pack.listing_bytes)
            if sha256(data).hexdigest() != pack.listing:
                raise Missing(f"outbox/{name}: it is not what was asked to be shipped")
            files = listing.read(data)
        except (FileNotFoundError, Corrupt) as fault:
            raise Missing(f"outbox/{name}: {fault}") from fault
        if len(files) != pack.instances:
            raise Missing(f"outbox/{name}: it lists {len(files)} instances, asked for were {pack.instances}")
        await self._ledger.instances.put(pack.pack, files)
        return await self._ledger.instances.of(pack.pack)

    async def _there(self, instances: Iterable[Instance]) -> frozenset[str]:
        """The SOP Instance UIDs that the archive lists of the series of these."""
        found: set[str] = set()
        for study, series in dict.fromkeys((instance.study, instance.series) for instance in instances):
            found |= await self._archive.exists(study, series)
        return frozenset(found)

    async def _settle_by_reading(self, pack: InstancePack, instance: Instance, reason: str = "") -> None:
        """Stored when the archive has this very instance. Raises Occupied when it has another one, ObjectRefused when it has none."""
        try:
            async with self._turns.one(pack.urgency):
                has = await proof.has(self._archive, instance, self._scratch)
            if not has:
                await self._ledger.instances.settle([instance], "asked")
                raise ObjectRefused(
                    f"the archive does not take the instance {instance.sop_instance}: {reason or 'it lists it and has it not'}"
                )
        except Occupied:
            await self._ledger.instances.settle([instance], "refused")
            raise
        await self._ledger.instances.settle([instance], "stored")

    async def _send(self, pack: InstancePack, instances: list[Instance]) -> None:
        waiting = deque(instances)
        refusals: list[Refused] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._law.lanes, len(waiting))):
                group.create_task(self._drain(pack, waiting, refusals))
        if refusals:
            raise refusals[0]

    async def _drain(self, pack: InstancePack, waiting: deque[Instance], refusals: list[Refused]) -> None:
        """Send what waits, request by request. One that is refused does not keep the others from being sent."""
        while waiting:
            try:
                async with self._turns.one(pack.urgency):
                    doubtful = await self._request(pack, self._batch(waiting)) if waiting else []
            except (Trespass, Missing, ObjectRefused) as fault:
                refusals.append(fault)
                continue
            for instance, reason in doubtful:
                try:
                    await self._settle_by_reading(pack, instance, reason)
                except (Occupied, ObjectRefused) as fault:
                    refusals.append(fault)

    def _batch(self, waiting: deque[Instance]) -> list[Instance]:
        """What goes into the next request. Raises ObjectRefused for an instance that cannot be sent in time."""
        goodput, law = self._goodput(), self._law
        batch = take(waiting, request_bytes(goodput, law.lanes, law.most_seconds, law.most_bytes))
        if outlasts(batch[0].size, goodput, law.most_seconds):
            raise self._too_large(batch[0], goodput)
        return batch

    async def _request(self, pack: InstancePack, batch: list[Instance]) -> list[tuple[Instance, str]]:
        """Send one request, and each that it says nothing of once more by itself; returns those that failed, and why."""
        offers = [await asyncio.to_thread(self._offer, instance) for instance in batch]
        replies = dict(zip(batch, await self._archive.store(offers), strict=True))
        stored = [instance for instance, reply in replies.items() if reply.outcome == "stored"]
        await self._ledger.instances.settle(stored, "stored")
        await self._tell_progress(pack)
        doubtful = [(instance, reply.reason) for instance, reply in replies.items() if reply.outcome == "failed"]
        for instance, reply in replies.items():
            if reply.outcome == "unsaid":
                doubtful += await self._request(pack, [instance])
        return doubtful

    def _offer(self, instance: Instance) -> Offer:
        """The instance as it lies in the outbox, once its dataset was compared with what edge asked for. Raises Missing, Trespass."""
        name = f"{instance.pack}/{instance.number:06d}"
        try:
            with os.fdopen(self._outbox.open(name, instance.size), "rb") as file:
                if os.fstat(file.fileno()).st_size != instance.size or dataset_digest(file) != instance.digest:
                    raise Missing(f"outbox/{name}: it is not what was asked to be shipped")
        except (FileNotFoundError, NoFile) as fault:
            raise Missing(f"outbox/{name}: {fault}") from fault
        return Offer(proof.name_of(instance), instance.size, lambda offset, length: self._read(name, instance.size, offset, length))

    def _read(self, name: str, size: int, offset: int, length: int) -> bytes:
        descriptor = self._outbox.open(name, size)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def _too_large(self, instance: Instance, goodput: float) -> ObjectRefused:
        return ObjectRefused(
            f"the instance {instance.sop_instance} has {instance.size} bytes, which takes {instance.size / goodput / 60:.0f} minutes on"
            f" this link; the archive ends a request after {self._law.most_seconds / 60:.0f} (archive.request_max_seconds)"
        )

    async def _prove(self, pack: InstancePack) -> None:
        instances = await self._ledger.instances.of(pack.pack)
        for attempt in range(_LISTINGS):
            there = await self._there(instances)
            unlisted = [instance for instance in instances if instance.sop_instance not in there]
            if not unlisted:
                break
            await asyncio.sleep(self._listing_seconds * 2**attempt)  # some archives index behind what they store
        else:
            await self._ledger.instances.settle(unlisted, "asked")
            raise ObjectRefused(f"the archive said that it stored {len(unlisted)} instances, and does not list them")
        for instance in instances:
            if sampled(instance.digest, self._law.read_percent):
                await self._settle_by_reading(pack, instance)
        if await self._ledger.instances.held(pack, sum(instance.size for instance in instances), self._clock.now()):
            self._teller.say(Progress(pack=pack.pack, confirmed=len(instances), total=len(instances)))
            self._teller.wake()

    async def _tell_progress(self, pack: InstancePack) -> None:
        now = self._clock.monotonic()
        if now - self._progress.get(pack.pack, -_PROGRESS_SECONDS) >= _PROGRESS_SECONDS:
            self._progress[pack.pack] = now
            stored = sum(instance.state == "stored" for instance in await self._ledger.instances.of(pack.pack))
            self._teller.say(Progress(pack=pack.pack, confirmed=stored, total=pack.instances))
