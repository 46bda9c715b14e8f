"""As much DER (X.690 sections 8 and 10) as the seals need: definite lengths in their shortest form, tags of one byte."""

from __future__ import annotations

from edge.errors import Corrupt

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x06, 0x30, 0x31


class NotDer(Corrupt):
    """The bytes are not in the form that was expected. Compare them with the sums."""


def context(number: int, *, primitive: bool = False) -> int:
    """The tag [number], constructed unless it replaces the tag of a primitive type."""
    return (0x80 if primitive else 0xA0) | number


def tlv(tag: int, *contents: bytes) -> bytes:
    """One value: tag, length and the contents in this order."""
    return header(tag, sum(map(len, contents))) + b"".join(contents)


def header(tag: int, length: int) -> bytes:
    """Tag and length of a value whose contents are `length` bytes."""
    if length < 0x80:
        return bytes((tag, length))
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(0x80 | arc & 0x7F)
        content += bytes(reversed(digits))
    return tlv(OID, bytes(content))


class Reader:
    """Takes values off the front, each with the tag that the caller expects; whatever else stands there is NotDer."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._rest = memoryview(data)

    def take(self, tag: int) -> memoryview:
        """The contents of the next value."""
        start, length = self._header(tag)
        content, self._rest = self._rest[start : start + length], self._rest[start + length :]
        return content

    def sized(self, tag: int, length: int) -> bytes:
        """The contents of the next value, which are exactly `length` bytes."""
        content = self.take(tag)
        if len(content) != length:
            raise NotDer
        return bytes(content)

    def enter(self, tag: int) -> Reader:
        """A reader of the contents of the next value, which is constructed."""
        return Reader(self.take(tag))

    def skip(self, encoding: bytes) -> None:
        """Exactly these bytes come next."""
        if self._rest[: len(encoding)] != encoding:
            raise NotDer
        self._rest = self._rest[len(encoding) :]

    def __bool__(self) -> bool:
        """Something is left."""
        return bool(self._rest)

    def _header(self, tag: int) -> tuple[int, int]:
        rest = self._rest
        if len(rest) < 2 or rest[0] != tag:
            raise NotDer
        if rest[1] < 0x80:
            start, length = 2, rest[1]
        else:
            start = 2 + (rest[1] & 0x7F)
            length = int.from_bytes(rest[2:start], "big")
            if not 3 <= start <= 6 or len(rest) < start or header(tag, length) != rest[:start]:
                raise NotDer
        if length > len(rest) - start:
            raise NotDer
        return start, length
