"""Faults of eviction."""

from __future__ import annotations

from pathlib import Path

from edge.durable import flush_directory
from edge.store import catalogue
from edge.store.catalogue import Catalogue


class Hasty(Catalogue):
    """What lies coded in the outbox counts as held."""

    def mark_coded(self, pack: str, coded_at: float, *others: object) -> None:
        super().mark_coded(pack, coded_at, *others)
        with self.change():
            self.hold(pack, coded_at, 0)


class Unlinking(Catalogue):
    """The file goes first."""

    def __init__(self, path: Path, *others: object) -> None:
        super().__init__(path, *others)
        self._cache = path.parent / "cache"

    def evict(self, pack: str) -> None:
        path = self._cache / pack[:2] / f"{pack}.tar"
        path.unlink(missing_ok=True)
        flush_directory(path.parent)
        super().evict(pack)


def evict_before_verify() -> None:
    catalogue.Catalogue = Hasty


def unlink_before_commit() -> None:
    catalogue.Catalogue = Unlinking
