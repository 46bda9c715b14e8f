"""Eviction: what may go and in which order is decided purely; acting comes after, and checks again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.config import Cache, Layout
from edge.durable import flush_directory
from edge.errors import Refused
from edge.model import UID, PackId
from edge.store.catalogue import Catalogue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evictable:
    """A closed and held pack whose bytes are in the cache."""

    pack: PackId
    study: UID
    bytes: int
    used_at: float
    closed_at: float


def choose(packs: Iterable[Evictable], cached_bytes: int, settings: Cache, now: float) -> list[Evictable]:
    """What goes now, least recently used first: nothing below the high-water mark, then down to the low one; never what is young."""
    if cached_bytes <= settings.max_bytes * settings.high_water_percent // 100:
        return []
    target = settings.max_bytes * settings.low_water_percent // 100
    chosen: list[Evictable] = []
    for one in sorted(packs, key=lambda one: one.used_at):
        if cached_bytes <= target:
            break
        if now - one.used_at >= settings.minimum_age_seconds:
            chosen.append(one)
            cached_bytes -= one.bytes
    return chosen


def evictable(catalogue: Catalogue, busy: Callable[[str], bool]) -> Iterator[Evictable]:
    """Every pack that may go, less those that are being recalled (`busy`)."""
    for pack, size, used_at, closed_at, study in catalogue.rows("evictable"):
        if not busy(pack):
            yield Evictable(PackId(pack), UID(study), size, used_at, closed_at)


def evict(layout: Layout, catalogue: Catalogue, chosen: Iterable[Evictable]) -> Iterator[Evictable]:
    """Evict packs one by one: the catalogue commits first, refusing what has no holding, then the file goes. One refusal stops no other."""
    for one in chosen:
        try:
            catalogue.evict(one.pack)
        except Refused as fault:
            log.error("%s", fault)
            continue
        _remove(layout.cached(one.pack))
        yield one


def sweep(layout: Layout, catalogue: Catalogue) -> int:
    """Remove the files of packs that were evicted when Outpost was killed before the file went; how many there were."""
    swept = 0
    for path in layout.cache.glob("??/*.tar"):
        state = catalogue.pack(path.stem)
        if state is not None and state.here == "no":
            _remove(path)
            swept += 1
    return swept


def _remove(path: Path) -> None:
    """A file that does not go is left for the next sweep: the catalogue no longer counts on it."""
    try:
        path.unlink(missing_ok=True)
        flush_directory(path.parent)
    except OSError as fault:
        log.error("pack %s was evicted, but its file does not go: %s", path.stem, fault.strerror)
