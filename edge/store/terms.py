"""Terms of a WHERE clause, with the values of their parameters."""

from __future__ import annotations

from collections.abc import Iterable

Term = tuple[str, list[str | int]]


def joined(by: str, terms: Iterable[Term]) -> Term:
    """The terms as one, in parentheses."""
    every = list(terms)
    return f"({by.join(text for text, _ in every)})", [value for _, values in every for value in values]


def glob(text: str) -> str:
    """A pattern of PS3.4 section C.2.2.2.4, with * and ?, as SQLite's GLOB takes it."""
    return text.replace("[", "[[]")
