"""The text of a catalog segment: a header line and the entries as JSON lines, compressed as one zstd frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import zstandard

from cloudsync.seal.part import NotOurs
from edge.errors import Permanent

FORMAT = 5
"""A new kind of entry, or a new field in one, is a new format. A segment has the lowest one that says what it says: 4 where a pack is
retired, 3 where keys are shared, 2 where an entry replaces another, else 1. A merge has 5.
"""
MAX_TEXT_BYTES = 256 << 20
"""Of the lines of one segment. One is closed at 64 KiB compressed; a merged one is some dozens of those."""
_FIRST_BYTES = 1 << 16
_MERGED = zstandard.ZstdCompressionParameters.from_level(19, source_size=2 << 20)
"""For merges, each of which is written once and read over a weak link. The size bounds the memory that it takes: 33 MiB."""


class NewerFormat(Permanent):
    """The catalog was written by a newer Outpost. Upgrade this one."""


_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a line that is none of ours: who signs may have been taken over."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first line: what the chain rests on."""

    format: int
    site: str
    level: int
    """0: written as it happened. Higher: merged of 32 of the level below."""
    first: int
    """Sequence number of the first segment that it stands for."""
    previous: str
    """SHA-256 of the signed content of the segment before it, or before the first one that it stands for."""
    tip: str = ""
    """Of a merge: SHA-256 of the signed content of the last segment that it stands for. Format 5."""


class _Entry(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    pass


class Held(_Entry, frozen=True, tag="held", omit_defaults=True):
    """A pack whose head, parts and sums are confirmed: all that edge needs to answer for its study, and what proves the objects."""

    pack: str
    held_at: float
    """Seconds since the epoch, when the sums were confirmed."""
    instances: int
    raw_bytes: int
    sealed_bytes: int
    sha256: str
    """Of the closed pack file in the cache."""
    study: dict[str, Any]
    series: list[dict[str, Any]]
    objects: int
    """Head and parts; the sums are one more."""
    head: str
    """Name of the attempt that counts: 000000, or 000000.1."""
    head_digest: str
    """SHA-256 of the sealed head."""
    sums_digest: str
    """SHA-256 of the sums."""
    replaces: str = ""
    """The pack id of the holding in whose place it stands, because the archive's copy of that was damaged; empty for none. Format 2."""


class SiteStateEntry(_Entry, frozen=True, tag="site-state"):
    """A copy of the site's decisions at `<site id>/e/<number, 12 digits>`."""

    number: int
    at: float
    bytes: int
    """Of the plaintext, as `digest` is: what edge named in its ask."""
    digest: str
    sealed_bytes: int
    sealed_digest: str


class EpochEntry(_Entry, frozen=True, tag="epoch"):
    """An epoch of keys began. With it the recovery key alone restores everything: the KEK and the signing key travel sealed to it."""

    epoch: int
    began: float
    recovery: bytes
    """The recovery certificate, DER."""
    signing: bytes
    """The signing certificate of the segments that follow, DER."""
    sealed: bytes
    """KEK and signing key, in the one-recipient form, for the place `<site id>/k/<epoch, 6 digits>`."""


class SharedEntry(_Entry, frozen=True, tag="shared"):
    """A sibling was given the KEKs of this and all earlier epochs, for reading. Who is named for the newest epoch is given the next one
    too; who is not was revoked, and keeps what was shared. Format 3.
    """

    epoch: int
    """The newest epoch then."""
    at: float
    """Seconds since the epoch."""
    sibling: bytes
    """Its certificate, DER."""
    sealed: bytes
    """The KEKs, in the one-recipient form, for the place `<site id>/k/<SubjectKeyIdentifier, 40 hexadecimal digits>`."""


class Tombstone(_Entry, frozen=True, tag="tombstone"):
    """A held pack is retired: from here on it answers nowhere, and its objects may be deleted. What was said before stays. Format 4."""

    pack: str
    """Its id in the archive: of the holding that stands."""
    at: float
    """Seconds since the epoch, when it was approved."""
    reason: str
    law: str
    by: str
    """Who approved it."""


Entry = Held | SiteStateEntry | EpochEntry | SharedEntry | Tombstone

_ENCODER = msgspec.json.Encoder()
_HEADER = msgspec.json.Decoder(Header)
_ENTRY: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class _Kind(msgspec.Struct, frozen=True):
    kind: str


_KIND = msgspec.json.Decoder(_Kind)


def format_of(entries: Iterable[Entry]) -> int:
    """The format of a segment with these entries."""
    return max((_format(entry) for entry in entries), default=1)


def write(header: Header, entries: Sequence[Entry]) -> bytes:
    """The compressed lines."""
    lines = b"".join(_ENCODER.encode(line) + b"\n" for line in (header, *entries))
    return zstandard.ZstdCompressor(level=12, write_checksum=False).compress(lines)


def write_lines(header: Header, lines: Iterable[bytes]) -> bytes:
    """The compressed lines of a merge, whose entries are lines already."""
    text = b"\n".join((_ENCODER.encode(header), *lines, b""))
    return zstandard.ZstdCompressor(compression_params=_MERGED).compress(text)


def read(content: bytes, name: str) -> tuple[Header, tuple[Entry, ...]]:
    """What `write` wrote. Raises NotOurs naming the line, or NewerFormat."""
    header, lines = read_lines(content, name)
    return header, decode(lines, name)


def decode(lines: Iterable[bytes], name: str) -> tuple[Entry, ...]:
    """The entries of the lines behind a header. Raises NotOurs naming the line."""
    return tuple(_entry(line, number, name) for number, line in enumerate(lines, 2))


def read_lines(content: bytes, name: str) -> tuple[Header, tuple[bytes, ...]]:
    """The header, and the lines of the entries as they are. Raises NotOurs, or NewerFormat."""
    try:
        if not 0 < zstandard.frame_content_size(content) <= MAX_TEXT_BYTES:
            raise NotOurs(f"{name}: larger than any segment")
        text = zstandard.ZstdDecompressor().decompress(content, max_output_size=MAX_TEXT_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        raise NotOurs(f"{name}: not compressed as a segment is") from fault
    header, *lines = text.split(b"\n")
    if not lines or lines.pop():
        raise NotOurs(f"{name}: the last line is cut off")
    return _header(header, name), tuple(lines)


def replaced(lines: Sequence[bytes]) -> set[int]:
    """The indexes of lines that one behind them replaces, so that a merge leaves them out: all copies of site state but the last.

    Everything else is carried: what was held, what was retired, each epoch, each share.
    """
    states = [index for index, line in enumerate(lines) if _KIND.decode(line).kind == "site-state"]
    return set(states[:-1])


def read_first(content: bytes, name: str) -> Entry:
    """The first entry alone, of content that is not verified yet; reads at most 64 KiB of text. Errors as `read`."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(content) as stream:
            header, first, *_ = stream.read(_FIRST_BYTES).split(b"\n", 2)
    except (zstandard.ZstdError, ValueError) as fault:
        raise NotOurs(f"{name}: not the first segment of a site") from fault
    _header(header, name)
    return _entry(first, 2, name)


def _format(entry: Entry) -> int:
    match entry:
        case Tombstone():
            return 4
        case SharedEntry():
            return 3
        case Held(replaces=replaces) if replaces:
            return 2
        case _:
            return 1


def _header(line: bytes, name: str) -> Header:
    try:
        found = msgspec.json.decode(line, type=_Format)
        if found.format > FORMAT:
            raise NewerFormat(f"{name} has format {found.format}, this Outpost reads {FORMAT}. Upgrade it.")
        header = _HEADER.decode(line)
    except _NO_JSON as fault:
        raise NotOurs(f"{name} line 1: {fault}") from fault
    if header.tip and not header.level:
        raise NotOurs(f"{name} line 1: a tip is what a merge has, and no segment")
    return header


def _entry(line: bytes, number: int, name: str) -> Entry:
    try:
        return _ENTRY.decode(line)
    except _NO_JSON as fault:
        raise NotOurs(f"{name} line {number}: {fault}") from fault


class _Format(msgspec.Struct, frozen=True):
    format: int
