"""Rebuilds a box from its archive with the recovery kit alone: keys, holdings and site state, all from the verified catalog chain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cloudsync import fresh, merge
from cloudsync.archive import opening
from cloudsync.archive.port import Archive, Damaged, LinkDown, NotThere
from cloudsync.archive.retrying import Retrying, Wake
from cloudsync.catalog import (
    BadSignature,
    BrokenChain,
    CatalogChain,
    ChainState,
    Entry,
    EpochEntry,
    Followed,
    Held,
    ReadBack,
    SharedEntry,
    SiteStateEntry,
    open_site_state,
    restore_keys,
    site_state_name,
)
from cloudsync.fetching import UNFIT, Fetching
from cloudsync.following import Following, epochs, record
from cloudsync.ledger.ledger import Ledger
from cloudsync.link.backoff import Backoff
from cloudsync.listing import names_from, near_end
from cloudsync.seal import keys as seal_keys
from cloudsync.seal.kit import Kit
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.span import Span, cover
from cloudsync.takeover import owe_claim
from cloudsync.teller import Teller
from edge.clock import SystemClock, utc
from edge.config import Config, Layout, parse
from edge.durable import flush_directory, write_whole
from edge.errors import OutpostError, Permanent
from edge.journalfiles import JournalWriter
from edge.model import Digest


class NothingThere(Permanent):
    """The archive has no catalog of this site. Compare the archive's address and the site id with the recovery sheet."""


class RolledBack(Permanent):
    """The archive's catalog ends before the number that was given: something was removed, or an older copy was put in its place."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came back."""

    site_id: str
    holdings: int
    sequence: int
    """Of the last catalog segment."""
    newest_at: float | None
    """Stamp of the newest entry; None when there is none but the keys."""
    site_state: bool
    left: int = 0
    """Segments before those that were read: cloudsync reads them while Outpost runs."""


async def rebuild(
    state: Path,
    config_text: str,
    kit: Kit,
    say: Callable[[str], None],
    *,
    last_sequence: int | None = None,
    archive: Archive | None = None,
    source: str = "outpost.toml",
    patience_seconds: float = math.inf,
    reminder_seconds: float = 30.0,
    whole: bool = True,
) -> Rebuilt:
    """Make a state directory from the archive that the settings name. `say` gets a sentence for each step.

    `last_sequence` is the number that the lost box showed last; without it a rollback of the archive cannot be excluded. `source` names
    the text of the settings in errors. Waits for a link that is down, and says so again after each `reminder_seconds`; raises LinkDown
    when it was down for `patience_seconds`. Raises NotEmpty, NothingThere, RolledBack, CredentialRefused, and NotOurs naming the object
    that does not verify. Broken off in the middle, it can be run again.

    Where the catalog is not to be read `whole`, it is read from its end back to the newest site state, and cloudsync reads on. Where
    somebody put other names among its segments, it is read whole nevertheless: only who knows where it ends can judge them.
    """
    config, layout = parse(config_text, source), Layout(state)
    waiting = _Waiting(opening.address(config.archive), say, reminder_seconds, patience_seconds)
    backoff = Backoff(max_seconds=reminder_seconds)
    patient = Retrying(archive or opening.open_archive(config.archive), waiting, Wake(), backoff=backoff)
    try:
        fresh.claim(layout)
        ledger = await Ledger.open(layout.ledger)
        try:
            async with waiting.limiting():
                rebuilt = await _Rebuild(config, layout, kit, patient, ledger, say).run(last_sequence, whole)
        finally:
            await ledger.close()
    finally:
        await patient.close()
    fresh.finish(layout, config_text, config.wall)
    return rebuilt


class _Rebuild:
    def __init__(self, config: Config, layout: Layout, kit: Kit, archive: Archive, ledger: Ledger, say: Callable[[str], None]) -> None:
        self._config = config
        self._layout = layout
        self._kit = kit
        self._archive = archive
        self._ledger = ledger
        self._say = say
        self._keys: list[EpochEntry | SharedEntry] = []
        self._site_state: SiteStateEntry | None = None
        self._newest: float | None = None

    async def run(self, last_sequence: int | None, whole: bool) -> Rebuilt:
        kit = self._kit
        chain = CatalogChain(kit.site_id, kit.trust_root, kit.recovery.open)
        last, strays = await self._end(chain)
        self._say(f"The archive has {last} catalog segments of site {kit.site_id}.")
        if last_sequence is not None and last < last_sequence:
            raise RolledBack(f"the archive's catalog ends at {last}, the lost box had written {last_sequence}")
        if whole or strays or last == 1:
            chain = await self._whole(chain, last)
        else:
            await self._back(chain, last)
        keys = restore_keys(kit.site_id, kit.recovery, self._keys)
        for stray in strays:
            await self._judge(stray, replace(chain, opener=keys.open))
        await asyncio.to_thread(seal_keys.save, self._layout.keys, keys)
        left, holdings = await self._ledger.chain.left(), await self._ledger.verifying.holdings()
        self._say(f"{last - left} of {last} segments are read: the keys of {len(keys.keks)} epochs, and {holdings} holdings.")
        if self._site_state is not None:
            await self._bring(self._site_state)
        await self._tell()
        if last_sequence is None and self._newest is not None:
            self._say(f"The newest entry is of {utc(self._newest)}; a rollback of the archive cannot be excluded.")
        return Rebuilt(kit.site_id, holdings, last, self._newest, self._site_state is not None, left)

    async def _end(self, chain: CatalogChain) -> tuple[int, tuple[str, ...]]:
        """The number of the last segment, and what else lies among them. Of a long catalog only the end is listed."""
        near = await near_end(self._archive, chain.site)
        if near > 1:
            listing = chain.at(ChainState(near - 1)).listing(await names_from(self._archive, chain.site, near))
            last = near - 1 + len(listing.names)
            if await self._is_ours(chain, last):
                return last, listing.stray
        listing = chain.listing(await names_from(self._archive, chain.site, 1))
        if not listing.names and listing.stray:
            raise BrokenChain(f"the archive has {listing.stray[0]}, but {chain.next_name} is missing")
        if not listing.names:
            raise NothingThere
        return len(listing.names), listing.stray

    async def _is_ours(self, chain: CatalogChain, last: int) -> bool:
        """Whether a segment of the site has this number, and nobody planted what was taken for the end."""
        try:
            first = await asyncio.to_thread(chain.follow, await self._archive.get(chain.next_name))
            await asyncio.to_thread(chain.at(first.state).last, last, await self._archive.get(Span(0, last).name(chain.site)))
        except UNFIT:
            return False
        return True

    async def _judge(self, name: str, chain: CatalogChain) -> None:
        """What lies beyond the end of the chain is looked at before it counts: a segment of this site means that one before it is missing,
        which raises BrokenChain; anything else was put there by somebody, is said, and changes nothing.
        """
        sequence = name.removeprefix(f"{chain.site}/c/0/")
        if len(sequence) == 12 and sequence.isdigit():
            try:
                sealed = await self._archive.get(name)
                await asyncio.to_thread(chain.at(replace(chain.state, sequence=int(sequence) - 1)).follow, sealed)
            except BrokenChain:
                raise BrokenChain(f"the archive has {name}, but {chain.next_name} is missing") from None
            except (NotOurs, WrongKey, BadSignature, Damaged, NotThere) as fault:
                self._say(f"{name} is no segment of this site ({fault}). It was not used: find out who writes to the archive.")
                return
            raise BrokenChain(f"the archive has {name}, but {chain.next_name} is missing")
        self._say(f"{name} is no name of a segment. It was not used: find out who writes to the archive.")

    async def _back(self, chain: CatalogChain, last: int) -> None:
        """Read from segment `last`, the end, back to the newest site state."""
        first = await asyncio.to_thread(chain.follow, await self._archive.get(chain.next_name))
        chain = chain.at(first.state)
        self._keys += await epochs(self._archive, chain, first, last)
        keys = restore_keys(self._kit.site_id, self._kit.recovery, self._keys)
        following = Following(self._ledger, self._archive, replace(chain, opener=keys.open), self._reads_too, self._refused)
        if not self._look(await following.begin(last)):
            await following.run(self._look)

    def _reads_too(self, entry: SharedEntry) -> None:
        """Named before those that are known."""
        self._keys.insert(0, entry)

    def _look(self, found: ReadBack) -> bool:
        """Whether a segment names the newest site state; those behind it did not."""
        states = [entry for entry in found.entries if isinstance(entry, SiteStateEntry)]
        self._newest = self._newest or _newest(found.entries)
        self._site_state = states[-1] if states else None
        return bool(states)

    def _refused(self, fault: OutpostError) -> None:
        self._say(f"A merge of segments is not used, and they are read in its place: {fault}")

    async def _whole(self, chain: CatalogChain, last: int) -> CatalogChain:
        """Read from the first segment to the last; the chain behind that."""
        first = await asyncio.to_thread(chain.follow, await self._archive.get(chain.next_name))
        chain = chain.at(ChainState(signer=first.state.signer))
        coming = Fetching(self._archive, chain.site, [*reversed(cover(last - 1)), Span(0, last)], self._refused)
        try:
            while (found := await coming.next()) is not None:
                span, sealed = found
                try:
                    followed = await asyncio.to_thread(merge.follow, chain, span, sealed)
                    if span.level:
                        await self._ends_there(chain, span, followed.state)
                except UNFIT as fault:
                    coming.refuse(span, fault)
                    continue
                await self._keep(span, sealed, followed)
                chain = chain.at(followed.state)
        finally:
            await coming.close()
        return chain

    async def _ends_there(self, chain: CatalogChain, span: Span, after: ChainState) -> None:
        """Raises BrokenChain where a merge does not end with the segment that is there: a copy of the box may have gone on by itself."""
        last = Span(0, span.last)
        sealed = await self._archive.get(last.name(chain.site))
        if (await asyncio.to_thread(merge.read, chain, last, sealed)).tip != after.tip:
            raise BrokenChain(f"{span.name(chain.site)} does not end with {last.name(chain.site)}: another box wrote one of them")

    async def _keep(self, span: Span, sealed: bytes, followed: Followed) -> None:
        self._keys += [entry for entry in followed.entries if isinstance(entry, EpochEntry | SharedEntry)]
        for entry in followed.entries:
            if isinstance(entry, SiteStateEntry):
                self._site_state = entry
        self._newest = _newest(followed.entries) or self._newest
        await record(self._ledger, self._kit.site_id, span, sealed, followed, told=True)

    async def _bring(self, entry: SiteStateEntry) -> None:
        """The newest site state, verified against the catalog, into the inbox."""
        kit = self._kit
        sealed = await self._archive.get(site_state_name(kit.site_id, entry.number))
        plain = await asyncio.to_thread(open_site_state, entry, sealed, kit.site_id, kit.recovery.open)
        directory = self._layout.inbox / "site"
        directory.mkdir(mode=0o750, exist_ok=True)
        flush_directory(self._layout.inbox)
        await asyncio.to_thread(write_whole, directory / entry.digest, plain)
        await self._ledger.holdings.site_state_here(entry.number, entry.bytes, Digest(entry.digest))
        await owe_claim(self._ledger, entry, SystemClock().now())
        self._say(f"Site state of {utc(entry.at)} is here.")

    async def _tell(self) -> None:
        facts = JournalWriter(self._layout.facts)
        try:
            await Teller(self._ledger, facts, lambda: None).flush()
        finally:
            facts.close()


def _newest(entries: Sequence[Entry]) -> float | None:
    """Stamp of the newest entry but those of epochs; None where there is none."""
    stamps = [entry.held_at if isinstance(entry, Held) else entry.at for entry in entries if not isinstance(entry, EpochEntry)]
    return max(stamps, default=None)


class _Waiting:
    """Says what is waited for while the archive does not answer, reminds of it, and ends the wait when patience ends."""

    def __init__(self, place: str, say: Callable[[str], None], reminder_seconds: float, patience_seconds: float) -> None:
        self._place = place
        self._say = say
        self._reminder_seconds = reminder_seconds
        self._patience_seconds = patience_seconds
        self._since = 0.0
        self._fault = ""
        self._reminder: asyncio.TimerHandle | None = None
        self._limit = asyncio.timeout(None)

    @asynccontextmanager
    async def limiting(self) -> AsyncGenerator[None, None]:
        """Raises LinkDown out of the block when patience ends."""
        try:
            async with self._limit:
                yield
        except TimeoutError as fault:
            raise LinkDown(f"the archive {self._place} did not answer for {self._patience_seconds:.0f} s: {self._fault}") from fault
        finally:
            self._be_calm()

    def answered(self) -> None:
        if self._reminder is not None:
            self._be_calm()
            self._say("The archive answers again.")

    def failed(self, fault: OutpostError) -> None:
        self._fault = str(fault).rstrip(".")
        if self._reminder is None:
            self._since = asyncio.get_running_loop().time()
            self._say(f"Waiting until the archive {self._place} answers: {self._fault}. Is that the right place?")
            self._later(0.0)

    def _remind(self) -> None:
        seconds = asyncio.get_running_loop().time() - self._since
        if seconds >= self._patience_seconds:
            self._limit.reschedule(0.0)
            return
        self._say(f"Waiting for {seconds:.0f} s: {self._fault}. Is that the right place? Ctrl-C ends the waiting; nothing is lost.")
        self._later(seconds)

    def _later(self, seconds: float) -> None:
        pause = min(self._reminder_seconds, self._patience_seconds - seconds)
        self._reminder = asyncio.get_running_loop().call_later(pause, self._remind)

    def _be_calm(self) -> None:
        if self._reminder is not None:
            self._reminder.cancel()
        self._reminder = None
