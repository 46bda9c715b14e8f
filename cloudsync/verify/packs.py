"""The packs in the archive, compared with their sums: every object by name and size, a sample of them by opening it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Stored
from cloudsync.seal import sums
from cloudsync.seal.keys import Keys
from cloudsync.seal.part import NotOurs
from cloudsync.teller import Teller
from cloudsync.verify.comparison import NOT_AS_IT_WAS, Comparison

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Finding:
    """What was found of one holding."""

    reason: str = ""
    more: int = 0
    objects: int = 0
    read: int = 0

    def add(self, reason: str) -> None:
        log.error("verify: %s", reason)
        self.more += bool(self.reason)
        self.reason = self.reason or reason

    @property
    def sentence(self) -> str:
        return self.reason + f", and {self.more} more of its objects are not right" * bool(self.more)


class Packs:
    def __init__(self, ledger: Ledger, keys: Keys, teller: Teller) -> None:
        self._ledger = ledger
        self._keys = keys
        self._teller = teller

    async def compare(self, comparison: Comparison, prefix: str, done: float) -> None:
        """The holdings whose ids in the archive begin so. What is damaged is recorded, and edge is told."""
        verifying = self._ledger.verifying
        holdings = await verifying.stored(prefix)
        if not holdings:
            return
        listed = {found.name: found.size async for found in comparison.archive.list(f"{self._keys.site_id}/p/{prefix}")}
        for holding in holdings:
            await comparison.give_way()
            finding = _Finding()
            await self._compare(comparison, holding, listed, finding)
            comparison.looked_for(finding.objects)
            if finding.reason:
                comparison.damaged()
                await verifying.damaged(holding, finding.sentence)
            elif finding.read == finding.objects:
                await verifying.sound(holding)
            elif holding.damage:  # which was found before, and is not disproved
                comparison.damaged()
            self._teller.wake()
            comparison.say_now_and_then(done)

    async def _compare(self, comparison: Comparison, holding: Stored, listed: Mapping[str, int], finding: _Finding) -> None:
        try:
            whole, text = await self._sums(comparison, holding)
        except NOT_AS_IT_WAS as fault:
            finding.objects += 1
            finding.add(str(fault).rstrip("."))
            return
        for place, size, number in _objects(whole, text):
            finding.objects += 1
            if place not in listed:
                finding.add(f"{place} is missing")
            elif listed[place] != size:
                finding.add(f"{place} has {listed[place]} bytes in place of {size}")
            elif comparison.sample.has(place):
                finding.read += 1
                try:
                    await self._open(comparison, whole, text, place, number)
                except NOT_AS_IT_WAS as fault:
                    finding.add(str(fault).rstrip("."))

    async def _sums(self, comparison: Comparison, holding: Stored) -> tuple[sums.Sums, bytes]:
        """Those of a rebuilt holding come from the archive, and are compared with the digest that the catalog names."""
        text = holding.sums
        if text is None:
            place = sums.Sums(self._keys.site_id, holding.stored_as, ()).place
            text = await comparison.read(place)
        whole = sums.proven(text, holding.sums_digest, self._keys.site_id, holding.stored_as)
        if holding.sums is None:
            await self._ledger.holdings.keep_sums(holding.pack, text, holding.sums_digest)
        return whole, text

    async def _open(self, comparison: Comparison, whole: sums.Sums, text: bytes, place: str, number: int | None) -> None:
        """The sums by their bytes; another object by its digest in the sums, and then by opening it. Raises one of NOT_AS_IT_WAS."""
        data = await comparison.read(place)
        if number is None:
            if data != text:
                raise NotOurs(f"{place} is not what the catalog says")
            return
        await asyncio.to_thread(whole.open, number, data, self._keys.open)


def _objects(whole: sums.Sums, text: bytes) -> Iterator[tuple[str, int, int | None]]:
    """Name, size and number of all that the archive has of a pack; the sums, which have no number, come last."""
    for each in whole.objects:
        yield whole.place_of(each.number), each.bytes, each.number
    yield whole.place, len(text), None
