"""JSON that somebody else wrote: it may be of any form, and no JSON at all."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")

NONE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for what is no JSON, is not of the form that was asked for, or is nested too deeply."""


def read(text: bytes, kind: type[T], *, strict: bool = True) -> T | None:
    """The value; None where it is none of that kind. Unless `strict`, a number may be written as text."""
    try:
        return msgspec.json.decode(text, type=kind, strict=strict)
    except NONE:
        return None
