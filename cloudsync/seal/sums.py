"""Sums: the digests of a pack's sealed objects, as `<site id>/p/<pack id>/sums`, in the format of sha256sum.

Not sealed: it names no person and no UID, and it is what a person compares by hand before opening a part. Its own SHA-256 stands in
the signed catalog.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.model import Digest, PackId


@dataclass(frozen=True, slots=True)
class Sum:
    """One sealed object of a pack: the attempt that counts."""

    number: int
    """0 is the head."""
    bytes: int
    digest: Digest
    """SHA-256 of the sealed bytes."""
    attempt: int = 0
    """0 is the first, whose name has no suffix."""

    @property
    def name(self) -> str:
        """The last step of its archive name: 000003, or 000003.1 for a second attempt."""
        return object_name(self.number, self.attempt)


@dataclass(frozen=True, slots=True)
class Sums:
    """All objects of one pack: head first, then the parts, without a gap."""

    site: str
    pack: PackId
    objects: tuple[Sum, ...]

    @property
    def place(self) -> str:
        """The archive name of the sums themselves."""
        return f"{self.site}/p/{self.pack}/sums"

    def place_of(self, number: int) -> str:
        """The archive name of the attempt that counts. Raises NotOurs when there is no such number."""
        raise NotImplementedError

    def check(self, number: int, sealed: bytes) -> None:
        """Nothing, if `sealed` has the size and SHA-256 that count; else NotOurs naming the object. Call it before opening."""
        raise NotImplementedError


def object_name(number: int, attempt: int = 0) -> str:
    """000003, or 000003.1 for a second attempt."""
    return f"{number:06d}.{attempt}" if attempt else f"{number:06d}"


def write(sums: Sums) -> bytes:
    """The text. Raises ValueError when a number is missing or twice."""
    raise NotImplementedError


def parse(text: bytes, site: str, pack: PackId) -> Sums:
    """What `write` wrote for this site and pack, else NotOurs naming the line. The caller compares its digest with the catalog first."""
    raise NotImplementedError
