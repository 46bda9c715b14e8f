"""Values that need no character set and no sequence, in the DICOM JSON Model (PS3.18 section F.2): nearly all of a header, and fast."""

from __future__ import annotations

import math
import struct
from typing import Any

from edge.dataset.attributes import json_element
from edge.dataset.charset import CharacterSet
from edge.dataset.vr import NUMBERS, TEXT

_TEXT = TEXT - {"DS", "UR"}
_ASCII = CharacterSet()


def simple(vr: str, value: bytes, big: bool) -> dict[str, Any] | None:
    """The attribute object of a value, or None for one that takes more than this: other value representations, other than ASCII text,
    numbers that are none, lengths that do not fit.
    """
    if vr in _TEXT:
        if not value.isascii() or b"\x1b" in value:
            return None
        found = json_element(vr, value, _ASCII)
        return None if vr == "IS" and any(isinstance(one, str) for one in found.get("Value", ())) else found
    if vr == "DS":
        return _decimals(value)
    if (kind := NUMBERS.get(vr)) is not None:
        count, rest = divmod(len(value), struct.calcsize("<" + kind))
        numbers = struct.unpack(f"{'>' if big else '<'}{count}{kind}", value) if not rest else ()
        if rest or (kind in "fd" and not all(map(math.isfinite, numbers))):
            return None
        return {"vr": vr, "Value": list(numbers)} if numbers else {"vr": vr}
    return None


def _decimals(value: bytes) -> dict[str, Any] | None:
    text = value.strip(b" \0")
    if not text:
        return {"vr": "DS"}
    try:
        numbers = [float(part) if part.strip(b" ") else None for part in text.split(b"\\")]
    except ValueError:
        return None
    if any(number is not None and not math.isfinite(number) for number in numbers):
        return None
    return {"vr": "DS", "Value": numbers}
