"""From explicit to implicit VR little endian and back, for destinations that refuse the stored one of the two.

Only element headers change; values stay the bytes they are, and large ones are not even read. Sequences and items get undefined
length, group lengths are dropped (PS3.5 sections 7.2 and 7.5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from edge.dataset.vr import LONG, vr_of
from edge.dimse.classes import EXPLICIT_LE
from edge.dimse.outgoing import Spliced, Stored
from edge.errors import Corrupt
from edge.model import UID

_DEPTH_CAP = 64
_WINDOW_BYTES = 256 << 10
_LARGE_BYTES = 32 << 10
_UNDEFINED = 0xFFFFFFFF
_TAG = struct.Struct("<HH")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<L")
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_PIXEL_REPRESENTATION = (0x0028, 0x0103)


@dataclass(slots=True)
class _Container:
    """A sequence, an item, or the dataset itself, while it is walked."""

    end: int | None
    """Where it ends; None = at its delimitation."""
    explicit: bool
    is_sequence: bool


def transcode(source: Stored, transfer_syntax: UID) -> Spliced:
    """The dataset, which is in explicit or implicit VR little endian (`transfer_syntax`), in the other of the two.

    Raises Corrupt where its structure does not hold.
    """
    return _Transcoder(source, transfer_syntax == EXPLICIT_LE).run()


class _Transcoder:
    def __init__(self, source: Stored, explicit: bool) -> None:
        self._source = source
        self._to_explicit = not explicit
        self._stack = [_Container(source.length, explicit, is_sequence=False)]
        self._at = 0
        self._window = b""
        self._window_at = 0
        self._pieces: list[bytes | Stored] = []
        self._pending = bytearray()
        self._signed = False

    def run(self) -> Spliced:
        while True:
            container = self._stack[-1]
            if container.end == self._at:
                if len(self._stack) == 1:
                    break
                self._leave()
            elif container.end is not None and self._at > container.end:
                raise self._corrupt("runs over the end of what contains it")
            elif container.is_sequence:
                self._item(container)
            else:
                self._element(container)
        self._flush()
        return Spliced(tuple(self._pieces))

    def _item(self, sequence: _Container) -> None:
        tag, length = _TAG.unpack(self._take(4)), _LONG.unpack(self._take(4))[0]
        if tag == _SEQUENCE_END and sequence.end is None:
            self._leave()
        elif tag == _ITEM:
            self._pending += _TAG.pack(*_ITEM) + _LONG.pack(_UNDEFINED)
            self._enter(length, sequence.explicit, is_sequence=False)
        else:
            raise self._corrupt("is no item in a sequence")

    def _element(self, container: _Container) -> None:
        tag = _TAG.unpack(self._take(4))
        if tag == _ITEM_END and container.end is None:
            self._take(4)
            self._leave()
            return
        vr, length = self._header(tag, container.explicit)
        if vr == "SQ" or length == _UNDEFINED:
            if vr not in {"SQ", "UN"}:
                raise self._corrupt("has a value of undefined length that is no sequence")
            self._write_header(tag, "SQ", _UNDEFINED)
            # UN of undefined length holds implicit VR whatever is around it (PS3.5 section 6.2.2, note on CP-246).
            self._enter(length, container.explicit and vr == "SQ", is_sequence=True)
            return
        if length > self._source.length - self._at:
            raise self._corrupt("claims more bytes than are there")
        if tag[1] == 0:
            self._at += length
            return
        self._write_header(tag, vr, length)
        self._copy(tag, length)

    def _header(self, tag: tuple[int, int], explicit: bool) -> tuple[str, int]:
        if not explicit:
            return vr_of(tag[0] << 16 | tag[1], self._signed), _LONG.unpack(self._take(4))[0]
        vr = self._take(2).decode("latin-1")
        if vr in LONG:
            self._take(2)
            return vr, _LONG.unpack(self._take(4))[0]
        if not (vr.isascii() and vr.isupper()):
            raise self._corrupt("has no VR")
        return vr, _SHORT.unpack(self._take(2))[0]

    def _write_header(self, tag: tuple[int, int], vr: str, length: int) -> None:
        self._pending += _TAG.pack(*tag)
        if not self._to_explicit:
            self._pending += _LONG.pack(length)
        elif vr in LONG:
            self._pending += vr.encode() + b"\0\0" + _LONG.pack(length)
        elif length > 0xFFFF:
            # A value too long for the short form of its VR is sent as UN (PS3.5 section 6.2.2).
            self._pending += b"UN\0\0" + _LONG.pack(length)
        else:
            self._pending += vr.encode() + _SHORT.pack(length)

    def _copy(self, tag: tuple[int, int], length: int) -> None:
        if length > _LARGE_BYTES:
            self._flush()
            self._pieces.append(replace(self._source, offset=self._source.offset + self._at, length=length))
            self._at += length
            return
        value = self._take(length)
        if tag == _PIXEL_REPRESENTATION and length == 2:
            self._signed = value == b"\1\0"
        self._pending += value

    def _enter(self, length: int, explicit: bool, *, is_sequence: bool) -> None:
        if len(self._stack) > _DEPTH_CAP:
            raise self._corrupt(f"is nested more than {_DEPTH_CAP} deep")
        self._stack.append(_Container(None if length == _UNDEFINED else self._at + length, explicit, is_sequence))

    def _leave(self) -> None:
        delimiter = _SEQUENCE_END if self._stack.pop().is_sequence else _ITEM_END
        self._pending += _TAG.pack(*delimiter) + _LONG.pack(0)

    def _take(self, count: int) -> bytes:
        begin = self._at - self._window_at
        if begin < 0 or begin + count > len(self._window):
            self._window = self._source.read(self._at, _WINDOW_BYTES)
            self._window_at, begin = self._at, 0
            if len(self._window) < count:
                raise self._corrupt("ends early")
        self._at += count
        return self._window[begin : begin + count]

    def _flush(self) -> None:
        if self._pending:
            self._pieces.append(bytes(self._pending))
            self._pending = bytearray()

    def _corrupt(self, fault: str) -> Corrupt:
        return Corrupt(f"A stored dataset cannot be transcoded: at byte {self._at} it {fault}.")
