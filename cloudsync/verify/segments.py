"""The catalog chain and site state in the archive, compared with the ledger. Segments that went missing are put back as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cloudsync import merge
from cloudsync.archive.port import ObjectRefused, Occupied, md5_of
from cloudsync.catalog import CatalogChain, ChainState, SiteStateEntry, open_site_state, sequence_of, site_state_name
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Segment
from cloudsync.seal.keys import Keys
from cloudsync.sealed import SITE
from cloudsync.span import Span
from cloudsync.teller import Teller
from cloudsync.verify.comparison import NOT_AS_IT_WAS, Comparison
from edge.journal import Damaged

_ROWS = 500
"""Of the ledger at a time."""
_CURE = "A rebuild would end there: bring it back from a copy of the archive (docs/operations-archive.md, `outpost verify`)"


class Segments:
    def __init__(self, ledger: Ledger, keys: Keys, teller: Teller) -> None:
        self._ledger = ledger
        self._keys = keys
        self._teller = teller

    async def compare(self, comparison: Comparison) -> None:
        """Each segment by name and size; where a person asked each, else a sample and the last, also by its signature and its place."""
        known = await self._ledger.chain.last_confirmed()
        prefix = f"{self._keys.site_id}/c/0/"
        listed = {found.name: found.size async for found in comparison.archive.list(prefix)}
        # Asked in this order: whatever is listed is in flight now, or among the confirmed ones that are read next.
        in_flight = await self._ledger.chain.in_flight()
        end = max(map(sequence_of, listed), default=0)
        if end < known:
            comparison.fault(f"The archive's catalog ends at {end}, and this box has written {known}: it was rolled back, or cut off")
        chain, after = CatalogChain(self._keys.site_id, self._keys.trust_root, self._keys.open), 0
        while segments := await self._ledger.chain.confirmed_after(after, _ROWS):
            for segment in segments:
                for number in range(chain.state.sequence + 1, segment.sequence):
                    await self._compare_merged(comparison, chain.at(ChainState(signer=segment.signer)), Span(0, number), listed)
                if segment.sequence <= known:  # what was confirmed since may be missing in the listing
                    await self._compare(comparison, chain, segment, listed, last=segment.sequence == known)
                chain = chain.at(ChainState(segment.sequence, segment.digest, segment.signer))
                listed.pop(segment.name, None)
            after = segments[-1].sequence
        for stray in sorted(listed.keys() - {in_flight.name if in_flight else ""}):
            comparison.fault(f"{stray} was not written by this box. It is not used: find out who writes to the archive")

    async def compare_site_state(self, comparison: Comparison) -> None:
        """The newest copy, by opening it; edge is told to make another where that fails."""
        state = await self._ledger.verifying.site_state()
        if state is None or state.sealed is None:
            return
        place = site_state_name(self._keys.site_id, state.number)
        entry = SiteStateEntry(
            number=state.number,
            at=0.0,
            bytes=state.size,
            digest=state.digest,
            sealed_bytes=state.sealed.size,
            sealed_digest=state.sealed.digest,
        )
        comparison.looked_for(1)
        try:
            await asyncio.to_thread(open_site_state, entry, await comparison.read(place), self._keys.site_id, self._keys.open)
        except NOT_AS_IT_WAS as fault:
            reason = str(fault).rstrip(".")
            comparison.fault(f"The copy of site state: {reason}. Another one is sent under the next number")
            await self._ledger.verifying.site_state_damaged(state.number)
            self._teller.say(Damaged(pack=SITE, reason=reason))

    async def _compare_merged(self, comparison: Comparison, chain: CatalogChain, span: Span, listed: dict[str, int]) -> None:
        """A segment in whose place a merge was read when this box was rebuilt: a comparison of that merge reads it whole."""
        name = span.name(chain.site)
        comparison.looked_for(1)
        if listed.pop(name, None) is None:
            comparison.fault(f"{name} is missing. A merge says the same; find out who removes what lies in the archive")
        elif comparison.sample.has(name):
            try:
                await asyncio.to_thread(merge.read, chain, span, await comparison.read(name))
            except NOT_AS_IT_WAS as fault:
                comparison.fault(f"{name} is not what was written ({str(fault).rstrip('.')}). A merge says what it said")

    async def _compare(
        self, comparison: Comparison, chain: CatalogChain, segment: Segment, listed: Mapping[str, int], *, last: bool
    ) -> None:
        """`chain` stands before the segment."""
        comparison.looked_for(1)
        name = segment.name
        if name not in listed:
            await self._put_back(comparison, segment)
        elif segment.size is not None and listed[name] != segment.size:
            comparison.fault(f"{name} has {listed[name]} bytes in place of {segment.size}. {_CURE}")
        elif comparison.wanted or last or comparison.sample.has(name):
            try:
                signed_by = chain.at(ChainState(signer=chain.state.signer or segment.signer))
                found = await asyncio.to_thread(merge.read, signed_by, Span(0, segment.sequence), await comparison.read(name))
            except NOT_AS_IT_WAS as fault:
                comparison.fault(f"{name} is not what this box wrote ({str(fault).rstrip('.')}). {_CURE}")
                return
            if found.tip != segment.digest:  # in which all is that stood before it
                comparison.fault(f"{name} was replaced by another segment of this site. {_CURE}")

    async def _put_back(self, comparison: Comparison, segment: Segment) -> None:
        sealed = await self._ledger.chain.sealed(segment.sequence)
        if sealed is None:
            comparison.fault(f"{segment.name} is missing. {_CURE}")
            return
        try:
            await comparison.archive.put(segment.name, sealed, md5_of(sealed))
        except (Occupied, ObjectRefused) as fault:
            comparison.fault(f"{segment.name} is missing, and cannot be put back: {str(fault).rstrip('.')}")
            return
        comparison.fault(f"{segment.name} was missing. It was put back: find out who removes what lies in the archive")
