"""The scrubber: re-reads the cache within a given period, has what rotted recalled, and says what cannot be."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from edge.audit import Audit, Repaired, Rotted
from edge.clock import Clock
from edge.config import Config, Layout
from edge.control.message import Done, Message
from edge.control.scrub import GetScrub, Rot, Scrubbing, StartScrub, Suspect
from edge.errors import OutpostError, StoreFailed
from edge.model import UID, PackId
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store import eviction
from edge.store.catalogue import Catalogue
from edge.store.files import is_on_its_way
from edge.store.scrub import Found, examine, read_when_idle
from edge.store.scrubs import Rotten, Scrubbed, Scrubs

log = logging.getLogger(__name__)

HURRY_BYTES_PER_SECOND = 64 << 20
LEAST_BYTES_PER_SECOND = 64 << 10
LOOK_SECONDS = 10.0
"""How often it is looked at what became of rotten instances."""
HEAL_SECONDS = 0.5
"""The same, while some are being recalled."""
AGAIN_SECONDS = 600.0
"""How long a recall that did not succeed is left alone."""
HEALING = 4
"""Packs that are recalled at the same time because they rotted: the link has better to do."""
_DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3600.0


class Desk(eviction.Desk, Protocol):
    """Where packs are recalled."""

    def busy(self, pack: str) -> bool:
        """Whether a pack is being recalled."""
        ...

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None:
        """Have instances of a pack recalled, named by their dataset offsets. Returns at once."""
        ...


class _Interrupted(Exception):
    """Something else is to be done than to read on."""


class Scrubber:
    """Between `start` and `stop` one thread reads, at idle priority and no faster than the period asks for. The rest is for any thread."""

    def __init__(
        self,
        config: Config,
        layout: Layout,
        catalogue: Catalogue,
        desk: Desk,
        link_up: Callable[[], bool],
        trail: Audit,
        clock: Clock,
        fail_stop: Callable[[StoreFailed], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`link_up` says whether the archive can be reached."""
        self._period = config.cache.scrub_days * _DAY_SECONDS
        self._layout = layout
        self._catalogue = catalogue
        self._rows = Scrubs(catalogue)
        self._desk = desk
        self._link_up = link_up
        self._audit = trail
        self._clock = clock
        self._fail_stop = fail_stop
        self._look_seconds = look_seconds
        self._changed = threading.Condition()
        self._stopping = False
        self._asked = False
        """A person wants a scrub now."""
        self._suspects: deque[PackId] = deque()
        self._wanted: dict[PackId, float] = {}
        """Monotonic: when a rotten pack was last asked for."""
        self._rate = float(HURRY_BYTES_PER_SECOND)
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is being read is read again after the next start. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def suspect(self, pack: PackId) -> None:
        """Somebody met bytes in a pack file that cannot be right: it is looked at next."""
        with self._changed:
            if pack not in self._suspects:
                self._suspects.append(pack)
            self._changed.notify_all()

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(GetScrub, PEOPLE, self._tell),
            at_once(StartScrub, PEOPLE, self._begin),
            at_once(Suspect, PEOPLE, self._hear),
        ]

    def alarms(self) -> list[str]:
        """What a person must see to: rot in the only copy."""
        return list(_alarms(self._rows.rotten()))

    def step(self) -> float:
        """Do what is to be done next, which is what the thread does for ever; how many seconds to wait then."""
        with self._changed:
            self._asked = False
            suspect = self._suspects.popleft() if self._suspects else None
        patience = self._heal()
        if suspect is not None:
            self._rate = float(HURRY_BYTES_PER_SECOND)
            self._scrub(suspect)
            return 0.0
        scrub = self._rows.under_way()
        if scrub is None:
            last = self._rows.last()
            due = (last.began_at + self._period if last else 0.0) - self._clock.now()
            if 0 < due <= self._period:
                return min(due, patience)
            self._rows.begin(self._clock.now(), hurried=False)
            return 0.0
        pack = self._rows.next_pack(scrub)
        if pack is None:
            self._rows.end(scrub, self._clock.now())
            log.info("a scrub has read %d packs, %d bytes: %d instances were rotten", scrub.packs, scrub.bytes, scrub.rotten)
            return 0.0
        self._rate = self.pace_of(scrub.hurried, int(self._catalogue.figure("cached_bytes")))
        size, found = self._scrub(pack)
        self._rows.advance(scrub, pack, size, found)
        return 0.0

    # What is asked

    def _hear(self, request: Suspect, _asker: Asker) -> list[Message]:
        for pack in request.packs:
            self.suspect(pack)
        return [Done()]

    def _begin(self, _request: StartScrub, asker: Asker) -> list[Scrubbing | Rot]:
        self._rows.begin(self._clock.now(), hurried=True)
        with self._changed:
            self._asked = True
            self._changed.notify_all()
        return self._tell(GetScrub(), asker)

    def _tell(self, _request: GetScrub, _asker: Asker) -> list[Scrubbing | Rot]:
        running, last = self._rows.under_way(), self._rows.last()
        told = running or last
        found = Scrubbing(
            under_way=running is not None,
            hurried=told is not None and told.hurried,
            began_at=told.began_at if told else None,
            ended_at=told.ended_at if told else None,
            packs=told.packs if told else 0,
            bytes=told.bytes if told else 0,
            of_bytes=int(self._catalogue.figure("cached_bytes")),
            rotten=told.rotten if told else 0,
            repaired=told.repaired if told else 0,
            next_at=last.began_at + self._period if last and not running else None,
            last_ended_at=last.ended_at if last else None,
        )
        studies: defaultdict[UID, list[Rotten]] = defaultdict(list)
        for one in self._rows.rotten():
            studies[one.study].append(one)
        return [found, *(_rot(study, rows) for study, rows in studies.items())]

    # The thread

    def _run(self) -> None:
        read_when_idle()
        while not self._stopping:
            seconds = 0.0
            try:
                seconds = self.step()
            except _Interrupted:
                continue
            except StoreFailed as fault:
                self._fail_stop(fault)
                return
            except OutpostError as fault:
                log.error("the scrub waits: %s", fault)
                seconds = self._look_seconds
            self._wait(seconds)

    def _scrub(self, pack: PackId) -> tuple[int, int]:
        """Read one pack and act on what is found; its bytes, and how many instances are rotten."""
        one = self._rows.pack(pack)
        if one is None or is_on_its_way(self._layout, pack):
            return 0, 0
        path = self._layout.cached(pack)
        try:
            found = examine(path, one.members, one.whole, self._pace)
        except OSError as fault:
            log.error("pack %s cannot be read: %s", pack, fault.strerror)
            return 0, 0
        if found.sound:
            self._rows.sound(pack)
        else:
            self._act(one, found, path)
        return one.bytes, len(found.rotten) + len(found.worn)

    def _act(self, one: Scrubbed, found: Found, path: Path) -> None:
        with self._desk.undisturbed(one.pack) as free:
            again = self._rows.pack(one.pack) if free else None
            if again is None or _place(path) != found.file:
                return  # it is being recalled, or was evicted meanwhile: what was read is not what is there
            self._rows.found(again, found.rotten, found.worn, self._clock.now())
        instances = len(found.rotten) + len(found.worn)
        where = "they come back from the archive" if again.held else "the archive has no copy yet"
        log.error("pack %s: %d of its instances rotted in the cache; %s", one.pack, instances, where)
        self._audit.record(Rotted(pack=one.pack, study=one.study, instances=instances, held=again.held))

    def _heal(self) -> float:
        """See what became of rotten instances, and have those recalled that the archive has; when to look again."""
        packs: defaultdict[PackId, list[Rotten]] = defaultdict(list)
        for row in self._rows.rotten():
            packs[row.pack].append(row)
        healing = sum(map(self._desk.busy, packs))
        for pack, rows in packs.items():
            repaired = [row for row in rows if row.here and row.pack_here]
            gone = [row for row in rows if not row.pack_here or (row.dataset_offset and row.here is None)]
            if repaired or gone:
                self._rows.forget([*repaired, *gone], len(repaired))
                self._wanted.pop(pack, None)
            if repaired:
                log.info("pack %s: %d instances that had rotted are repaired", pack, len(repaired))
                self._audit.record(Repaired(pack=pack, study=rows[0].study, instances=len(repaired)))
            left = [row for row in rows if row not in repaired and row not in gone]
            if not left or not left[0].held:
                continue
            if any(row.dataset_offset == 0 for row in left):
                if not self._desk.busy(pack):
                    self.suspect(pack)
            elif healing < HEALING and self._may_ask(pack):
                healing += 1
                self._desk.want(pack, [row.dataset_offset for row in left])
        if healing:
            return min(HEAL_SECONDS, self._look_seconds)
        return self._look_seconds if packs else _HOUR_SECONDS

    def _may_ask(self, pack: PackId) -> bool:
        now = self._clock.monotonic()
        asked = self._wanted.get(pack)
        if self._desk.busy(pack) or not self._link_up() or (asked is not None and now - asked < AGAIN_SECONDS):
            return False
        self._wanted[pack] = now
        return True

    def pace_of(self, hurried: bool, cached_bytes: int) -> float:
        """Bytes per second at which a cache of this size is read."""
        return float(HURRY_BYTES_PER_SECOND) if hurried else max(LEAST_BYTES_PER_SECOND, cached_bytes / self._period)

    def _pace(self, count: int) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._stopping or self._asked, count / self._rate):
                raise _Interrupted

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._asked or self._suspects, seconds)


def _place(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _rot(study: UID, rows: list[Rotten]) -> Rot:
    instances = sum(row.dataset_offset != 0 for row in rows)
    return Rot(study=study, instances=instances, held=all(row.held for row in rows), found_at=min(row.found_at for row in rows))


def _alarms(rows: Iterable[Rotten]) -> Iterator[str]:
    studies: defaultdict[UID, list[Rotten]] = defaultdict(list)
    for row in rows:
        if not row.held and not row.stopped:
            studies[row.study].append(row)
    for study, found in studies.items():
        count = sum(row.dataset_offset != 0 for row in found)
        what = f"{count} {'instance' if count == 1 else 'instances'} of study {study}" if count else f"A pack file of study {study}"
        has = "have" if count > 1 else "has"
        if all(row.coded for row in found):
            yield f"{what} {has} rotted in the cache before the archive had a copy. What waits to be shipped is whole: it is mended then."
        else:
            yield (
                f"{what} {has} rotted in the cache, and the archive has no copy. Everything that is there is kept. Check the disk, and "
                "have the modality send the study again."
            )
