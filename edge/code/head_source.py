"""A dataset as the head of its pack holds it, for what reads datasets where they lie (edge.dataset.source)."""

from __future__ import annotations

from collections.abc import Mapping

from edge.code.manifest import Head, Member


class HeadSource:
    """A dataset as the head of its pack holds it: without its long values."""

    def __init__(self, head: Head, member: Member) -> None:
        base = member.dataset_offset - member.content_offset
        self.length = member.dataset_length
        self.holes: Mapping[int, int] = {gap.offset - base: gap.length for gap in member.omitted}
        self._data = head.of(member)
        self._runs: list[tuple[int, int, int]] = []
        """(first offset, offset behind the last, place in the data) of what is here."""
        place, begin = base, 0
        for offset, length in sorted(self.holes.items()):
            self._runs.append((begin, offset, place))
            place, begin = place + offset - begin, offset + length
        self._runs.append((begin, self.length, place))

    def read(self, offset: int, count: int) -> memoryview:
        for begin, end, place in self._runs:
            if begin <= offset < end:
                return self._data[place + offset - begin : place + min(offset + count, end) - begin]
        return memoryview(b"")
