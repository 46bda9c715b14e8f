"""cloudsync as a whole for an archive that reads DICOM: its tasks under one root, started and stopped in written order.

Nothing is sealed, so no key is used; there is no catalog, so corrections and site state stay on the box.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from cloudsync.archive.insisted import Insisted
from cloudsync.archive.instances import InstanceArchive
from cloudsync.archive.metered import Meter
from cloudsync.archive.opening import check, open_instances
from cloudsync.archive.retrying import Insisting, Wake, Watcher
from cloudsync.asks import Asks, said_of
from cloudsync.instances.shipper import InstanceShipper, Law
from cloudsync.instances.source import InstanceSource
from cloudsync.instances.verifier import InstanceVerifier
from cloudsync.ledger.ledger import Ledger
from cloudsync.link.backoff import Backoff
from cloudsync.link.budget import Hold
from cloudsync.link.farclock import FarClock
from cloudsync.link.goodput import deadline_seconds
from cloudsync.link.refusal import Refusal
from cloudsync.permit import Permit
from cloudsync.recall import Recaller
from cloudsync.running import PATIENT, farewell, listening, probe, repeat, unless_full, until_room
from cloudsync.teller import Teller
from cloudsync.users import user_id
from cloudsync.watch import Watch
from edge import journal
from edge.clock import Clock, SystemClock
from edge.config import Config, Layout
from edge.doorbell import ring
from edge.journalfiles import JournalWriter
from edge.keptlines import KeptLines
from edge.model import UID, PackId
from edge.wall import Gate

_NOWHERE = UID("2.25.0")
"""No study or series has this UID: what is asked to see whether the archive answers."""


class InstanceService:
    """One cloudsync on one state directory. Whoever makes it holds its lock."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        *,
        archive: InstanceArchive | None = None,
        clock: Clock | None = None,
        listing_seconds: float = 2.0,
    ) -> None:
        """`archive` is the one that the settings name, unless another is given; `listing_seconds` as of InstanceShipper."""
        self._config = config
        self._layout = layout
        self._given = archive
        self._clock = clock or SystemClock()
        self._listing_seconds = listing_seconds
        self._permit = Permit(config.link, self._clock)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Ship and recall until `stop` is set. `ready` is called once everything runs."""
        layout, link, settings = self._layout, self._config.link, self._config.archive
        check(settings)
        layout.inbox.mkdir(mode=0o750, exist_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            permit, far = self._permit, FarClock(self._clock)
            adapter = self._given or open_instances(settings, permit.pacing, far, link.silence_seconds)
            stack.push_async_callback(adapter.close)
            ledger = await Ledger.open(layout.ledger)
            stack.push_async_callback(ledger.close)
            await permit.begin(ledger.allowances)
            stack.push_async_callback(unless_full, partial(permit.record, ledger.allowances))
            facts = JournalWriter(layout.facts)
            stack.callback(facts.close)
            bell = stack.enter_context(listening(layout.cloudsync_bell))
            wake, meter = Wake(), Meter(self._clock)
            teller = Teller(ledger, facts, lambda: ring(layout.edge_bell))
            stack.push_async_callback(farewell, teller)
            unread = KeptLines(layout.unread_asks, "ask")

            def tell_link(said: journal.Link) -> None:
                teller.say(said, *said_of(unread))

            watch = Watch(self._clock, wake, lambda: meter.goodput.bytes_per_second, tell_link, 0, lambda: far.wrong)
            archive = Insisted(adapter, self._insisting(watch, wake, meter), meter)
            to_ship = asyncio.Event()
            recaller = Recaller(ledger, layout.inbox, teller, watch, wake, link.parallel_parts, to_ship.set, lambda: permit.refusal)
            shipper = InstanceShipper(
                ledger,
                archive,
                Gate(layout.outbox, self._edge_user()),
                layout.inbox,
                teller,
                watch,
                wake,
                self._clock,
                Law(
                    link.parallel_parts,
                    settings.request_max_seconds,
                    settings.request_max_bytes,
                    settings.held_read_percent,
                    Refusal(link.refused_tries, link.backoff_max_seconds),
                ),
                goodput=lambda: meter.goodput.bytes_per_second,
                changed=to_ship,
                lanes=lambda: self._lanes(recaller.busy),
                urgent_only=lambda: permit.hold is Hold.RESERVE,
                listing_seconds=self._listing_seconds,
            )
            verifier = InstanceVerifier(
                ledger, archive, layout.inbox, teller, self._clock, settings, lambda: recaller.busy or permit.hold is not Hold.NONE
            )

            def committed(entries: Sequence[journal.Entry]) -> None:
                for entry in entries:
                    match entry:
                        case journal.Ack():
                            teller.forget(entry.upto)
                        case journal.Taken():
                            group.create_task(until_room(partial(recaller.taken, PackId(entry.pack)), watch, wake))
                        case journal.Pause() | journal.Resume():
                            permit.reread()
                if not watch.up and any(isinstance(entry, journal.Recall) for entry in entries):
                    wake.ring()  # somebody is waiting for it
                look_again()
                teller.wake()

            def look_again() -> None:
                to_ship.set()
                recaller.wake()
                verifier.wake()

            position = (await ledger.asked.position()).position
            asks = Asks(Gate(layout.asks, self._edge_user()), ledger, position, committed, unread, teller.say)
            async with asyncio.TaskGroup() as group:
                recalling = Insisted(adapter, self._insisting(recaller, wake, meter), meter)
                work: dict[str, Callable[[], Awaitable[None]]] = {
                    "asks": partial(asks.run, bell, link.poll_seconds),
                    "ship": shipper.run,
                    "recall": partial(recaller.run, InstanceSource(ledger, recalling)),
                    "verify": verifier.run,
                    "tell": teller.run,
                    "what may go": partial(permit.keep, ledger.allowances, lambda: meter.round_trip_seconds, teller.say, look_again),
                }
                tasks = [
                    *(group.create_task(until_room(begin, watch, wake), name=name) for name, begin in work.items()),
                    group.create_task(repeat(watch), name="say again how the link is"),
                    group.create_task(probe(partial(archive.exists, _NOWHERE, _NOWHERE), watch, link.offline_after_seconds), name="probe"),
                ]
                ready()
                await stop.wait()
                for task in tasks:
                    task.cancel()

    def _insisting(self, watcher: Watcher, wake: Wake, meter: Meter) -> Insisting:
        link = self._config.link
        return Insisting(
            watcher,
            wake,
            backoff=Backoff(max_seconds=link.backoff_max_seconds),
            deadline=lambda size: deadline_seconds(size, meter.goodput, link.parallel_parts, self._permit.least_cap),
            patient=PATIENT,
        )

    def _lanes(self, recalling: bool) -> int:
        """How many requests may be under way: recall outranks shipping, which keeps one lane."""
        if self._permit.look() not in {Hold.NONE, Hold.RESERVE}:
            return 0
        return 1 if recalling else self._config.link.parallel_parts

    def _edge_user(self) -> int | None:
        return user_id("wall.edge_user", self._config.wall.edge_user)
