"""Elements in bytes (PS3.5 section 7.1), for the few that Outpost writes into datasets of others."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge.dataset.charset import CharacterSet
from edge.dataset.vr import LONG, OF_CHARACTER_SET
from edge.dataset.walk import EXPLICIT_BE, IMPLICIT_LE, Malformed
from edge.model import Json

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written: with or without VR, in which byte order."""

    implicit: bool
    big: bool = False

    @classmethod
    def of(cls, transfer_syntax: str) -> Encoding:
        """Encapsulated syntaxes have Explicit VR Little Endian headers (PS3.5 section A.4)."""
        return cls(transfer_syntax == IMPLICIT_LE, transfer_syntax == EXPLICIT_BE)

    def header(self, tag: int, vr: str, length: int) -> bytes:
        """The header of an element; of an item or delimiter too. Raises Malformed where the length does not fit the VR."""
        order = ">" if self.big else "<"
        if self.implicit or tag >> 16 == 0xFFFE:
            return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, length)
        if vr in LONG:
            return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
        if length > _SHORT_MAX:
            raise Malformed(f"a value of {length} bytes does not fit a {vr}")
        return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)

    def element(self, tag: int, vr: str, value: bytes) -> bytes:
        """A whole element; its value is padded to an even length as PS3.5 section 6.2 says."""
        if len(value) % 2:
            value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
        return self.header(tag, vr, len(value)) + value

    def item(self, content: bytes) -> bytes:
        return self.header(ITEM, "", len(content)) + content


def text_value(element: Json, charset: CharacterSet) -> bytes | None:
    """The value of an element with text, given in the DICOM JSON Model; None where the character set cannot express it."""
    pieces = [_one(str(element.get("vr", "UN")), value, charset) for value in element.get("Value", ())]
    return None if None in pieces else b"\\".join(piece for piece in pieces if piece is not None)


def name_value(text: str, charset: CharacterSet) -> bytes | None:
    """A person name: code extensions start anew at each delimiter (PS3.5 section 6.1.2.5.3)."""
    pieces = list(_components(text, charset))
    return None if None in pieces else b"".join(piece for piece in pieces if piece is not None)


def _one(vr: str, value: Any, charset: CharacterSet) -> bytes | None:
    if value is None:
        return b""
    if vr == "PN":
        groups = [str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return name_value("=".join(groups).rstrip("="), charset)
    return charset.encode(str(value)) if vr in OF_CHARACTER_SET else str(value).encode("ascii", "replace")


def _components(text: str, charset: CharacterSet) -> Iterator[bytes | None]:
    for part in re.split(r"([\^=])", text):
        yield charset.encode(part)
