"""Person names as they are matched: no case, no accents (PS3.4 C.2.2.2.1 allows both)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from edge.model import Json

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
"""The component groups of a person name (PS3.5 section 6.2.1), by their names in the DICOM JSON Model."""


def fold(text: str) -> str:
    """The text without case and accents, runs of spaces as one, and without the empty components at the end of a name."""
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    return " ".join(unicodedata.normalize("NFC", plain).casefold().split()).rstrip("^ ")


def folded_name(attributes: Json, tag: str) -> str:
    """The component groups of a person name, folded and joined by = in the order alphabetic, ideographic, phonetic; empty ones left out."""
    values = attributes.get(tag, {}).get("Value") or [{}]
    name = values[0] or {}
    return fold_groups([name.get(group, "") for group in GROUPS])


def fold_groups(groups: Sequence[str]) -> str:
    """Component groups, folded and joined by =; empty ones left out."""
    return "=".join(folded for group in groups if (folded := fold(group)))


def first(attributes: Json, tag: str) -> str:
    """The first value of an attribute as text; empty when there is none."""
    values = attributes.get(tag, {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0])
