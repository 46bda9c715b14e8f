"""JSON that somebody else wrote: it may be of any form, and no JSON at all."""

from __future__ import annotations

from typing import TypeVar

import msgspec

_T = TypeVar("_T")


def read(text: bytes, kind: type[_T], *, strict: bool = True) -> _T | None:
    """The value; None where it is none of that kind, or nested too deeply. Unless `strict`, a number may be written as text."""
    try:
        return msgspec.json.decode(text, type=kind, strict=strict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
