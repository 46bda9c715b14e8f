"""Eviction: what may go and in which order is decided purely; acting comes after, and checks again."""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Container, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge.config import Cache, Layout
from edge.durable import flush_directory
from edge.errors import Refused
from edge.model import UID, PackId
from edge.store.catalogue import Catalogue

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0


class Desk(Protocol):
    """Where packs are recalled."""

    def undisturbed(self, pack: str) -> AbstractContextManager[bool]:
        """Whether nobody recalls a pack. No recall begins to write to its file before the context is left."""
        ...


@dataclass(frozen=True, slots=True)
class Evictable:
    """A closed and held pack whose bytes are in the cache."""

    pack: PackId
    study: UID
    bytes: int
    used_at: float
    """Seconds since the epoch: last retrieve, or reception."""
    modalities: frozenset[str] = frozenset()
    """Of its study."""


@dataclass(frozen=True, slots=True)
class Space:
    """How full it is, in bytes."""

    cached: int
    """What closed packs occupy."""
    free: int
    """On the disk of the cache."""


class Reason(enum.StrEnum):
    """Why the packs of a study stay although somebody wants them gone; what stands first is said first."""

    PINNED = "pinned"
    OPEN = "being received"
    NOT_HELD = "not in the archive yet"
    RECALLED = "being recalled"
    AWAY = "not in the cache"


def choose(packs: Iterable[Evictable], space: Space, settings: Cache, pinned: Container[str], now: float) -> list[Evictable]:
    """What goes now, of packs that come least recently used first.

    Over the high-water mark: down to the low one. Where the disk has less free than twice the reserve: until it has three times as much.
    What is pinned stays; so does what was used within `minimum_age_seconds` or the days that `keep_days` has for its modalities. Reception
    comes first, though: while it has to refuse, because less than the reserve is free, what is kept for its age goes too, until there is
    half as much again.
    """
    wanted, urgent = _wanted(space, settings), _urgent(space, settings)
    chosen: list[Evictable] = []
    young: list[Evictable] = []
    for one in packs:
        if wanted <= 0:
            break
        if one.study in pinned:
            continue
        if now - one.used_at < kept_seconds(one.modalities, settings):
            if urgent > 0:
                young.append(one)
            elif now - one.used_at < settings.minimum_age_seconds:
                break  # what follows is younger still
            continue
        chosen.append(one)
        wanted -= one.bytes
        urgent -= one.bytes
    for one in young:
        if urgent <= 0:
            break
        chosen.append(one)
        urgent -= one.bytes
    return chosen


def kept_seconds(modalities: Iterable[str], settings: Cache) -> float:
    """How long after its last use a study with these modalities stays."""
    days = max((settings.keep_days.get(modality, 0.0) for modality in modalities), default=0.0)
    return max(settings.minimum_age_seconds, days * _DAY_SECONDS)


def _wanted(space: Space, settings: Cache) -> int:
    """How many bytes are to be freed."""
    over = space.cached > settings.max_bytes * settings.high_water_percent // 100
    marks = space.cached - settings.max_bytes * settings.low_water_percent // 100 if over else 0
    disk = 3 * settings.reserve_bytes - space.free if space.free < 2 * settings.reserve_bytes else 0
    return max(marks, disk)


def _urgent(space: Space, settings: Cache) -> int:
    """How many bytes are to be freed whatever is kept for its age."""
    return settings.reserve_bytes * 3 // 2 - space.free if space.free < settings.reserve_bytes else 0


def hindrance(open_: bool, held: bool, here: bool, pinned: bool, recalled: bool) -> Reason | None:
    """Why one pack does not go; None when it may."""
    if not here:
        return Reason.AWAY
    if pinned:
        return Reason.PINNED
    if open_:
        return Reason.OPEN
    if not held:
        return Reason.NOT_HELD
    return Reason.RECALLED if recalled else None


def evictable(catalogue: Catalogue, page_rows: int = 500) -> Iterator[Evictable]:
    """Every pack that is closed, held and here, least recently used first. Read in pages: nobody waits long for the catalogue."""
    place: tuple[float, int] = (float("-inf"), 0)
    while rows := catalogue.rows("evictable", used_at=place[0], place=place[1], most=page_rows):
        for row in rows:
            yield _evictable(row)
        place = rows[-1][2], rows[-1][5]


def _evictable(row: tuple[Any, ...]) -> Evictable:
    pack, size, used_at, study, modalities, _ = row
    return Evictable(PackId(pack), UID(study), size, used_at, frozenset(json.loads(modalities)))


def evict(layout: Layout, catalogue: Catalogue, desk: Desk, chosen: Iterable[Evictable]) -> Iterator[Evictable]:
    """Evict packs one by one, unless somebody recalls them by then: the catalogue commits first, refusing what has no holding, then the
    file goes. One refusal stops no other.
    """
    for one in chosen:
        with desk.undisturbed(one.pack) as free:
            if not free:
                continue
            try:
                catalogue.evict(one.pack)
            except Refused as fault:
                log.error("%s", fault)
                continue
            _remove(layout.cached(one.pack))
        yield one


def sweep(layout: Layout, catalogue: Catalogue, desk: Desk) -> int:
    """Remove the files of packs that were evicted when Outpost was killed before the file went; how many there were."""
    swept = 0
    for path in layout.cache.glob("??/*.tar"):
        with desk.undisturbed(path.stem) as free:
            state = catalogue.pack(path.stem) if free else None
            if state is not None and state.here == "no":
                _remove(path)
                swept += 1
    return swept


def clear(layout: Layout, catalogue: Catalogue, desk: Desk) -> None:
    """Remove the files of packs that were retired, unless somebody recalls one by then: what is left goes at the next start."""
    for (pack,) in catalogue.rows("leaving"):
        with desk.undisturbed(pack) as free:
            if free and _remove(layout.cached(pack)) and _remove(layout.head(pack)):
                catalogue.left(pack)


def _remove(path: Path) -> bool:
    """A file that does not go, which is False, is left for the next sweep: the catalogue no longer counts on it."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            flush_directory(path.parent)
    except OSError as fault:
        log.error("%s is not counted on any more, but its file does not go: %s", path.name, fault.strerror)
        return False
    return True
