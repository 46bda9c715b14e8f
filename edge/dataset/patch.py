"""A correction in the bytes of a dataset: what is sent says what is right, and what it replaced (PS3.3 section C.12.1.1.9).

The result is a list of new bytes and of stretches of the stored dataset: pixels are neither copied nor read.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate

from edge.dataset.charset import UTF_8, CharacterSet
from edge.dataset.encode import SEQUENCE_END, UNDEFINED, Encoding, text_value
from edge.dataset.recode import SPECIFIC_CHARACTER_SET, charset_of, in_utf_8
from edge.dataset.source import BytesSource, Source, elements
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_LE, PIXEL_DATA, Element, Malformed, inflate
from edge.errors import Corrupt
from edge.model import Correction, Json

ORIGINAL_ATTRIBUTES = 0x04000561
"""Original Attributes Sequence: an item more for each correction."""
MODIFYING_SYSTEM = "OUTPOST"
INFLATED_MAX_BYTES = 64 << 20
"""A deflated dataset is inflated and deflated in memory, within this."""
RECODED_MAX_BYTES = 16 << 20
"""The longest element whose text is brought into UTF-8."""

_MODIFIED, _MODIFIED_AT, _MODIFIER, _SOURCE_OF_PREVIOUS, _REASON = 0x04000550, 0x04000562, 0x04000563, 0x04000564, 0x04000565
_DELIMITER_BYTES = 8


class Uncorrectable(Corrupt):
    """A stored instance cannot be read as far as its correction takes, so it is not sent. Export it, or take the correction back."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A stretch of the stored dataset that stays as it is; the offset is from the first byte of that dataset."""

    offset: int
    length: int

    def __len__(self) -> int:
        return self.length


Piece = bytes | Kept
Pieces = tuple[Piece, ...]


def patch(source: Source, transfer_syntax: str, correction: Correction) -> Pieces:
    """The corrected dataset, in the same transfer syntax.

    Raises Uncorrectable where the stored one cannot be read as far as that takes.
    """
    try:
        return _patch(source, transfer_syntax, correction)
    except Malformed as fault:
        raise Uncorrectable(f"A stored instance cannot be corrected: {fault}.") from fault


def cut(pieces: Sequence[Piece], offset: int, length: int) -> Iterator[Piece]:
    """A stretch of a patched dataset, as pieces."""
    for piece in pieces:
        skip = min(offset, len(piece))
        count = min(len(piece) - skip, length)
        if count > 0:
            yield piece[skip : skip + count] if isinstance(piece, bytes) else Kept(piece.offset + skip, count)
        offset, length = offset - skip, length - max(0, count)


class PatchedSource:
    """A patched dataset as a Source: the metadata of a corrected instance is made from it."""

    def __init__(self, stored: Source, pieces: Pieces) -> None:
        self._stored = stored
        self._pieces = pieces
        self._ends = list(accumulate(map(len, pieces)))
        self.length = self._ends[-1] if self._ends else 0
        self.holes: Mapping[int, int] = dict(self._moved(stored.holes))

    def read(self, offset: int, count: int) -> memoryview:
        """At most `count` bytes; fewer at the end and before a hole."""
        count = min(count, self.length - offset)
        found = bytearray()
        while len(found) < count:
            place = bisect_right(self._ends, offset)
            piece = self._pieces[place]
            within = offset - (self._ends[place] - len(piece))
            wanted = min(count - len(found), len(piece) - within)
            part = piece[within : within + wanted] if isinstance(piece, bytes) else self._stored.read(piece.offset + within, wanted)
            found += part
            offset += len(part)
            if len(part) < wanted:
                break
        return memoryview(found)

    def _moved(self, holes: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        for piece, end in zip(self._pieces, self._ends, strict=True):
            if isinstance(piece, Kept):
                for offset, length in holes.items():
                    if piece.offset <= offset < piece.offset + piece.length:
                        yield end - piece.length + offset - piece.offset, length


def _patch(source: Source, transfer_syntax: str, correction: Correction) -> Pieces:
    if transfer_syntax != DEFLATED_LE:
        return _Patch(source, transfer_syntax, correction).pieces()
    plain = inflate(source.read(0, source.length), INFLATED_MAX_BYTES + 1)
    if len(plain) > INFLATED_MAX_BYTES:
        raise Uncorrectable("A deflated dataset is too long to be corrected.")
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = _Patch(BytesSource(plain), EXPLICIT_LE, correction).pieces()
    parts = (packer.compress(piece if isinstance(piece, bytes) else plain[piece.offset :][: piece.length]) for piece in pieces)
    packed = b"".join(parts) + packer.flush()
    return (packed + b"\0" * (len(packed) % 2),)


@dataclass(slots=True)
class _Patch:
    source: Source
    transfer_syntax: str
    correction: Correction
    write: Encoding = field(init=False)
    seen: list[Element] = field(init=False, default_factory=list)
    end: int = field(init=False, default=0)
    """Where the elements that were looked at end."""

    def pieces(self) -> Pieces:
        self.write = Encoding.of(self.transfer_syntax)
        right = {int(tag, 16): element for tag, element in self.correction.attributes.items()}
        self._look(max(ORIGINAL_ATTRIBUTES, *right))
        charset = self._charset()
        values = _encoded(right, charset)
        recode = values is None
        if values is not None:
            right = {tag: element for tag, element in right.items() if self._differs(tag, values[tag])}
            values = {tag: values[tag] for tag in right}
            if not right:
                return (Kept(0, self.source.length),)
        else:
            values = _encoded(right, CharacterSet((UTF_8,)))
            self._look(0xFFFFFFFF)
        if values is None:
            raise Uncorrectable("a correction that is no text")
        new = {tag: self.write.element(tag, str(right[tag]["vr"]), value) for tag, value in values.items()}
        if recode:
            new[SPECIFIC_CHARACTER_SET] = self.write.element(SPECIFIC_CHARACTER_SET, "CS", UTF_8.encode())
        changes = self._replaced(new, charset if recode else None) + self._recorded(right, charset if recode else None)
        return tuple(self._spliced(sorted(changes, key=lambda change: change[:2])))

    def _look(self, last: int) -> None:
        """The elements up to a tag, which are all that have to be well-formed."""
        self.seen = []
        self.end = self.source.length
        for element in elements(self.source, self.transfer_syntax):
            if element.tag > last:
                self.end = element.offset
                return
            self.seen.append(element)

    def _charset(self) -> CharacterSet:
        found = next((element for element in self.seen if element.tag == SPECIFIC_CHARACTER_SET), None)
        return charset_of(self._read(found.value, found.end)) if found else CharacterSet()

    def _differs(self, tag: int, value: bytes) -> bool:
        """Whether an attribute is not what it should be."""
        found = next((element for element in self.seen if element.tag == tag), None)
        return found is None or self._read(found.value, found.end).rstrip(b" \0") != value.rstrip(b" \0")

    def _replaced(self, new: Mapping[int, bytes], recoded_from: CharacterSet | None) -> list[tuple[int, int, bytes]]:
        """(from, to, what stands there now) of the elements that change or come in, and of the group lengths that would be wrong."""
        changes: list[tuple[int, int, bytes]] = []
        placed: set[int] = set()
        groups = {tag >> 16 for tag in (*new, ORIGINAL_ATTRIBUTES)}
        for element in self.seen:
            if element.tag in new:
                changes.append((element.offset, element.end, b"" if element.tag in placed else new[element.tag]))
                placed.add(element.tag)
            elif element.tag & 0xFFFF == 0 and (element.tag >> 16 in groups or recoded_from is not None):
                changes.append((element.offset, element.end, b""))
            elif recoded_from is not None and element.tag not in {ORIGINAL_ATTRIBUTES, PIXEL_DATA}:
                changes += self._recoded(element, recoded_from)
        changes += [(at := self._place(tag), at, new[tag]) for tag in sorted(new.keys() - placed)]
        return changes

    def _recoded(self, element: Element, charset: CharacterSet) -> Iterator[tuple[int, int, bytes]]:
        """Nothing for an element that is the same in UTF-8."""
        if element.vr in {"OB", "OW", "OF", "OD", "OL", "OV"} or element.value in self.source.holes:
            return
        if element.end - element.offset > RECODED_MAX_BYTES:
            raise Uncorrectable("An element is too long to be brought into another character set.")
        stored = self._read(element.offset, element.end)
        if not stored.isascii() or b"\x1b" in stored:
            yield element.offset, element.end, in_utf_8(stored, self.transfer_syntax, charset)

    def _recorded(self, right: Mapping[int, Json], recoded_from: CharacterSet | None) -> list[tuple[int, int, bytes]]:
        """The Original Attributes Sequence with one item more."""
        found = next((element for element in self.seen if element.tag == ORIGINAL_ATTRIBUTES), None)
        if found is None:
            at = self._place(ORIGINAL_ATTRIBUTES)
            return [(at, at, self.write.element(ORIGINAL_ATTRIBUTES, "SQ", self.write.item(self._item(self.write, right, recoded_from))))]
        if found.vr not in {"", "SQ", "UN"}:
            raise Uncorrectable("Its Original Attributes Sequence is no sequence.")
        stored = self._read(found.offset, found.end)
        if recoded_from is not None:
            stored = in_utf_8(stored, self.transfer_syntax, recoded_from)
        # A UN holds its items in Implicit VR (PS3.5 section 6.2.2).
        inner = Encoding(implicit=True) if found.vr == "UN" else self.write
        item = inner.item(self._item(inner, right, recoded_from))
        head = found.value - found.offset
        delimited = found.length == UNDEFINED or recoded_from is not None
        items = stored[head:-_DELIMITER_BYTES] if delimited else stored[head:]
        header = self.write.header(ORIGINAL_ATTRIBUTES, found.vr or "SQ", UNDEFINED)
        end = inner.header(SEQUENCE_END, "", 0)
        return [(found.offset, found.end, header + items + item + end)]

    def _item(self, write: Encoding, right: Mapping[int, Json], recoded_from: CharacterSet | None) -> bytes:
        modified = b"".join(self._original(write, tag, right[tag], recoded_from) for tag in sorted(right))
        at = datetime.fromtimestamp(self.correction.corrected_at, UTC).strftime("%Y%m%d%H%M%S+0000")
        return b"".join(
            (
                write.element(_MODIFIED, "SQ", write.item(modified)),
                write.element(_MODIFIED_AT, "DT", at.encode()),
                write.element(_MODIFIER, "LO", MODIFYING_SYSTEM.encode()),
                write.element(_SOURCE_OF_PREVIOUS, "LO", b""),
                write.element(_REASON, "CS", b"CORRECT"),
            )
        )

    def _original(self, write: Encoding, tag: int, right: Json, recoded_from: CharacterSet | None) -> bytes:
        """An attribute as it arrived; empty where it was not there."""
        found = next((element for element in self.seen if element.tag == tag), None)
        if found is None:
            return write.element(tag, str(right["vr"]), b"")
        stored = self._read(found.offset, found.end)
        if recoded_from is not None:
            stored = in_utf_8(stored, self.transfer_syntax, recoded_from)
        if write == self.write:
            return stored
        return write.element(tag, found.vr, stored[found.value - found.offset :])

    def _place(self, tag: int) -> int:
        """Where an element that is not there yet belongs."""
        return next((element.offset for element in self.seen if element.tag > tag), self.end)

    def _read(self, begin: int, end: int) -> bytes:
        data = bytes(self.source.read(begin, end - begin))
        if len(data) < end - begin:
            raise Uncorrectable("A stored dataset is shorter than the catalogue says, or its head lacks what is to be corrected.")
        return data

    def _spliced(self, changes: Sequence[tuple[int, int, bytes]]) -> Iterator[Piece]:
        position, pending = 0, b""
        for begin, end, data in changes:
            if begin > position:
                if pending:
                    yield pending
                yield Kept(position, begin - position)
                pending = b""
            pending += data
            position = max(position, end)
        if pending:
            yield pending
        if self.source.length > position:
            yield Kept(position, self.source.length - position)


def _encoded(right: Mapping[int, Json], charset: CharacterSet) -> dict[int, bytes] | None:
    """The values of a correction; None where one cannot be expressed."""
    values: dict[int, bytes] = {}
    for tag, element in right.items():
        value = text_value(element, charset)
        if value is None:
            return None
        values[tag] = value
    return values
