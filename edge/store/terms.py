"""Terms of a WHERE clause, with the values of their parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

Term = tuple[str, list[str | int]]

WILD = re.compile(r"[*?]")
"""Wildcards of PS3.4 section C.2.2.2.4."""
_LAST, _SURROGATES, _BEYOND = 0x10FFFF, 0xD800, 0xE000


_FEW = 100


def is_among(column: str, values: Sequence[str]) -> Term:
    """A column has one of these values, however many they are: SQLite takes a limited number of parameters."""
    if len(values) > _FEW:
        return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps(values)]
    return f"{column} IN ({', '.join('?' * len(values))})", [*values]


def joined(by: str, terms: Iterable[Term]) -> Term:
    """The terms as one, in parentheses. Many are nested evenly: SQLite takes expressions of a limited depth."""
    every = list(terms)
    if len(every) > _FEW:
        middle = len(every) // 2
        return joined(by, [joined(by, every[:middle]), joined(by, every[middle:])])
    return f"({by.join(text for text, _ in every)})", [value for _, values in every for value in values]


def glob(text: str) -> str:
    """A pattern of PS3.4 section C.2.2.2.4, with * and ?, as SQLite's GLOB takes it."""
    return text.replace("[", "[[]")


def beginning(column: str, text: str) -> Term | None:
    """Values that begin with the text, as an index finds them; None when every value does. SQLite compares texts by their code points."""
    if not text:
        return None
    after = text.rstrip(chr(_LAST))
    if not after:
        return f"{column} >= ?", [text]
    last = ord(after[-1]) + 1
    return f"{column} >= ? AND {column} < ?", [text, after[:-1] + chr(_BEYOND if last == _SURROGATES else last)]
