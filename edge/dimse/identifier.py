"""Identifiers of query and retrieve: between the DICOM JSON Model (PS3.18 annex F) and little-endian bytes (PS3.5 section 7)."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from edge.dataset import vr as dictionary
from edge.dataset.charset import UTF_8, CharacterSet
from edge.dataset.vr import BYTES, LONG, NUMBERS, OF_CHARACTER_SET, ONE_VALUE
from edge.dimse.classes import EXPLICIT_LE
from edge.errors import Refused
from edge.model import UID, Json

MAX_IDENTIFIER_BYTES = 1 << 20
CHARACTER_SET = "00080005"

_DEPTH_CAP = 16
_TAG = struct.Struct("<HH")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<L")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)

_VR = re.compile(r"[A-Z]{2}")
_PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


class BadIdentifier(Refused):
    """The identifier of a query or retrieve request cannot be read, or breaks the information model. The message says where."""

    def __init__(self, message: str | None = None, element: str | None = None) -> None:
        """`element` is the tag of what is wrong, for the Offending Element (0000,0901) of the response (PS3.4 tables C.4-1 to C.4-3)."""
        super().__init__(message)
        self.element = int(element, 16) if element is not None else None


def decode(data: bytes, transfer_syntax: UID, charset: CharacterSet | None = None) -> Json:
    """Read an identifier in explicit or implicit VR little endian; `charset` counts until it names one itself. Raises BadIdentifier."""
    try:
        dataset, _ = _read_dataset(data, 0, len(data), transfer_syntax == EXPLICIT_LE, charset or CharacterSet(), 0)
    except struct.error:
        raise BadIdentifier("The identifier ends inside an element.") from None
    return dataset


def encode(dataset: Json, transfer_syntax: UID, *wanted: CharacterSet) -> bytes:
    """Write an identifier in the first wanted character set that can express every value, else in UTF-8; (0008,0005) says which."""
    for charset in (*wanted, CharacterSet((UTF_8,))):
        named: Json = dict(dataset)
        if charset.terms:
            named[CHARACTER_SET] = {"vr": "CS", "Value": list(charset.terms)}
        else:
            named.pop(CHARACTER_SET, None)
        encoded = _write_dataset(named, transfer_syntax == EXPLICIT_LE, charset)
        if encoded is not None:
            return encoded
    raise BadIdentifier("A value of the identifier is no text.")


def character_set(dataset: Json) -> CharacterSet:
    """The one that a dataset names."""
    return CharacterSet(tuple(str(term or "") for term in dataset.get(CHARACTER_SET, {}).get("Value", ())))


def text_of(element: Json) -> str:
    """The values of an element as the text of a matching key, joined by backslashes; empty for universal matching."""
    values = element.get("Value", ())
    return "\\".join(_person(value) if isinstance(value, dict) else "" if value is None else str(value) for value in values)


def vr_of(tag: str) -> str:
    """The VR of an attribute by the dictionary; US where it may be SS."""
    return dictionary.vr_of(int(tag, 16))


def _read_dataset(data: bytes, at: int, end: int, explicit: bool, charset: CharacterSet, depth: int) -> tuple[Json, int]:
    """Elements up to `end`, or to an item delimitation; and where reading stopped."""
    if depth > _DEPTH_CAP:
        raise BadIdentifier(f"Sequences of the identifier are nested more than {_DEPTH_CAP} deep.")
    dataset: Json = {}
    while at < end:
        tag = _TAG.unpack_from(data, at)
        if tag == _ITEM_END:
            return dataset, at + 8
        name = f"{tag[0]:04X}{tag[1]:04X}"
        vr, length, at = _read_header(data, at + 4, explicit, name)
        if vr == "SQ" or length == _UNDEFINED:
            items, at = _read_items(data, at, end if length == _UNDEFINED else _within(at + length, end, name), explicit, charset, depth)
            dataset[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
            continue
        stop = _within(at + length, end, name)
        if tag[1]:
            dataset[name] = _element(vr, data[at:stop], charset)
        if name == CHARACTER_SET:
            charset = character_set(dataset)
        at = stop
    return dataset, at


def _read_header(data: bytes, at: int, explicit: bool, name: str) -> tuple[str, int, int]:
    if not explicit:
        return vr_of(name), _LONG.unpack_from(data, at)[0], at + 4
    vr = data[at : at + 2].decode("latin-1")
    if not _VR.fullmatch(vr):
        raise BadIdentifier(f"Element {name} of the identifier has no VR.", name)
    if vr in LONG:
        return vr, _LONG.unpack_from(data, at + 4)[0], at + 8
    return vr, _SHORT.unpack_from(data, at + 2)[0], at + 4


def _read_items(data: bytes, at: int, end: int, explicit: bool, charset: CharacterSet, depth: int) -> tuple[list[Json], int]:
    items = []
    while at < end:
        tag, length = _TAG.unpack_from(data, at), _LONG.unpack_from(data, at + 4)[0]
        at += 8
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise BadIdentifier("A sequence of the identifier holds something that is no item.")
        stop = end if length == _UNDEFINED else _within(at + length, end, "item")
        item, at = _read_dataset(data, at, stop, explicit, charset, depth + 1)
        items.append(item)
    return items, at


def _within(stop: int, end: int, name: str) -> int:
    if stop > end:
        raise BadIdentifier(f"Element {name} of the identifier is longer than what is there.", None if name == "item" else name)
    return stop


def _element(vr: str, value: bytes, charset: CharacterSet) -> Json:
    if not value:
        return {"vr": vr}
    if vr in BYTES:
        return {"vr": vr, "InlineBinary": base64.b64encode(value).decode()}
    if vr in NUMBERS:
        code = NUMBERS[vr]
        count = len(value) // struct.calcsize("<" + code)
        return {"vr": vr, "Value": list(struct.unpack_from(f"<{count}{code}", value))}
    if vr == "AT":
        return {"vr": vr, "Value": [f"{group:04X}{element:04X}" for group, element in _TAG.iter_unpack(value[: len(value) & ~3])]}
    text = charset.decode(value, vr) if vr in OF_CHARACTER_SET else value.decode("latin-1")
    texts = [text.rstrip("\0 ")] if vr in ONE_VALUE else [part.strip("\0 ") for part in text.split("\\")]
    if not any(texts):
        return {"vr": vr}
    return {"vr": vr, "Value": [_json_value(vr, part) if part else None for part in texts]}


def _json_value(vr: str, text: str) -> Any:
    if vr == "PN":
        return {name: group for name, group in zip(_PN_GROUPS, text.split("="), strict=False) if group}
    return text


def _person(value: Json) -> str:
    return "=".join(str(value.get(name, "")) for name in _PN_GROUPS).rstrip("=")


def _write_dataset(dataset: Json, explicit: bool, charset: CharacterSet) -> bytes | None:
    """None when the character set cannot express something in it."""
    pieces = []
    for name in sorted(dataset):
        element = dataset[name]
        vr = str(element.get("vr") or vr_of(name))
        value = _write_items(element, explicit, charset) if vr == "SQ" else _write_value(vr, element, charset)
        if value is None:
            return None
        pieces.append(_TAG.pack(int(name[:4], 16), int(name[4:], 16)) + _write_header(vr, len(value), explicit) + value)
    return b"".join(pieces)


def _write_header(vr: str, length: int, explicit: bool) -> bytes:
    if not explicit:
        return _LONG.pack(length)
    if vr in LONG:
        return vr.encode() + b"\0\0" + _LONG.pack(length)
    return vr.encode() + _SHORT.pack(length)


def _write_items(element: Json, explicit: bool, charset: CharacterSet) -> bytes | None:
    pieces = []
    for item in element.get("Value", ()):
        encoded = _write_dataset(item or {}, explicit, charset)
        if encoded is None:
            return None
        pieces.append(_TAG.pack(*_ITEM) + _LONG.pack(len(encoded)) + encoded)
    return b"".join(pieces)


def _write_value(vr: str, element: Json, charset: CharacterSet) -> bytes | None:
    if vr in BYTES:
        return _even(base64.b64decode(element.get("InlineBinary", "")), b"\0")
    values = element.get("Value", ())
    if vr in NUMBERS:
        return b"".join(struct.pack("<" + NUMBERS[vr], value) for value in values if value is not None)
    if vr == "AT":
        return b"".join(_TAG.pack(int(value[:4], 16), int(value[4:], 16)) for value in values)
    texts = []
    for value in values:
        text = _write_text(vr, value, charset)
        if text is None:
            return None
        texts.append(text)
    return _even(b"\\".join(texts), b"\0" if vr == "UI" else b" ")


def _write_text(vr: str, value: Any, charset: CharacterSet) -> bytes | None:
    if value is None:
        return b""
    if vr == "PN":
        parts = list(_encoded_parts(_person(value) if isinstance(value, dict) else str(value), charset))
        return None if None in parts else b"".join(part for part in parts if part is not None)
    if vr == "DS" and isinstance(value, float):
        return _decimal(value).encode()
    if vr == "IS" and isinstance(value, float):
        return str(int(value)).encode()
    text = str(value)
    return charset.encode(text) if vr in OF_CHARACTER_SET else text.encode("ascii", "replace")


def _encoded_parts(name: str, charset: CharacterSet) -> Iterator[bytes | None]:
    """Code extensions start anew at each delimiter of a person name (PS3.5 section 6.1.2.5.3)."""
    for part in re.split(r"([\^=])", name):
        yield charset.encode(part)


def _decimal(value: float) -> str:
    """At most 16 characters (PS3.5, VR DS), with the most digits that fit."""
    text = repr(value)
    if len(text) <= 16 or not math.isfinite(value):
        return text
    return next(text for digits in range(15, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad if len(value) % 2 else value
