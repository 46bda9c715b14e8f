"""Which bytes of an instance go into the head of its pack, and which are left to the parts."""

from __future__ import annotations

from dataclasses import dataclass

from edge.code.manifest import PIXEL_DATA, Omitted
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, UNDEFINED, Element, Malformed, walk

VALUE_MAX_BYTES = 16 << 10
"""Values over this are omitted from the head."""
SEQUENCE_MAX_BYTES = 1 << 20
"""Sequences over this are: the functional groups of an enhanced multi-frame instance are what a viewer asks metadata for."""
ELEMENTS_MAX = 65_536
"""Top-level elements that are told apart, many more than any real instance has: each takes some 200 bytes of memory."""

_TIGHTER = ((VALUE_MAX_BYTES, SEQUENCE_MAX_BYTES), (2 << 10, 32 << 10), (256, 256))
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")


@dataclass(frozen=True, slots=True)
class Outline:
    """The top-level elements of a dataset; offsets from the begin of the content, which is file meta and dataset."""

    elements: tuple[Element, ...]
    omitted: tuple[Omitted, ...]
    whole: bool
    """The walk reached the end of the content exactly."""
    big: bool
    """Its words are big-endian."""

    def pixel_data(self) -> Element | None:
        """Native Pixel Data, when it is the one value that the head omits, and each tag is there once, in its order (PS3.5 section 7.1)."""
        tags = [element.tag for element in self.elements]
        if not self.whole or [gap.tag for gap in self.omitted] != [PIXEL_DATA] or tags != sorted(set(tags)):
            return None
        found = self.elements[tags.index(PIXEL_DATA)]
        return found if found.length != UNDEFINED else None


def outline(content: memoryview, content_length: int, dataset_offset: int, transfer_syntax: str, head_max_bytes: int) -> Outline:
    """The outline of a content of which `content` is at least the beginning. Never raises: what cannot be walked is omitted as one range.

    The bytes that are not omitted number at most `head_max_bytes`, or the file meta alone: smaller values are omitted where it takes that.
    """
    big = transfer_syntax == EXPLICIT_BE
    elements, end = _elements(content, content_length, dataset_offset, transfer_syntax)
    omitted: list[Omitted] = []
    for value_max, sequence_max in _TIGHTER:
        omitted = []
        for element in elements:
            length = element.end - element.value
            at_most = sequence_max if _is_sequence(content, element) else value_max
            if length > (0 if element.tag == PIXEL_DATA else at_most):
                omitted.append(Omitted(element.value, length, element.tag))
        # Nothing can be read out of what was not walked; a deflated dataset can be inflated.
        if content_length - end > (value_max if transfer_syntax == DEFLATED_LE else 0):
            omitted.append(Omitted(end, content_length - end, 0))
        if content_length - sum(gap.length for gap in omitted) <= head_max_bytes:
            return Outline(elements, tuple(omitted), end == content_length, big)
    return Outline(elements, (Omitted(dataset_offset, content_length - dataset_offset, 0),), False, big)


def _elements(content: memoryview, content_length: int, base: int, transfer_syntax: str) -> tuple[tuple[Element, ...], int]:
    elements: list[Element] = []
    end = base
    if transfer_syntax == DEFLATED_LE:
        return (), end
    try:
        for found in walk(content[base:], transfer_syntax):
            if base + found.end > content_length or len(elements) == ELEMENTS_MAX:
                break
            element = found._replace(offset=base + found.offset, value=base + found.value, end=base + found.end)
            elements.append(element)
            end = element.end
    except Malformed:
        # The instance is kept as it arrived: what lies behind the fault is omitted from the head, and stays in the parts.
        pass
    return tuple(elements), end


def _is_sequence(content: memoryview, element: Element) -> bool:
    if element.tag == PIXEL_DATA:
        return False
    return element.vr == "SQ" or (element.vr in {"", "UN"} and content[element.value : element.value + 4] in _ITEM_TAGS)
