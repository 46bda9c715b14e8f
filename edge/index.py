"""What is there, for who searches by DIMSE."""

from __future__ import annotations

from collections.abc import Iterator

from edge.model import Json, Query
from edge.reach import Reach
from edge.store.finder import Finder


class CatalogueIndex:
    """The Index port. Used by many threads at once."""

    def __init__(self, finder: Finder, reach: Reach) -> None:
        self._finder = finder
        self._reach = reach

    def find(self, query: Query) -> Iterator[Json]:
        yield from self._finder.find(query, self._reach.up())
