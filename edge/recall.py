"""The recall desk: who wants instances that only the archive has asks here; parts come in, instances go out, one fetch for all who wait.

This is the one place where association threads meet the event loop: they call `want` and wait on `changed`; the rest runs in the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from edge import heads
from edge.asks import Asks
from edge.code.jobs import DecodeJob, FinishJob
from edge.code.manifest import HEAD_MAX_BYTES, Head, coded_bytes, covering, objects
from edge.code.worker import Coder
from edge.config import Layout
from edge.crew import Crew
from edge.durable import disk_errors, flush_directory
from edge.errors import Corrupt, OutpostError, StoreFailed, StoreFull, Transient
from edge.journal import Recall, Taken
from edge.model import PackId
from edge.refusals import Refusals
from edge.store.catalogue import Catalogue
from edge.store.room import Room
from edge.wall import Gate

log = logging.getLogger(__name__)

HEADS_AHEAD = 4
WORKING = 8
"""Packs of which something is restored at the same time; others wait for their turn."""
HINDERED_SECONDS = 30.0
"""How long who waits for a recall is kept waiting while the archive does not answer."""
HEAD = 0
"""The head is part number 0 of a pack."""


@dataclass(slots=True)
class _Wanted:
    """What is wanted of one pack, and what of it has come."""

    offsets: set[int] = field(default_factory=set)
    """Dataset offsets of the instances in the cached pack; all of them when `everything`."""
    everything: bool = False
    asked: set[int] = field(default_factory=set)
    arrived: set[int] = field(default_factory=set)
    hindered_at: float | None = None
    """Monotonic: since when nothing came although it was tried."""
    failure: str | None = None
    working: bool = False


class RecallDesk:
    """Wants by pack. Made in the loop; `want`, `failure` and `changed` are for any thread."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        coder: Coder,
        asks: Asks,
        inbox: Gate,
        room: Room,
        refusals: Refusals,
        fail_stop: Callable[[StoreFailed], None],
    ) -> None:
        """`fail_stop` is called when the disk failed: the process is to end."""
        self._layout = layout
        self._catalogue = catalogue
        self._coder = coder
        self._asks = asks
        self._inbox = inbox
        self._room = room
        self._refusals = refusals
        self._fail_stop = fail_stop
        self._wanted: dict[PackId, _Wanted] = {}
        self._heads: dict[PackId, Head] = {}
        self._loop = asyncio.get_running_loop()
        self._crew = Crew(WORKING, lambda name, fault: log.error("%s failed", name, exc_info=fault))
        self._headless: deque[PackId] = deque()
        self._fetching: set[PackId] = set()
        self._heads_put_off = False
        self._turn = threading.Lock()
        """Held while a recall begins to write to a pack file, and while a pack file is taken away."""
        self.changed = threading.Condition()
        """Notified whenever an instance came, a head came, or a recall failed."""

    def begin(self) -> None:
        """At start nobody waits: what lies in the inbox from before is given back; missing heads are fetched, a few at a time."""
        self._asks.tell(*(Taken(pack=pack) for (pack,) in self._catalogue.rows("packs_here_in_part")))
        self._headless.extend(PackId(pack) for (pack,) in self._catalogue.rows("headless", study=None))
        self._fetch_heads()

    async def work(self) -> None:
        """Bring back what is wanted, for ever; what is being done ends with it."""
        async with self._crew:
            await asyncio.Event().wait()

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None:
        """Have instances of a pack recalled, named by their dataset offsets; None for all. Returns at once."""
        if wanted := self._wanted.get(pack):
            wanted.failure = None  # who asks again is not answered with why it failed before
        self._loop.call_soon_threadsafe(self._want, pack, None if offsets is None else set(offsets))

    def failure(self, pack: PackId) -> str | None:
        """Why what is wanted of a pack cannot be had now; None while it is under way."""
        wanted = self._wanted.get(pack)
        return wanted.failure if wanted else None

    def busy(self, pack: str) -> bool:
        """Whether a pack is being recalled: it is not evicted meanwhile. One that cannot be had now is not."""
        wanted = self._wanted.get(PackId(pack))
        return wanted is not None and (wanted.working or wanted.failure is None)

    @contextmanager
    def undisturbed(self, pack: str) -> Iterator[bool]:
        """Whether nobody recalls a pack. No recall begins to write to its file before the context is left."""
        with self._turn:
            yield not self.busy(pack)

    # What the facts say; called from the thread that reads them.

    def arrived(self, pack: str, number: int, digest: str, size: int) -> None:
        self._loop.call_soon_threadsafe(self._arrived, PackId(pack), number, digest, size)

    def failed(self, pack: str, reason: str, final: bool) -> None:
        self._loop.call_soon_threadsafe(self._failed, PackId(pack), reason, final)

    def heard(self, pack: str) -> None:
        self._loop.call_soon_threadsafe(self._heard, PackId(pack))

    def heard_news(self, pack: str) -> None:
        """Its head comes before those of others: a route may want it."""
        self._loop.call_soon_threadsafe(self._heard_news, PackId(pack))

    def put_off_heads(self, put_off: bool) -> None:
        """Whether heads that nobody asked for wait: the link is needed for what names them. Safe to use from any thread."""
        self._loop.call_soon_threadsafe(self._put_off, put_off)

    # In the loop

    def _want(self, pack: PackId, offsets: set[int] | None) -> None:
        wanted = self._wanted.setdefault(pack, _Wanted())
        wanted.hindered_at = None
        if offsets is None:
            wanted.everything = True
        else:
            wanted.offsets |= offsets
        self._go_on(pack, wanted)

    def _heard(self, pack: PackId) -> None:
        """The head of a pack that was heard of is wanted without being asked for, a few at a time: the link has better to do."""
        self._headless.append(pack)
        self._fetch_heads()

    def _heard_news(self, pack: PackId) -> None:
        self._headless.appendleft(pack)
        self._fetch_heads()

    def _put_off(self, put_off: bool) -> None:
        self._heads_put_off = put_off
        self._fetch_heads()

    def _fetch_heads(self) -> None:
        while self._headless and not self._heads_put_off and len(self._fetching) < HEADS_AHEAD:
            pack = self._headless.popleft()
            state = self._catalogue.pack(pack)
            if state is not None and not state.has_head and pack not in self._wanted:
                self._fetching.add(pack)
                self._want(pack, set())

    def _arrived(self, pack: PackId, number: int, digest: str, size: int) -> None:
        wanted = self._wanted.get(pack)
        if wanted is None:
            self._ask(Taken(pack=pack))
            return
        wanted.arrived.add(number)
        wanted.hindered_at = None
        self._go_on(pack, wanted)

    def _failed(self, pack: PackId, reason: str, final: bool) -> None:
        """What is tried again is waited for, up to a limit: a flapping link does not turn a retrieve into a failed one."""
        wanted = self._wanted.get(pack)
        if wanted is None:
            return
        if wanted.hindered_at is None:
            wanted.hindered_at = self._loop.time()
        if final or self._loop.time() - wanted.hindered_at >= HINDERED_SECONDS:
            self._give_up(pack, wanted, reason)
            self._notify()

    def _give_up(self, pack: PackId, wanted: _Wanted, reason: str) -> None:
        """Tell who waits why it cannot be had now; the next who asks begins anew."""
        wanted.failure = reason
        wanted.asked.clear()
        wanted.arrived.clear()
        self._fetching.discard(pack)
        self._heads.pop(pack, None)

    def _go_on(self, pack: PackId, wanted: _Wanted) -> None:
        """Ask for what is missing, and work on what is here."""
        head = self._head(pack)
        needed = [HEAD] if head is None else covering(head.manifest, self._missing(pack, wanted, head))
        missing = set(needed) - wanted.asked
        if missing:
            wanted.asked |= missing
            if fault := self._ask(Recall(pack=pack, parts=sorted(missing))):
                self._give_up(pack, wanted, str(fault))
                self._notify()
        if not wanted.working:
            wanted.working = True
            self._crew.line_up(partial(self._work, pack, wanted), f"recall {pack}")

    def _ask(self, ask: Recall | Taken) -> StoreFull | StoreFailed | None:
        """Tell cloudsync; why that could not be written, if so. A failed disk stops Outpost."""
        try:
            self._asks.tell(ask)
        except StoreFull as fault:
            log.error("pack %s: what is wanted of it cannot be asked for: %s", ask.pack, fault)
            return fault
        except StoreFailed as fault:
            self._fail_stop(fault)
            return fault
        return None

    async def _work(self, pack: PackId, wanted: _Wanted) -> None:
        """Restore whatever the parts that are here cover, until nothing more can be done or all is here."""
        try:
            while await self._step(pack, wanted):
                pass
        except OutpostError as fault:
            log.error("recall of pack %s failed: %s", pack, fault)
            self._give_up(pack, wanted, str(fault))
            self._refusals.report(f"recall of pack {pack}: {fault}")
            if isinstance(fault, StoreFailed):
                self._fail_stop(fault)
        except Exception:
            self._give_up(pack, wanted, "Outpost has a fault there: its log says more. Please report it.")
            self._notify()
            raise
        finally:
            wanted.working = False
        if self._satisfied(pack, wanted):
            self._wanted.pop(pack, None)
            self._heads.pop(pack, None)
            self._fetching.discard(pack)
            self._ask(Taken(pack=pack))
            self._fetch_heads()
        self._notify()

    async def _step(self, pack: PackId, wanted: _Wanted) -> bool:
        head = self._head(pack)
        if head is None:
            if HEAD not in wanted.arrived:
                return False
            self._heads[pack] = await asyncio.to_thread(self._learn_head, pack)
            self._notify()
            self._go_on(pack, wanted)
            return True
        here = wanted.arrived - {HEAD}
        ready = [index for index in self._missing(pack, wanted, head) if here.issuperset(covering(head.manifest, [index]))]
        if ready:
            await self._restore(pack, head, ready)
        elif not await self._finish(pack, head):
            return False
        self._notify()
        return True

    async def _restore(self, pack: PackId, head: Head, ready: list[int]) -> None:
        self._room.demand(sum(head.manifest.members[index].content_length for index in ready))
        await asyncio.to_thread(self._prepare, pack)
        restored = await self._coder.restore(
            DecodeJob(
                pack=pack,
                head_path=str(self._layout.head(pack)),
                parts={number: f"{pack}/{number:06d}" for number in covering(head.manifest, ready)},
                target_path=str(self._layout.cached(pack)),
                members=ready,
                inbox=str(self._inbox.root),
                inbox_owner=self._inbox.owner,
            )
        )
        good = [head.manifest.members[one.index].dataset_offset for one in restored if one.digest_ok]
        await asyncio.to_thread(self._catalogue.recalled, pack, good)
        if len(good) < len(ready):
            raise Corrupt(f"pack {pack}: {len(ready) - len(good)} of its instances do not come back as they were")

    async def _finish(self, pack: PackId, head: Head) -> bool:
        """When every instance is back, compare the pack with what was closed; False when there is nothing to finish."""
        state = self._catalogue.pack(pack)
        if state is None or state.here != "some" or len(self._here(pack)) < len(head.manifest.members):
            return False
        head_path, target_path = str(self._layout.head(pack)), str(self._layout.cached(pack))
        if not await self._coder.finish(FinishJob(pack=pack, head_path=head_path, target_path=target_path)):
            raise Corrupt(f"pack {pack} did not come back byte for byte")
        if state.closed_at is not None:
            os.utime(target_path, (state.closed_at, state.closed_at))
        await asyncio.to_thread(self._catalogue.set_whole, pack)
        return True

    def _prepare(self, pack: PackId) -> None:
        """A pack of which nothing is here starts from no file: what an eviction left behind is not counted on."""
        target = self._layout.cached(pack)
        with self._turn:
            if self._here(pack):
                return
            with disk_errors():
                target.unlink(missing_ok=True)
                if not target.parent.is_dir():
                    target.parent.mkdir(mode=0o750, exist_ok=True)
                    flush_directory(self._layout.cache)
            self._catalogue.begin_recall(pack)

    def _learn_head(self, pack: PackId) -> Head:
        """Prove a head that came, keep it, and catalogue its instances."""
        try:
            data = self._inbox.read(f"{pack}/{HEAD:06d}", HEAD_MAX_BYTES)
        except FileNotFoundError as fault:
            raise Transient(f"The head of pack {pack} has gone from the inbox. Ask again.") from fault
        state = self._catalogue.pack(pack)
        head = heads.prove(data, pack, state.sha256 if state else None)
        with disk_errors():
            heads.keep(self._layout, pack, data, (state.coded_at if state else None) or 0.0)
        self._catalogue.learn_head(list(heads.admissions(head)), pack, coded_bytes(head.manifest, len(data)), objects(head.manifest))
        return head

    def _head(self, pack: PackId) -> Head | None:
        """The kept head; None when there is none that can be read: it is recalled then, and kept again."""
        if pack not in self._heads:
            state = self._catalogue.pack(pack)
            if state is None or not state.has_head:
                return None
            try:
                self._heads[pack] = heads.load(self._layout, pack)
            except (FileNotFoundError, Corrupt) as fault:
                log.error("the kept head of pack %s is recalled: %s", pack, fault)
                return None
        return self._heads[pack]

    def _here(self, pack: PackId) -> set[int]:
        return {offset for (offset,) in self._catalogue.rows("instances_here", pack)}

    def _missing(self, pack: PackId, wanted: _Wanted, head: Head) -> list[int]:
        # Those that are catalogued in this pack: what another pack has too, is served from there.
        away = {offset for (offset,) in self._catalogue.rows("instances_away", pack)}
        return [
            index
            for index, member in enumerate(head.manifest.members)
            if member.dataset_offset in away and (wanted.everything or member.dataset_offset in wanted.offsets)
        ]

    def _satisfied(self, pack: PackId, wanted: _Wanted) -> bool:
        head = self._head(pack)
        return head is not None and not self._missing(pack, wanted, head)

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()
