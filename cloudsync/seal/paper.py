"""A key on paper: what a person can copy from a printed sheet, with the wrong line named.

The 48-byte scalar is 77 letters of base32 (RFC 4648): seven lines of eleven and a check letter. An eighth line holds 55 bits of a
SHA-256 over the site id and the scalar, in the same form, so that lines of another sheet are noticed too.

The check letter is a sum over GF(32) of the line's letters and its number, each with its own weight: one wrong letter, two letters that
changed places, and two lines that changed places are always noticed; anything else with 31 chances in 32, and then by the eighth line.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import sha256

from edge.errors import Refused

SCALAR_BYTES, LINES, _LETTERS = 48, 8, 11
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOOKS_LIKE = str.maketrans("018", "OIB", " -\t\r\n\u00a0")


class Mistyped(Refused):
    """A line of the sheet was typed in wrongly. The message names it; compare it letter by letter."""


def to_lines(scalar: bytes, site_id: str) -> tuple[str, ...]:
    """The eight lines for a 48-byte scalar, each three groups of four letters."""
    letters = base64.b32encode(scalar).decode().rstrip("=") + _control(scalar, site_id)
    lines = [letters[start : start + _LETTERS] for start in range(0, len(letters), _LETTERS)]
    return tuple(_grouped(line + _check_letter(number, line)) for number, line in enumerate(lines, 1))


def from_lines(lines: Sequence[str], site_id: str) -> bytes:
    """The scalar from lines as typed in: case, spaces and hyphens do not count, and 0, 1, 8 are read as O, I, B.

    Raises Mistyped naming each line that is wrong, or saying that they belong to no sheet of this site.
    """
    typed = [read for line in lines if (read := _read(line))]
    if len(typed) != LINES:
        raise Mistyped(f"the sheet has {LINES} lines; {len(typed)} were typed in")
    wrong: dict[str, list[str]] = {}
    for number, line in enumerate(typed, 1):
        if fault := fault_in(number, line):
            wrong.setdefault(fault, []).append(str(number))
    if wrong:
        raise Mistyped("; ".join(f"line {', '.join(numbers)} {fault}" for fault, numbers in wrong.items()))
    letters = "".join(line[:_LETTERS] for line in typed)
    scalar = base64.b32decode(letters[:-_LETTERS] + "===")
    if base64.b32encode(scalar).decode().rstrip("=") + _control(scalar, site_id) != letters:
        raise Mistyped(f"every line is well-formed, but together they are not the key of site {site_id}: compare the site id and all lines")
    return scalar


def fault_in(number: int, typed: str) -> str | None:
    """What is wrong with one line as typed in, in words that follow "line 3"; None when its check letter is right."""
    line = _read(typed)
    strange = sorted({letter for letter in line if letter not in _ALPHABET})
    if strange:
        return f"was typed in wrongly: {' '.join(strange)} stands on no sheet, only A to Z and 2 to 7 do"
    if len(line) != _LETTERS + 1:
        return f"was typed in wrongly: it has {len(line)} letters instead of {_LETTERS + 1}"
    if _check_letter(number, line[:-1]) != line[-1]:
        return "was typed in wrongly; compare it with the sheet letter by letter"
    return None


def _read(typed: str) -> str:
    return typed.upper().translate(_LOOKS_LIKE)


def _control(scalar: bytes, site_id: str) -> str:
    return base64.b32encode(sha256(b"outpost sheet 1\0" + site_id.encode() + b"\0" + scalar).digest()).decode()[:_LETTERS]


def _check_letter(number: int, line: str) -> str:
    # The check letter has weight 1; the powers 2^1 to 2^12 for the letters and the number differ from it and from each other.
    check = 0
    for power, value in enumerate([*map(_ALPHABET.index, line), number], 1):
        check ^= _times_power_of_two(value, power)
    return _ALPHABET[check]


def _times_power_of_two(value: int, power: int) -> int:
    """In GF(32) by x^5 + x^2 + 1, where 2 is a primitive element."""
    for _ in range(power):
        value = value << 1 ^ (0b100101 if value & 0b10000 else 0)
    return value


def _grouped(line: str) -> str:
    return f"{line[:4]} {line[4:8]} {line[8:]}"
