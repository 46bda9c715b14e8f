"""cloudsync as a whole: its tasks under one root, started and stopped in written order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from cloudsync import epochs
from cloudsync.archive.metered import Metered
from cloudsync.archive.opening import open_archive
from cloudsync.archive.paced_archive import PacedArchive
from cloudsync.archive.port import Archive, ObjectRefused
from cloudsync.archive.retrying import Retrying, Wake, Watcher
from cloudsync.asks import Asks, said_of
from cloudsync.catalog import CatalogChain, ChainState, Opener, ReadBack, SharedEntry
from cloudsync.follow import Follower
from cloudsync.following import Following, KeysChanged, NotWhole
from cloudsync.lane import AnotherWriter, CatalogLane
from cloudsync.ledger.ledger import Ledger
from cloudsync.link.backoff import Backoff
from cloudsync.link.budget import Hold
from cloudsync.link.farclock import FarClock
from cloudsync.link.goodput import deadline_seconds
from cloudsync.link.refusal import Refusal
from cloudsync.merging import Merger
from cloudsync.permit import Permit
from cloudsync.recall import Recaller, SealedParts
from cloudsync.running import PATIENT, farewell, listening, probe, repeat, unless_full, until_room
from cloudsync.seal import followed
from cloudsync.seal import keys as seal_keys
from cloudsync.sealed import SealedFiles
from cloudsync.ship import Shipper
from cloudsync.span import Span
from cloudsync.teller import Teller
from cloudsync.users import user_id
from cloudsync.verify.comparison import NOT_AS_IT_WAS
from cloudsync.verify.verifier import Verifier
from cloudsync.watch import Watch
from edge import journal
from edge.clock import Clock, SystemClock
from edge.config import Config, Layout
from edge.doorbell import ring
from edge.errors import OutpostError
from edge.journalfiles import JournalWriter
from edge.keptlines import KeptLines
from edge.model import PackId
from edge.wall import Gate

log = logging.getLogger(__name__)


class Service:
    """One cloudsync on one state directory. Whoever makes it holds its lock."""

    def __init__(self, config: Config, layout: Layout, *, archive: Archive | None = None, clock: Clock | None = None) -> None:
        """`archive` is the one that the settings name, unless another is given."""
        self._config = config
        self._layout = layout
        self._given = archive
        self._clock = clock or SystemClock()
        self._halted = False
        self._reading = False
        """Whether segments of the catalog are not read yet: nothing is shipped before they are."""
        self._permit = Permit(config.link, self._clock)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Ship and recall until `stop` is set. `ready` is called once everything runs."""
        layout, config = self._layout, self._config
        for directory in (layout.inbox, layout.sealed):
            directory.mkdir(mode=0o750, exist_ok=True)
        seal_keys.load(layout.keys)  # what is wrong with them is said before anything is opened
        async with contextlib.AsyncExitStack() as stack:
            permit, far = self._permit, FarClock(self._clock)
            opened = (
                PacedArchive(self._given, permit.pacing)
                if self._given
                else open_archive(config.archive, permit.pacing, far, config.link.silence_seconds, layout.archive_mark)
            )
            metered = Metered(opened, self._clock)
            stack.push_async_callback(metered.close)
            ledger = await Ledger.open(layout.ledger)
            stack.push_async_callback(ledger.close)
            keys = await epochs.current(layout.keys, ledger)
            await permit.begin(ledger.allowances)
            stack.push_async_callback(unless_full, partial(permit.record, ledger.allowances))
            facts = JournalWriter(layout.facts)
            stack.callback(facts.close)
            bell = stack.enter_context(listening(layout.cloudsync_bell))
            wake, to_ship = Wake(), asyncio.Event()
            self._reading = await ledger.chain.left() > 0
            teller = Teller(ledger, facts, lambda: ring(layout.edge_bell), lambda: not self._reading)
            stack.push_async_callback(farewell, teller)
            sequence = await ledger.chain.last_confirmed()
            unread = KeptLines(layout.unread_asks, "ask")

            def tell_link(link: journal.Link) -> None:
                teller.say(link, *said_of(unread))

            watch = Watch(self._clock, wake, lambda: metered.goodput.bytes_per_second, tell_link, sequence, lambda: far.wrong)
            archive = self._retrying(metered, watch, wake)
            follower = Follower(ledger, followed.load(layout.followed, layout.keys), teller, self._clock, config.archive.follow_seconds)
            await follower.begin()

            def opener_of(site: str) -> Opener | None:
                return keys.open if site == keys.site_id else follower.opener(site)

            recaller = Recaller(ledger, layout.inbox, teller, watch, wake, config.link.parallel_parts, to_ship.set, lambda: permit.refusal)
            merger = Merger(ledger, keys, archive)

            def written(number: int) -> None:
                watch.written(number)
                merger.wake()

            lane = CatalogLane(ledger, keys, archive, teller, self._clock, config.archive.segment_seconds, written)
            shipper = Shipper(
                ledger,
                keys,
                archive,
                Gate(layout.outbox, self._edge_user()),
                SealedFiles(layout.sealed),
                teller,
                watch,
                wake,
                self._clock,
                changed=to_ship,
                lanes=lambda: self._lanes(recaller.busy),
                urgent_only=lambda: permit.hold is Hold.RESERVE,
                refusal=Refusal(config.link.refused_tries, config.link.backoff_max_seconds),
                settled=lane.wake,
            )
            following = Following(ledger, archive, await _chain(ledger, keys), self._keep_sibling, _say_refused)
            verifier = Verifier(ledger, keys, teller, self._clock, config.archive, lambda: recaller.busy or permit.hold is not Hold.NONE)
            position = (await ledger.asked.position()).position
            read = asyncio.Event()

            def all_is_read() -> None:
                read.set()
                to_ship.set()

            def committed(entries: Sequence[journal.Entry]) -> None:
                self._committed(entries, teller, lambda pack: group.create_task(until_room(partial(recaller.taken, pack), watch, wake)))
                if not watch.up and any(isinstance(entry, journal.Recall) for entry in entries):
                    wake.ring()  # somebody is waiting for it
                look_again()
                teller.wake()

            def look_again() -> None:
                to_ship.set()
                for each in (lane, merger, recaller, verifier):
                    each.wake()

            asks = Asks(Gate(layout.asks, self._edge_user()), ledger, position, committed, unread, teller.say)
            async with asyncio.TaskGroup() as group:
                recalling = self._retrying(metered, recaller, wake)
                work: dict[str, Callable[[], Awaitable[None]]] = {
                    "asks": partial(asks.run, bell, config.link.poll_seconds),
                    "ship": shipper.run,
                    "catalog": partial(self._catalog, partial(self._read, following, ledger, teller, all_is_read), lane, watch),
                    "merge": partial(_once, read, partial(merger.run, lambda: permit.look() is Hold.NONE)),
                    "recall": partial(recaller.run, SealedParts(ledger, keys.site_id, opener_of, recalling)),
                    "verify": partial(_once, read, partial(verifier.run, archive)),
                    "follow": partial(_once, read, partial(follower.run, archive, lambda: permit.hold is not Hold.SPENT)),
                    "tell": teller.run,
                    "what may go": partial(permit.keep, ledger.allowances, lambda: metered.round_trip_seconds, teller.say, look_again),
                }
                tasks = [
                    *(group.create_task(until_room(begin, watch, wake), name=name) for name, begin in work.items()),
                    group.create_task(repeat(watch), name="say again how the link is"),
                    group.create_task(
                        probe(partial(archive.head, Span(0, 1).name(keys.site_id)), watch, config.link.offline_after_seconds), name="probe"
                    ),
                ]
                ready()
                await stop.wait()
                log.info("stopping")
                for task in tasks:
                    task.cancel()

    def _retrying(self, inner: Metered, watcher: Watcher, wake: Wake) -> Retrying:
        link = self._config.link
        return Retrying(
            inner,
            watcher,
            wake,
            backoff=Backoff(max_seconds=link.backoff_max_seconds),
            deadline=lambda size: deadline_seconds(size, inner.goodput, link.parallel_parts, self._permit.least_cap),
            patient=PATIENT,
        )

    def _lanes(self, recalling: bool) -> int:
        """How many objects may be shipped at once: recall outranks shipping, which keeps one lane."""
        if not self._may_ship():
            return 0
        return 1 if recalling else self._config.link.parallel_parts

    def _may_ship(self) -> bool:
        """Whether anything is shipped at all."""
        return not self._halted and not self._reading and self._permit.look() in {Hold.NONE, Hold.RESERVE}

    def _committed(self, entries: Sequence[journal.Entry], teller: Teller, taken: Callable[[PackId], object]) -> None:
        for entry in entries:
            match entry:
                case journal.Ack():
                    teller.forget(entry.upto)
                case journal.Taken():
                    taken(PackId(entry.pack))
                case journal.Pause() | journal.Resume():
                    self._permit.reread()

    async def _catalog(self, read: Callable[[], Awaitable[None]], lane: CatalogLane, watch: Watch) -> None:
        """Read what a rebuilt box has not read of the catalog, then the catalog lane. When a segment can never be read or shipped, nothing
        else is shipped any more, and recalls go on.
        """
        try:
            await read()
            await lane.run(self._may_ship)
        except (AnotherWriter, NotWhole, ObjectRefused) as fault:
            log.critical("%s", fault)
            self._halted = True
            watch.alarm(fault)

    def _keep_sibling(self, entry: SharedEntry) -> None:
        epochs.reads_too(self._layout.keys, seal_keys.load(self._layout.keys), entry)

    async def _read(self, following: Following, ledger: Ledger, teller: Teller, whole: Callable[[], None]) -> None:
        """Raises NotWhole. `whole` is called once all of the catalog is read."""
        total = await ledger.chain.last_confirmed()

        def tell(left: int) -> None:
            teller.say(journal.CatalogRead(left=left, total=total))

        def told(found: ReadBack) -> bool:
            tell(found.first - 1)
            return False

        if self._reading:
            tell(await ledger.chain.left())
            try:
                await following.run(told)
                await following.newer()
            except KeysChanged as fault:
                raise NotWhole(str(fault)) from fault
            except NOT_AS_IT_WAS as fault:
                raise NotWhole(
                    f"the archive's catalog cannot be read further back: {fault}. Bring that object back from a copy of the archive, then"
                    " start Outpost again (docs/operations-archive.md, `conflict`)"
                ) from fault
            tell(0)
            self._reading = False
            log.info("the catalog of the archive is read")
        whole()

    def _edge_user(self) -> int | None:
        return user_id("wall.edge_user", self._config.wall.edge_user)


async def _chain(ledger: Ledger, keys: seal_keys.Keys) -> CatalogChain:
    """The site's catalog, of which the ledger has the end."""
    tip = await ledger.chain.tip()
    chain = CatalogChain(keys.site_id, keys.trust_root, keys.open)
    return chain if tip is None else chain.at(ChainState(tip.sequence, tip.digest, tip.signer))


def _say_refused(fault: OutpostError) -> None:
    log.error("a merge of catalog segments is not used, the segments are read in its place: %s", fault)


async def _once(event: asyncio.Event, begin: Callable[[], Awaitable[None]]) -> None:
    await event.wait()
    await begin()
