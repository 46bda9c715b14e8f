"""A desk where only what a test says is recalled."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext


class Desk:
    """Packs whose id begins with a letter of `recalled` are being recalled."""

    def __init__(self, recalled: str = "") -> None:
        self.recalled = recalled
        self.failures: dict[str, str] = {}
        self.wanted: list[tuple[str, list[int]]] = []

    def busy(self, pack: str) -> bool:
        return pack[0] in self.recalled

    def undisturbed(self, pack: str) -> nullcontext[bool]:
        return nullcontext(not self.busy(pack))

    def want(self, pack: str, offsets: Iterable[int] | None) -> None:
        assert offsets is not None
        self.wanted.append((pack, sorted(offsets)))

    def failure(self, pack: str) -> str | None:
        return self.failures.get(pack)
