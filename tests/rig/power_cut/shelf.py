"""The archive as of a moment: objects appear in it once and stay as they are."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from cloudsync.seal import sums
from cloudsync.seal.part import NotOurs
from edge.model import PackId


class Shelf:
    """A folder archive that nobody writes any more; `before` are the names of what lay in it before the tape began."""

    def __init__(self, root: Path, before: Collection[str]) -> None:
        self._root = root
        self._before = set(before)
        self._needed: dict[PackId, set[str] | None] = {}
        """The names of sums, head and parts of a pack; None when they are not what the sums say."""

    def has(self, pack: PackId, put: set[str]) -> bool:
        """Whether everything of a pack was there when these had been put, and is what its sums say."""
        if pack not in self._needed:
            self._needed[pack] = self._names(pack)
        needed = self._needed[pack]
        return needed is not None and needed <= put | self._before

    def copy(self, target: Path, put: set[str]) -> None:
        """The archive as it was then; `target` lies on the same file system."""
        for name in put | self._before:
            copied = target / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            os.link(self._root / name, copied)

    def _names(self, pack: PackId) -> set[str] | None:
        found = list(self._root.glob(f"*/p/{pack}/sums"))
        if not found:
            return None
        site = found[0].parent.parent.parent.name
        try:
            named = sums.parse(found[0].read_bytes(), site, pack)
            for one in named.objects:
                named.check(one.number, (self._root / named.place_of(one.number)).read_bytes())
        except (NotOurs, FileNotFoundError):
            return None
        return {named.place, *(named.place_of(one.number) for one in named.objects)}
