"""The blocks around a member of a ustar archive (POSIX.1-1988), as pure functions of name, size and time.

Cached packs and the coded tar of the archive are written with these, so that either can be made again byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 512
ZERO_TAIL = bytes(2 * BLOCK)
"""What ends an archive."""
SIZE_MAX = 8**11 - 1
"""The largest member that the size field can say (8 GiB - 1)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header block says: `prefix`/`name`, bytes of content, and seconds since 1970."""

    name: str
    prefix: str
    size: int
    mtime: int


def header(name: str, prefix: str, size: int, mtime: int) -> bytes:
    """The 512-byte header block of a regular file: mode 0644, user and group 0, no owner names.

    Raises ValueError when a value does not fit its field (name 100 and prefix 155 ASCII bytes, size and mtime 11 octal digits).
    """
    if not 1 <= len(name) <= 100 or len(prefix) > 155 or not (name + prefix).isascii() or "\0" in name + prefix:
        raise ValueError(f"no ustar name: {prefix!r} / {name!r}")
    if not 0 <= size <= SIZE_MAX or not 0 <= mtime <= SIZE_MAX:
        raise ValueError(f"does not fit 11 octal digits: size {size}, mtime {mtime}")
    before = b"%b0000644\0%b%011o\0%011o\0" % (name.encode().ljust(100, b"\0"), b"0000000\0" * 2, size, mtime)
    after = b"0%b%b%b" % (bytes(100), b"ustar\x0000", bytes(64) + b"0000000\0" * 2 + prefix.encode().ljust(155, b"\0") + bytes(12))
    checksum = sum(before) + 8 * ord(" ") + sum(after)
    return b"%b%06o\0 %b" % (before, checksum, after)


def padding(size: int) -> int:
    """How many zero bytes follow a content of `size` bytes, up to the next block."""
    return -size % BLOCK


def parse(block: bytes | bytearray | memoryview) -> Entry | None:
    """What a header block says, or None when it is not, byte for byte, a block that `header` makes (checksum included)."""
    block = bytes(block)
    size, mtime = _octal(block[124:136]), _octal(block[136:148])
    if size is None or mtime is None:
        return None
    try:
        name, prefix = _text(block[:100]), _text(block[345:500])
        return Entry(name, prefix, size, mtime) if header(name, prefix, size, mtime) == block else None
    except ValueError:
        return None


def _octal(field: bytes) -> int | None:
    digits = field[:11]
    return int(digits, 8) if len(digits) == 11 and not digits.strip(b"01234567") else None


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii")
