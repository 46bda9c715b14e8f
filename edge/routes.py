"""Forwarding: what arrives is sent on to peers and STOW-RS services, by rules.

One thread for each route: a hung destination blocks no other, and never reception. What only the archive has (a site that is followed
shipped it, or it was evicted before it could be sent) is recalled first and sent once it is here: what is here waits for no link.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from edge import audit
from edge.audit import Audit
from edge.backoff import Backoff
from edge.clock import Clock
from edge.destinations import Destination
from edge.dimse.ports import Retrieve
from edge.errors import OutpostError, StoreFailed
from edge.model import UID, Level, Located, PackId, Query
from edge.store.routes import Away, Forwards, Owed, Route, RouteTable, Standing

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""How often a route looks for what arrived."""
BATCH = 200
"""Instances that are taken up at once; those of one study share an association."""
_DESTINATION = Backoff(first_seconds=5.0, max_seconds=600.0)
_INSTANCE = Backoff(first_seconds=60.0, max_seconds=6 * 3600.0)
_TROUBLE_SECONDS = 10.0
_DAY = 86_400.0


class Desk(Protocol):
    """Who recalls: edge.recall.RecallDesk."""

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None: ...

    def failure(self, pack: PackId) -> str | None:
        """Why what is wanted of a pack cannot be had now; None while it is under way."""
        ...

    def busy(self, pack: str) -> bool:
        """Whether a pack is being recalled."""
        ...


class Routes:
    """The routes and their senders, between `start` and `stop`. Safe to use from several threads."""

    def __init__(
        self,
        table: RouteTable,
        forwards: Forwards,
        retrieve: Retrieve,
        desk: Desk,
        destination: Callable[[Route], Destination],
        trail: Audit,
        clock: Clock,
        fail_stop: Callable[[StoreFailed], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._audit = trail
        self._table = table
        self._forwards = forwards
        self._retrieve = retrieve
        self._desk = desk
        self._destination = destination
        self._clock = clock
        self._fail_stop = fail_stop
        self._jitter = jitter
        self._lock = threading.Lock()
        self._senders: dict[str, _Sender] = {}
        self._running = False

    def start(self) -> None:
        with self._lock:
            self._running = True
            for route in self._table.all():
                self._begin(route)

    def stop(self) -> None:
        """What is under way is broken off, and sent again after the next start."""
        with self._lock:
            self._running = False
            senders, self._senders = list(self._senders.values()), {}
        for sender in senders:
            sender.end()
        for sender in senders:
            sender.join()

    def put(self, route: Route) -> None:
        """Add or change a route; in force at once."""
        with self._lock:
            self._table.put(route)
            self._end(route.name)
            if self._running:
                self._begin(next(one for one in self._table.all() if one.name == route.name))

    def remove(self, name: str) -> bool:
        """Also forgets what it owes. False when there is no such route."""
        with self._lock:
            found = self._table.remove(name)
            self._end(name)
            self._forwards.forget(name)
            return found

    def retry(self, name: str) -> bool:
        """Try now what waits. False when there is no such route."""
        with self._lock:
            self._forwards.retry(name)
            sender = self._senders.get(name)
            if sender is not None:
                sender.retry()
            return sender is not None or any(route.name == name for route in self._table.all())

    def standings(self) -> list[tuple[Route, Standing]]:
        """Every route, and how it fares."""
        return [(route, self._forwards.standing(route.name)) for route in self._table.all()]

    def notices(self) -> list[str]:
        """A sentence for each route that has trouble."""
        said = []
        with self._lock:
            faults = {name: sender.fault for name, sender in self._senders.items() if sender.fault}
        for route, standing in self.standings():
            if route.name in faults:
                said.append(f"Route {route.name}: Outpost has a fault there ({faults[route.name]}) and begins anew. Its log says more.")
            if standing.owed and standing.failures:
                said.append(f"Route {route.name}: {standing.owed} instances wait. {standing.fault}")
            elif standing.refused:
                said.append(f"Route {route.name}: {standing.refused} instances are not taken ({standing.refusal}).")
        return said

    def _begin(self, route: Route) -> None:
        destination = self._destination(route)
        sender = _Sender(
            route, self._table, self._forwards, self._retrieve, self._desk, destination, self._audit, self._clock, self._jitter
        )
        self._senders[route.name] = sender
        sender.start(self._fail_stop)

    def _end(self, name: str) -> None:
        sender = self._senders.pop(name, None)
        if sender is not None:
            sender.end()
            sender.join()


class _Sender:
    """The thread of one route."""

    def __init__(
        self,
        route: Route,
        table: RouteTable,
        forwards: Forwards,
        retrieve: Retrieve,
        desk: Desk,
        destination: Destination,
        trail: Audit,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._route = route
        self._table = table
        self._forwards = forwards
        self._retrieve = retrieve
        self._desk = desk
        self._recalling: set[PackId] = set()
        self._destination = destination
        self._audit = trail
        self._clock = clock
        self._jitter = jitter
        self._changed = threading.Condition()
        self._woken = self._ended = self._asked = False
        self._thread: threading.Thread | None = None
        self.fault = ""
        """The class of what ended the last try, where that was neither the destination's nor a fault that is named."""

    def start(self, fail_stop: Callable[[StoreFailed], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(fail_stop,), name=f"route-{self._route.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look now for what arrived."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def retry(self) -> None:
        """Try now what waits, and what is being tried, should that fail."""
        with self._changed:
            self._woken = self._asked = True
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._destination.interrupt()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, fail_stop: Callable[[StoreFailed], None]) -> None:
        try:
            self._go(fail_stop)
        finally:
            self._destination.close()

    def _go(self, fail_stop: Callable[[StoreFailed], None]) -> None:
        while not self._ended:
            try:
                if self._was_asked():
                    self._forwards.retry(self._route.name)
                pause = self.step()
                self.fault = ""
            except StoreFailed as fault:
                fail_stop(fault)
                return
            except OutpostError as fault:  # of our own disk or link
                log.warning("route %s: %s", self._route.name, fault)
                pause = _TROUBLE_SECONDS
            except Exception as fault:  # a route that nobody sees end would owe for ever: it is shown, and begins anew
                log.exception("route %s", self._route.name)
                self.fault = type(fault).__name__
                pause = _TROUBLE_SECONDS
            with self._changed:
                if not self._woken and not self._ended:
                    self._changed.wait(pause)
                self._woken = False

    def _was_asked(self) -> bool:
        """Whether a person asked for a retry since the last step began: what failed in it was begun before, and is not put off."""
        with self._changed:
            asked, self._asked = self._asked, False
            return asked

    def step(self) -> float:
        """Look for what arrived and send what may be sent; how long to wait then, in seconds."""
        name, now = self._route.name, self._clock.now()
        self._forwards.know(name)
        self._forwards.match(self._route)
        failures, next_at = self._forwards.trouble(name)
        if now < next_at <= now + _DESTINATION.max_seconds:
            return min(POLL_SECONDS, next_at - now)
        self._recall(now)
        owed = self._forwards.due(name, now, BATCH, now + _INSTANCE.max_seconds)
        if not owed:
            self._close_books(now)
            return POLL_SECONDS
        try:
            for study in dict.fromkeys(one.study for one in owed):
                if self._ended:
                    return 0.0
                self._send(study, [one for one in owed if one.study == study])
        except StoreFailed:
            raise
        except OutpostError as fault:
            if not self._ended:
                log.warning("route %s: %s", name, fault)
                pause = _DESTINATION.wait_seconds(failures + 1, self._jitter())
                self._forwards.destination_failed(name, str(fault), self._clock.now() + pause)
        return 0.0

    def _recall(self, now: float) -> None:
        """Have what is owed and is not here recalled, some at a time; what cannot be had now is asked for again later."""
        wanted: defaultdict[PackId, list[Away]] = defaultdict(list)
        for one in self._forwards.away(self._route.name, now, BATCH, now + _INSTANCE.max_seconds):
            wanted[one.pack].append(one)
        self._recalling &= wanted.keys()
        for pack, away in wanted.items():
            reason = self._desk.failure(pack) if pack in self._recalling else None
            if reason is None and (pack not in self._recalling or not self._desk.busy(pack)):
                self._recalling.add(pack)
                self._desk.want(pack, [one.dataset_offset for one in away])
            if reason is not None:
                self._recalling.discard(pack)
                for one in away:
                    pause = _DESTINATION.wait_seconds(one.attempts + 1, self._jitter())
                    self._forwards.failed(self._route.name, one.instance, reason, now + pause)

    def _send(self, study: UID, owed: Sequence[Owed]) -> None:
        name = self._route.name
        skipped = self._destination.skipped()
        if unwanted := [one.instance for one in owed if one.sop_class in skipped]:
            self._forwards.forwarded(name, unwanted, self._clock.now())
        wanted = {one.sop_instance: one for one in owed if one.sop_class not in skipped}
        if not wanted:
            return
        there: list[int] = []
        tried = set()

        def outcome(located: Located, fault: str | None) -> None:
            one = wanted[located.sop_instance]
            tried.add(one.instance)
            if fault is None:
                there.append(one.instance)
            else:
                self._not_taken(one, fault)

        query = Query(Level.IMAGE, {"0020000D": study, "00080018": "\\".join(wanted)})
        try:
            with closing(self._retrieve.begin(query)) as retrieval:
                self._destination.send(retrieval, outcome)
        finally:
            if there:
                self._forwards.forwarded(name, there, self._clock.now())
                target = self._route.peer or self._route.url
                failed = len(tried) - len(there)
                self._audit.record(audit.Sent(by=f"route {name}", destination=target, study=study, completed=len(there), failed=failed))
        for one in wanted.values():
            if one.instance not in tried and not self._ended:
                self._not_taken(one, "It cannot be had here.")

    def _not_taken(self, one: Owed, fault: str) -> None:
        log.warning("route %s: %s is not taken: %s", self._route.name, one.sop_instance, fault)
        pause = _INSTANCE.wait_seconds(one.attempts + 1, self._jitter())
        self._forwards.failed(self._route.name, one.instance, fault, self._clock.now() + pause)

    def _close_books(self, now: float) -> None:
        """Once a day: what was sent by then is not sent again, should the catalogue have to be made anew."""
        if now - _DAY - self._route.since <= _DAY:
            return
        since = min(now, self._forwards.standing(self._route.name).owed_since or now) - _DAY
        if since - self._route.since > _DAY:
            self._table.move_since(self._route.name, since)
            self._route = replace(self._route, since=since)
