"""The pack files of one request, as edge-web may read them: another process evicts and recalls meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType

from edge.config import Layout
from edge.model import PackId
from edge.store.files import Gone, PackFiles
from edge.store.reader import CatalogueReader, Stored


class OpenedPacks:
    """Opens pack files so that an instance which is to be read is in the file that is open.

    A pack that was evicted and is being recalled is another file, with holes where instances are still to come. So a descriptor counts
    only if the file still is the pack's after the catalogue said that the instance is here.
    """

    def __init__(self, layout: Layout, reader: CatalogueReader, suspect: Callable[[PackId], None]) -> None:
        """`suspect` is told of a pack whose bytes are not there or cannot be read."""
        self._suspect = suspect
        self._files = PackFiles(layout)
        self._reader = reader
        self._whole: set[PackId] = set()
        """Those whose open file has every instance."""

    def __enter__(self) -> OpenedPacks:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._files.close()

    async def open(self, stored: Stored) -> int | None:
        """A descriptor of the pack of an instance, valid until `files.OPEN_MAX` others were opened; None when the instance is not here now.

        Raises Corrupt when the file cannot be opened, or Exhausted.
        """
        located = stored.located
        if located.pack in self._files and located.pack in self._whole:
            return self._files.open(located.pack)
        self._whole.discard(located.pack)
        while True:
            try:
                descriptor = self._files.open(located.pack)
            except Gone:
                return None
            here = await self._reader.here(located)
            if here == "no":
                self._files.drop(located.pack)
                return None
            if self._files.is_current(located.pack):
                if here == "pack":
                    self._whole.add(located.pack)
                return descriptor
            self._files.drop(located.pack)

    def unread(self, stored: Stored) -> Callable[[], None]:
        """What to call when the bytes of an instance were not there or could not be read."""
        return partial(self._suspect, stored.located.pack)
