"""Compares an archive that reads DICOM with the ledger: whether it lists each instance, and a sample of them by reading it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from cloudsync.archive.instances import InstanceArchive
from cloudsync.archive.port import ObjectRefused, Occupied
from cloudsync.instances import proof
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Instance, Verification
from cloudsync.teller import Teller
from cloudsync.verify.comparison import Course
from cloudsync.verify.verifier import Rounds
from edge.clock import Clock
from edge.config import Archive as Settings

log = logging.getLogger(__name__)


class InstanceVerifier:
    """There is no catalog and no site state: packs are all there is."""

    def __init__(
        self,
        ledger: Ledger,
        archive: InstanceArchive,
        scratch: Path,
        teller: Teller,
        clock: Clock,
        settings: Settings,
        busy: Callable[[], bool],
    ) -> None:
        """`scratch` is a directory for what is read; `busy` says whether somebody waits for the link: a comparison that nobody asked for
        waits then.
        """
        self._ledger = ledger
        self._archive = archive
        self._scratch = scratch
        self._teller = teller
        self._clock = clock
        self._settings = settings
        self._busy = busy
        self._rounds = Rounds(ledger, clock, settings)

    def wake(self) -> None:
        """One may have been asked for."""
        self._rounds.changed.set()

    async def run(self) -> None:
        """Compare, for ever."""
        await self._rounds.run(self._course, [], self._compare)

    def _course(self, last: Verification) -> Course:
        pace = self._settings.verify_bytes_per_second
        return Course(last, self._ledger, self._teller, self._clock, pace, self._busy, self._rounds.changed)

    async def _compare(self, course: Course, step: str, so_far: float) -> None:
        verifying = self._ledger.verifying
        for holding in await verifying.stored(step[1:]):
            await course.give_way()
            instances = await self._ledger.instances.of(holding.pack)
            fault, read = await self._look(course, instances)
            course.looked_for(len(instances))
            if fault:
                log.error("verify: pack %s: %s", holding.pack, fault)
                course.damaged()
                await verifying.damaged(holding, fault)
            elif instances and read == len(instances):
                await verifying.sound(holding)
            elif holding.damage:  # which was found before, and is not disproved
                course.damaged()
            self._teller.wake()
            course.say_now_and_then(so_far)

    async def _look(self, course: Course, instances: tuple[Instance, ...]) -> tuple[str, int]:
        """What is wrong with the instances of a pack, if anything, and how many of them were read."""
        if not instances:
            return "it went to an archive of another kind", 0
        faults, read, there = [], 0, set[str]()
        for study, series in dict.fromkeys((one.study, one.series) for one in instances):
            there |= await self._archive.exists(study, series)
        for instance in instances:
            if instance.sop_instance not in there:
                faults.append(f"the archive does not list the instance {instance.sop_instance}")
            elif course.sample.has(instance.sop_instance):
                await course.give_way()
                read += 1
                faults += await self._read(course, instance)
        more = len(faults) - 1
        return (faults[0] + f", and {more} more of its instances are not right" * (more > 0) if faults else ""), read

    async def _read(self, course: Course, instance: Instance) -> list[str]:
        try:
            has = await proof.has(self._archive, instance, self._scratch)
        except (Occupied, ObjectRefused) as fault:
            return [str(fault)]
        await course.was_read(instance.size)
        return [] if has else [f"the archive lists the instance {instance.sop_instance}, and has it not"]
