"""A comparison of the archive under way: how far it is, what it found, and how it reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused
from cloudsync.catalog import BadSignature, NewerFormat
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Verification
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.teller import Teller
from cloudsync.verify.sample import Sample
from edge import journal
from edge.clock import Clock

log = logging.getLogger(__name__)

NOT_AS_IT_WAS = (NotThere, Damaged, ObjectRefused, NotOurs, WrongKey, BadSignature, NewerFormat)
"""What shows that the archive has not got an object as it was written; every other fault is waited for."""
_FAULTS_MOST = 50
"""Sentences that are kept; all of them stand in the log."""
_ASKED_SECONDS, _IDLE_SECONDS = 1.0, 60.0
"""How often it is said how far one is that somebody asked for, and one that began by itself."""
_YIELD_SECONDS = 1.0


class Superseded(Exception):
    """Another comparison was asked for: this one ends here."""


class Course:
    """How far a comparison is, from what the ledger says of it, and what it found."""

    def __init__(
        self,
        found: Verification,
        ledger: Ledger,
        teller: Teller,
        clock: Clock,
        bytes_per_second: float,
        busy: Callable[[], bool],
        asked: asyncio.Event,
    ) -> None:
        """One that nobody asked for reads no faster than `bytes_per_second`, and waits while `busy`; `asked` is set when another one may
        have been asked for.
        """
        self.found = found
        self._ledger = ledger
        self._teller = teller
        self._clock = clock
        self._bytes_per_second = bytes_per_second
        self._busy = busy
        self._asked = asked
        self._said_at = float("-inf")

    @property
    def wanted(self) -> bool:
        """Whether somebody asked for it."""
        return bool(self.found.asked)

    @property
    def sample(self) -> Sample:
        """What of the archive is read."""
        return Sample(self.found.start, self.found.percent)

    async def was_read(self, size: int) -> None:
        """One more object was read, of so many bytes: the next one waits, where nobody asked for it. Raises Superseded."""
        self.found = replace(self.found, read_objects=self.found.read_objects + 1, read_bytes=self.found.read_bytes + size)
        if not self.wanted:
            await self._pause(size / self._bytes_per_second)

    async def give_way(self) -> None:
        """Wait while somebody else needs the link. Raises Superseded."""
        await self._look()
        while not self.wanted and self._busy():
            await self._pause(_YIELD_SECONDS)

    def looked_for(self, objects: int) -> None:
        """So many more objects were looked for by name and size."""
        self.found = replace(self.found, objects=self.found.objects + objects)

    def damaged(self) -> None:
        """The archive's copy of one more pack is not whole."""
        self.found = replace(self.found, damaged=self.found.damaged + 1)

    def fault(self, sentence: str) -> None:
        """Something is wrong with the catalog or with site state."""
        log.error("verify: %s", sentence)
        if len(self.found.faults) < _FAULTS_MOST:
            self.found = replace(self.found, faults=(*self.found.faults, f"{sentence}."))

    async def begin(self) -> None:
        """Note when it began, if it begins. Raises Superseded."""
        if self.found.began_at is None:
            await self._record(replace(self.found, began_at=self._clock.now()))

    async def did(self, step: str) -> None:
        """After a restart it goes on behind this step. Raises Superseded."""
        await self._record(replace(self.found, upto=step))

    async def end(self) -> None:
        """All of it was compared. Raises Superseded."""
        await self._record(replace(self.found, ended_at=self._clock.now()))
        self.say(1.0)

    def say_now_and_then(self, done: float) -> None:
        """Tell edge, unless it was told a moment ago."""
        if self._clock.monotonic() - self._said_at >= (_ASKED_SECONDS if self.wanted else _IDLE_SECONDS):
            self.say(done)

    def say(self, done: float) -> None:
        """Tell edge how far it is, from 0 to 1."""
        found, self._said_at = self.found, self._clock.monotonic()
        self._teller.say(
            journal.Verification(
                asked=found.asked,
                percent=found.percent,
                began_at=found.began_at or self._clock.now(),
                ended_at=found.ended_at,
                done=done,
                objects=found.objects,
                read_objects=found.read_objects,
                read_bytes=found.read_bytes,
                damaged=found.damaged,
                faults=list(found.faults),
            )
        )

    async def _pause(self, seconds: float) -> None:
        """Raises Superseded."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._asked.wait()
            await self._look()

    async def _look(self) -> None:
        if self._asked.is_set():
            self._asked.clear()
            if (await self._ledger.verifying.last()).number != self.found.number:
                raise Superseded

    async def _record(self, found: Verification) -> None:
        if not await self._ledger.verifying.advanced(found):
            raise Superseded
        self.found = found


class Comparison(Course):
    """A comparison of an archive of sealed objects."""

    def __init__(
        self,
        found: Verification,
        archive: Archive,
        ledger: Ledger,
        teller: Teller,
        clock: Clock,
        bytes_per_second: float,
        busy: Callable[[], bool],
        asked: asyncio.Event,
    ) -> None:
        """As Course."""
        super().__init__(found, ledger, teller, clock, bytes_per_second, busy, asked)
        self.archive = archive

    async def read(self, name: str) -> bytes:
        """An object of the archive. Raises as `get` does, and Superseded."""
        await self.give_way()
        data = await self.archive.get(name)
        await self.was_read(len(data))
        return data
