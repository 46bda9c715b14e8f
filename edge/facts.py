"""What cloudsync says happened, applied to the catalogue: effects and position in one commit, then acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from edge.errors import Corrupt, OutpostError, StoreFull
from edge.journal import (
    Ack,
    Allowance,
    AsksUnread,
    CatalogRead,
    Damaged,
    Entry,
    Follows,
    Held,
    Here,
    Link,
    Progress,
    RecallFailed,
    Restate,
    Retired,
    Stopped,
    Unread,
    Verification,
    encode,
)
from edge.journalfiles import JournalReader, JournalWriter
from edge.link import LinkState
from edge.model import PackId
from edge.refusals import Refusals
from edge.store.catalogue import Catalogue
from edge.unread import UnreadFacts, fault_of
from edge.wall import Gate, Trespass

log = logging.getLogger(__name__)

SITE = "site"
"""Stands in for the pack of a site state."""
_ONLY_NOW = (Ack, Allowance, AsksUnread, CatalogRead, Follows, Link, Progress, Verification)
"""Facts that are said again, or never mind."""


class Desk(Protocol):
    """Who waits for recalled parts."""

    def arrived(self, pack: str, number: int, digest: str, size: int) -> None:
        """A part lies in the inbox. Idempotent."""
        ...

    def failed(self, pack: str, reason: str, final: bool) -> None:
        """Parts of a pack did not come: for good when `final`, else it is tried again."""
        ...

    def heard_news(self, pack: str) -> None:
        """The same of what another site has shipped and routes may send on: its head is wanted before others."""
        ...

    def heard(self, pack: str) -> None:
        """A pack is held; where only the archive has it, its head is wanted. Idempotent."""
        ...


class Facts:
    """The reader of the facts journal."""

    def __init__(
        self,
        gate: Gate,
        catalogue: Catalogue,
        asks: JournalWriter,
        desk: Desk,
        settle: Callable[[str], None],
        unread: UnreadFacts,
        refusals: Refusals,
        told: Callable[[], None] = lambda: None,
        damaged: Callable[[str], None] = lambda pack: None,
        retired: Callable[[], None] = lambda: None,
        reading: Callable[[int, int], None] = lambda left, total: None,
    ) -> None:
        """`settle` is told of each pack that is held, `damaged` of each whose copy in the archive is not whole (`site`: of site state), and
        `told` when all holdings that were asked for once more are told, `retired` when packs were retired, whose files are to go, and
        `reading` how many segments of the archive's catalog are left to be read, of how many.
        """
        self._reader = JournalReader(gate, int(catalogue.figure("facts_upto")))
        self._catalogue = catalogue
        self._asks = asks
        self._desk = desk
        self._settle = settle
        self._unread = unread
        self._refusals = refusals
        self._hindered = ""
        self._asks_unread = ""
        self._not_followed: dict[str, str] = {}
        self._asked_again = False
        self._told = told
        self._reading = reading
        self._damaged = damaged
        self._retired = retired
        self._restated = False

    def begin(self) -> None:
        """At start: what was set aside, and can be followed by this version."""
        for entry in self._unread.followable():
            if isinstance(entry, _ONLY_NOW):
                continue
            log.info("fact %d, which was set aside, is followed now", entry.seq)
            with self._catalogue.change():
                self._record(entry)
            self._tell(entry)

    async def follow(self, bell: asyncio.Event, poll_seconds: float) -> None:
        """Apply facts as they come, for ever: at each ring of the bell, and at least once a poll interval."""
        while True:
            bell.clear()
            try:
                while await asyncio.to_thread(self.apply):
                    pass
                self._hindered = ""
            except (Trespass, Corrupt, StoreFull) as fault:  # nothing of it is applied: a person must look, or free space
                if str(fault) != self._hindered:
                    self._hindered = str(fault)
                    log.error("facts are not read: %s", fault)
            try:
                async with asyncio.timeout(poll_seconds):
                    await bell.wait()
            except TimeoutError:
                continue

    def alarms(self) -> list[str]:
        """What keeps facts and asks from being read or followed, for people. Safe to use from any thread."""
        hindered = [f"What cloudsync says is not read: {self._hindered}. Nothing becomes safe, and nothing comes back, until it is."]
        followed = list(self._not_followed.values())
        return hindered * bool(self._hindered) + [self._asks_unread] * bool(self._asks_unread) + self._unread.alarms() + followed

    def apply(self) -> bool:
        """Apply the next batch; False when there was none. What cannot be committed is read again by the next call; what cannot be
        followed is set aside.
        """
        lines = self._reader.read_all()
        if not lines:
            return False
        try:
            entries = self._followable(lines)
            with self._catalogue.facts(lines[-1].seq):
                for entry in entries:
                    self._record(entry)
        except OutpostError:
            self._restated = False
            self._reader.rewind(lines[0].seq - 1)
            raise
        for entry in entries:
            self._tell(entry)
        if any(isinstance(entry, Retired) for entry in entries):
            self._retired()
        answers: list[Entry] = []
        if len(entries) < len(lines) and not self._asked_again:
            self._asked_again = True
            answers.append(Restate())  # what it said of holdings, if anything
        if any(not isinstance(line, Ack) for line in lines):  # an acknowledgement alone is not acknowledged
            answers.append(Ack(upto=lines[-1].seq))
        if answers:
            self._asks.append(*answers)
        return True

    def _followable(self, lines: list[Entry | Unread]) -> list[Entry]:
        """The facts among the lines; the rest is kept aside."""
        entries: list[Entry] = []
        for line in lines:
            if isinstance(line, Unread):
                self._unread.keep(line)
            elif reason := fault_of(line):
                self._unread.keep(Unread(line.seq, encode(line), reason))
            else:
                entries.append(line)
        return entries

    def _record(self, entry: Entry) -> None:
        catalogue = self._catalogue
        match entry:
            case Held():
                pack = PackId(entry.pack)
                known = catalogue.pack(pack) is not None
                if not known:
                    catalogue.hear_of(pack, entry.study, entry.series, entry.sha256, entry.instances, entry.held_at)
                catalogue.believe_archive(pack, entry.sha256)
                catalogue.hold(pack, entry.held_at, entry.sealed_bytes, entry.origin, news=entry.news)
                if not known:
                    catalogue.settle_archived(pack)
            case Progress():
                catalogue.mark_progress(entry.pack, entry.confirmed, entry.total)
            case Stopped():
                catalogue.mark_stopped(entry.pack, entry.reason)
            case Damaged() if entry.pack != SITE:
                catalogue.archive_damaged(PackId(entry.pack), entry.reason)
            case Retired():
                catalogue.retire(PackId(entry.pack))
            case Verification():
                catalogue.set_verification(encode(entry).decode())
            case Allowance():
                catalogue.set_allowance(encode(entry).decode())
            case Link():
                catalogue.set_link(_link(entry))
            case Ack():
                self._restated = catalogue.restated(entry.upto) or self._restated
            case _:
                return

    def _tell(self, entry: Entry) -> None:
        match entry:
            case Held():
                self._settle(entry.pack)
                if entry.news:
                    self._desk.heard_news(entry.pack)
                else:
                    self._desk.heard(entry.pack)
            case Here():
                self._desk.arrived(entry.pack, entry.number, entry.digest, entry.bytes)
            case RecallFailed():
                self._desk.failed(entry.pack, entry.reason, entry.final)
            case Retired():
                log.info("pack %s is retired", entry.pack)
                self._desk.failed(entry.pack, "The study was retired: the archive's catalog says so.", True)
            case Damaged():
                log.error("pack %s is damaged in the archive: %s", entry.pack, entry.reason)
                self._damaged(entry.pack)
            case Stopped():
                log.error("pack %s is not shipped: %s", entry.pack, entry.reason)
                self._refusals.report(f"pack {entry.pack}: {entry.reason}")
            case Link():
                self._asks_unread = ""  # said again behind it, if it still is so
            case CatalogRead():
                self._reading(entry.left, entry.total)
            case AsksUnread():
                self._asks_unread = entry.sentence
            case Follows():
                self._not_followed = {site: fault for site, fault in self._not_followed.items() if site != entry.site}
                if entry.fault:
                    self._not_followed |= {entry.site: entry.fault}
            case Ack():
                self._asks.forget(entry.upto)
                if self._restated:
                    self._restated = False
                    self._told()
            case _:
                return


def _link(fact: Link) -> LinkState:
    return LinkState(
        state=fact.state,
        since=fact.since,
        goodput_bytes_per_second=fact.goodput_bytes_per_second,
        sentence=fact.sentence,
        answered_at=fact.answered_at,
        sequence=fact.sequence,
        said_at=fact.said_at,
    )
