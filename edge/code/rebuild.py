"""An instance's cached content, made again from its head bytes and its coded member. The coder proves with it what the decoder does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from edge.code import pixels
from edge.code.jpegls import ITEM
from edge.code.manifest import Member
from edge.dataset.vr import turned

STEP_BYTES = 1 << 20

Read = Callable[[int, int], bytes]
"""(offset, length) in the coded content -> exactly those bytes, or Corrupt."""


def rebuild(member: Member, head: memoryview, read: Read) -> Iterator[bytes]:
    """The cached content, file meta and dataset, piece by piece. Raises Undecodable when the coded content is not what the manifest says.

    `head` holds the bytes of the content that the manifest does not mark as omitted. Whether the dataset is right, its digest says.
    """
    if member.coding == "verbatim":
        for begin in range(0, member.coded_length, STEP_BYTES):
            yield read(begin, min(STEP_BYTES, member.coded_length - begin))
        return
    native = member.pixels
    assert native is not None, "read_head lets no jpegls member pass without its pixels"
    gap = member.omitted[0]
    yield bytes(head[: gap.offset])
    position = member.fragments
    for _ in range(native.frames):
        item = read(position, 8)
        (length,) = struct.unpack_from("<L", item, 4)
        if item[:4] != ITEM or position + 8 + length > member.coded_length:
            raise pixels.Undecodable(f"{member.name}: no fragment at byte {position} of its coded content")
        yield turned(pixels.decode(read(position + 8, length), native), member.word)
        position += 8 + length
    yield native.padding
    yield bytes(head[gap.offset :])
