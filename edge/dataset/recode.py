"""Text of a dataset brought into UTF-8, for a dataset whose own character set cannot express what a person corrected."""

from __future__ import annotations

from edge.dataset.charset import UTF_8, CharacterSet
from edge.dataset.encode import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Encoding
from edge.dataset.vr import OF_CHARACTER_SET, vr_of
from edge.dataset.walk import DEPTH_CAP, IMPLICIT_LE, Element, Malformed, walk

SPECIFIC_CHARACTER_SET = 0x00080005
_DEPTH = DEPTH_CAP // 2


def charset_of(value: bytes) -> CharacterSet:
    """What a value of Specific Character Set (0008,0005) names."""
    terms = value.decode("latin-1").strip("\0 ")
    return CharacterSet(tuple(term.strip() for term in terms.split("\\")) if terms else ())


def in_utf_8(element: bytes, transfer_syntax: str, charset: CharacterSet) -> bytes:
    """One element, header included, with its text in UTF-8, and that of its items. Group lengths inside items are dropped.

    Raises Malformed where its structure does not hold.
    """
    return _Recoder(transfer_syntax).elements(memoryview(element), charset, delimited=False, depth=0)[0]


class _Recoder:
    def __init__(self, transfer_syntax: str) -> None:
        self._syntax = transfer_syntax
        self._write = Encoding.of(transfer_syntax)

    def elements(self, data: memoryview, charset: CharacterSet, delimited: bool, depth: int) -> tuple[bytes, int]:
        """The recoded elements, and how many bytes they took, the delimiter of the item included."""
        end_mark = self._write.header(ITEM_END, "", 0)
        out = bytearray()
        position = 0
        if delimited and data[:8] == end_mark:
            return b"", 8
        for found in walk(data, self._syntax):
            position = found.end
            raw, value = data[found.offset : found.end], data[found.value : found.end]
            if depth and found.tag == SPECIFIC_CHARACTER_SET:
                charset = charset_of(bytes(value))
                out += self._write.element(found.tag, "CS", UTF_8.encode())
            elif not depth or found.tag & 0xFFFF:
                out += self._one(found, raw, value, charset, depth)
            if delimited and data[position : position + 8] == end_mark:
                return bytes(out), position + 8
        if delimited:
            raise Malformed("an item without its delimiter")
        return bytes(out), position

    def _one(self, found: Element, raw: memoryview, value: memoryview, charset: CharacterSet, depth: int) -> bytes:
        vr = found.vr or vr_of(found.tag)
        if vr == "SQ" or (vr == "UN" and found.length == UNDEFINED):
            inner = self if vr == "SQ" or self._write.implicit else _Recoder(IMPLICIT_LE)
            return self._write.header(found.tag, vr, UNDEFINED) + inner.items(value, charset, depth + 1)
        if vr not in OF_CHARACTER_SET or (bytes(value).isascii() and b"\x1b" not in bytes(value)):
            return bytes(raw)
        return self._write.element(found.tag, vr, charset.decode(bytes(value), vr).encode())

    def items(self, value: memoryview, charset: CharacterSet, depth: int) -> bytes:
        """The items of a sequence, each of undefined length, and the delimiter of the sequence."""
        if depth > _DEPTH:
            raise Malformed(f"sequences are nested deeper than {_DEPTH}")
        write = self._write
        mark, end_mark = write.header(ITEM, "", 0)[:4], write.header(SEQUENCE_END, "", 0)
        out = bytearray()
        position = 0
        while position < len(value) and value[position : position + 8] != end_mark:
            if value[position : position + 4] != mark or position + 8 > len(value):
                raise Malformed("a sequence of something other than items")
            length = int.from_bytes(value[position + 4 : position + 8], "big" if write.big else "little")
            position += 8
            inner = value[position:] if length == UNDEFINED else value[position : position + length]
            content, used = self.elements(inner, charset, delimited=length == UNDEFINED, depth=depth)
            out += write.header(ITEM, "", UNDEFINED) + content + write.header(ITEM_END, "", 0)
            position += used if length == UNDEFINED else length
        return bytes(out) + end_mark
