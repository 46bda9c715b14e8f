"""The pack files of the cache as they are read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from edge.config import Layout
from edge.durable import read_errors
from edge.errors import Transient
from edge.model import PackId

OPEN_MAX = 16


def is_on_its_way(layout: Layout, pack: str) -> bool:
    """Whether the file of a pack still lies in `open/`, although it is closed: the move follows the commit. Once it has come it stays."""
    return not layout.cached(pack).exists() and (layout.open_packs / f"{pack}.tar").exists()


class Gone(Transient):
    """It has just been moved out of the cache. Ask again: it is recalled then."""


class PackFiles:
    """The pack files of one request, open for reading until its end. A descriptor is valid until as many others were opened since."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._open: dict[PackId, int] = {}

    def __enter__(self) -> PackFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __contains__(self, pack: PackId) -> bool:
        """Whether a pack file is open now."""
        return pack in self._open

    def open(self, pack: PackId) -> int:
        """A descriptor of a pack file, open or closed. Raises Gone when it was evicted, Corrupt when it cannot be opened, or Exhausted."""
        if pack not in self._open:
            if len(self._open) >= OPEN_MAX:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[pack] = self._opened(pack)
        return self._open[pack]

    def is_current(self, pack: PackId) -> bool:
        """Whether what was opened is the file of the pack still: one that was evicted and recalled meanwhile is another file."""
        opened = os.fstat(self._open[pack])
        for path in self._places(pack):
            with read_errors(), suppress(FileNotFoundError):
                if os.path.samestat(opened, os.stat(path)):
                    return True
        return False

    def drop(self, pack: PackId) -> None:
        """Have the pack opened anew when it is asked for again. Idempotent."""
        if pack in self._open:
            os.close(self._open.pop(pack))

    def close(self) -> None:
        """Every descriptor becomes invalid. Idempotent."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _opened(self, pack: PackId) -> int:
        for path in self._places(pack):
            with read_errors(), suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        raise Gone

    def _places(self, pack: PackId) -> tuple[Path, Path]:
        """A pack that is closed moves from the first to the second."""
        return self._layout.open_packs / f"{pack}.tar", self._layout.cached(pack)
