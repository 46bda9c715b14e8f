"""What a dataset is, from where it lies: its head, also where long values come before the UIDs that identify it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress

from edge.dataset.attributes import HEAD_CAP, INTEREST, SEQUENCE_CAP, SEQUENCES, identify
from edge.dataset.source import Source, elements
from edge.dataset.walk import DEFLATED_LE, Malformed
from edge.model import Identity

WALK_MAX_BYTES = 4 << 20
"""The longest sequence of undefined length that is walked for it; what says its length is passed over, however long."""
ELEMENTS_MAX = 20_000
"""So many elements are looked at."""

_LAST = max(*INTEREST, *SEQUENCES)


def look(source: Source, transfer_syntax: str) -> tuple[bytes, Identity | None]:
    """The head of a dataset, as `identify` and `describe` take it, and what it identifies; None when nothing does that can be found.

    The head is the first HEAD_CAP bytes; where those do not reach the four UIDs, the elements of interest alone, without what lies
    between them. Of a deflated dataset no more than HEAD_CAP bytes are inflated. Raises Malformed.
    """
    head = bytes(source.read(0, HEAD_CAP))
    identity = identify(head, transfer_syntax)
    if identity is None and source.length > HEAD_CAP and transfer_syntax != DEFLATED_LE:
        head = _of_interest(_Narrow(source), transfer_syntax)
        identity = identify(head, transfer_syntax)
    return head, identity


def _of_interest(source: Source, transfer_syntax: str) -> bytes:
    """As far as it can be walked: what is broken further in is no reason not to know what it is."""
    found = bytearray()
    with suppress(Malformed):
        for element in itertools.islice(elements(source, transfer_syntax), ELEMENTS_MAX):
            if element.tag > _LAST or len(found) > HEAD_CAP - SEQUENCE_CAP:
                break
            if (element.tag in INTEREST or element.tag in SEQUENCES) and element.end - element.offset <= SEQUENCE_CAP:
                found += source.read(element.offset, element.end - element.offset)
    return bytes(found)


class _Narrow:
    """A source of which little is read at once."""

    def __init__(self, source: Source) -> None:
        self.length = source.length
        self.holes: Mapping[int, int] = source.holes
        self._source = source

    def read(self, offset: int, count: int) -> memoryview:
        return self._source.read(offset, min(count, WALK_MAX_BYTES))
