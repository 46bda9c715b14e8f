"""Sums: the digests of a pack's sealed objects, as `<site id>/p/<pack id>/sums`, in the format of sha256sum.

Not sealed: it names no person and no UID, and it is what a person compares by hand before opening a part. Its own SHA-256 stands in
the signed catalog.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cloudsync.seal.part import NotOurs
from edge.model import Digest, PackId

_TITLE = "# outpost sums 1 of "
_OBJECT = re.compile(rb"# ([0-9]{6})(?:\.([1-9][0-9]{0,5}))? ([1-9][0-9]{0,8}) bytes\n([0-9a-f]{64})  \1(?:\.\2)?")


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
        return f"{self.site}/p/{self.pack}/{self._named(number).name}"

    def check(self, number: int, sealed: bytes) -> None:
        """Nothing, if `sealed` has the size and SHA-256 that count; else NotOurs naming the object. Call it before opening."""
        expected = self._named(number)
        if len(sealed) != expected.bytes:
            raise NotOurs(f"{self.place_of(number)} has {len(sealed)} bytes; the sums say {expected.bytes}")
        if sha256(sealed).hexdigest() != expected.digest:
            raise NotOurs(f"{self.place_of(number)} is not what the sums say")

    def open(self, number: int, sealed: bytes, opener: Callable[[bytes, str], bytes]) -> bytes:
        """The data of an object, by `opener` (Keys.open, RecoveryKey.open), which is called only with bytes that the sums name.

        Raises NotOurs as `check`, and what `opener` raises.
        """
        self.check(number, sealed)
        return opener(sealed, self.place_of(number))

    def _named(self, number: int) -> Sum:
        if not 0 <= number < len(self.objects):
            raise NotOurs(f"{self.place} names no object {number}")
        return self.objects[number]


def object_name(number: int, attempt: int = 0) -> str:
    """000003, or 000003.1 for a second attempt."""
    return f"{number:06d}.{attempt}" if attempt else f"{number:06d}"


def write(sums: Sums) -> bytes:
    """The text. Raises ValueError when a number is missing or twice, or out of order."""
    if not sums.objects or [each.number for each in sums.objects] != list(range(len(sums.objects))):
        raise ValueError("sums name the head and every part once, in order")
    lines = [f"{_TITLE}{sums.site}/p/{sums.pack}\n"]
    lines += [f"# {each.name} {each.bytes} bytes\n{each.digest}  {each.name}\n" for each in sums.objects]
    return "".join(lines).encode()


def proven(text: bytes, digest: str, site: str, pack: PackId) -> Sums:
    """The sums whose SHA-256 a verified catalog or the ledger names. Raises NotOurs for any other text."""
    if sha256(text).hexdigest() != digest:
        raise NotOurs(f"{site}/p/{pack}/sums is not what the catalog says")
    return parse(text, site, pack)


def parse(text: bytes, site: str, pack: PackId) -> Sums:
    """What `write` wrote for this site and pack, else NotOurs naming the line. What came from an archive is for `proven`."""
    place = f"{site}/p/{pack}/sums"
    title, *lines = text.split(b"\n")
    if title != f"{_TITLE}{site}/p/{pack}".encode():
        raise NotOurs(f"{place} line 1: not the sums of this pack")
    if not lines or lines.pop() or not lines or len(lines) % 2:
        raise NotOurs(f"{place}: cut off in line {len(lines) + 2}")
    objects = []
    for number in range(len(lines) // 2):
        found = _OBJECT.fullmatch(b"\n".join(lines[2 * number : 2 * number + 2]))
        if found is None or int(found[1]) != number:
            raise NotOurs(f"{place} line {2 * number + 2}: not the object {number:06d}")
        objects.append(Sum(number, int(found[3]), Digest(found[4].decode()), int(found[2] or 0)))
    return Sums(site, pack, tuple(objects))
