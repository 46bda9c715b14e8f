"""Merges of the catalog in the archive, compared with the ledger, and with the parts for which they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloudsync import merge
from cloudsync.archive.port import ObjectRefused, Occupied, md5_of
from cloudsync.catalog import BrokenChain, CatalogChain, ChainState
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Recorded
from cloudsync.seal.keys import Keys
from cloudsync.span import LEVELS_MOST, Span
from cloudsync.verify.comparison import NOT_AS_IT_WAS, Comparison
from edge.model import Digest

_CURE = "A rebuild reads the segments in its place: find out who writes to the archive"


class Merges:
    def __init__(self, ledger: Ledger, keys: Keys) -> None:
        self._ledger = ledger
        self._keys = keys

    async def compare(self, comparison: Comparison) -> None:
        """Each merge by name and size; where a person asked each, else a sample, also with what its parts say. One that is missing is put
        back.
        """
        tip = await self._ledger.chain.tip()
        if tip is None:
            return
        state = ChainState(tip.sequence, tip.digest, tip.signer)
        chain = CatalogChain(self._keys.site_id, self._keys.trust_root, self._keys.open, state)
        known = await self._ledger.merges.there()
        listed: dict[str, int] = {}
        for level in range(1, LEVELS_MOST + 1):
            prefix = f"{chain.site}/c/{level}/"
            listed |= {found.name: found.size async for found in comparison.archive.list(prefix)}
        for span, size in known.items():
            name = span.name(chain.site)
            comparison.looked_for(1)
            if name not in listed:
                await self._put_back(comparison, span, name)
            elif listed[name] != size:
                comparison.fault(f"{name} has {listed[name]} bytes in place of {size}. {_CURE}")
            elif comparison.wanted or comparison.sample.has(name):
                await self._read(comparison, chain, span, name)
        # Asked last: whatever is listed is on its way now, or was confirmed by now.
        sending = await self._ledger.merges.sending()
        ours = {span.name(chain.site) for span in (*await self._ledger.merges.there(), *((sending.span,) if sending else ()))}
        for stray in sorted(listed.keys() - ours):
            comparison.fault(f"{stray} was not written by this box. It is not used: find out who writes to the archive")

    async def _read(self, comparison: Comparison, chain: CatalogChain, span: Span, name: str) -> None:
        try:
            found = await asyncio.to_thread(merge.read, chain, span, await comparison.read(name))
            if found != await asyncio.to_thread(_merged, span, await self._parts(comparison, span), chain):
                raise BrokenChain(f"{name} says something else than its parts")
        except NOT_AS_IT_WAS as fault:
            comparison.fault(f"{name} is not what it should be ({str(fault).rstrip('.')}). {_CURE}")

    async def _parts(self, comparison: Comparison, span: Span) -> list[tuple[Span, bytes, Digest | None]]:
        """The parts of a merge, and their tips where they are known; what is not kept of them is read. Raises as `Comparison.read`."""
        kept = {part.span: part for part in await self._ledger.merges.parts(span)}
        parts = []
        for each in span.parts:
            part = kept.get(each, Recorded(each, None, None))
            parts.append((each, part.sealed or await comparison.read(each.name(self._keys.site_id)), part.tip))
        return parts

    async def _put_back(self, comparison: Comparison, span: Span, name: str) -> None:
        sealed = await self._ledger.merges.sealed(span)
        assert sealed is not None
        try:
            await comparison.archive.put(name, sealed, md5_of(sealed))
        except (Occupied, ObjectRefused) as fault:
            comparison.fault(f"{name} is missing, and cannot be put back: {str(fault).rstrip('.')}")
            return
        comparison.fault(f"{name} was missing. It was put back: find out who removes what lies in the archive")


def _merged(span: Span, parts: Sequence[tuple[Span, bytes, Digest | None]], chain: CatalogChain) -> merge.Piece:
    return merge.merged(span, [merge.read(chain, *part) for part in parts], chain.site)
